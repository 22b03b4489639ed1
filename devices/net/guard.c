/* SPDX-License-Identifier: Apache-2.0 */
/* What of the guest's packets may reach libslirp, and through it the host. */
/*
 * How it works. libslirp turns a guest's connection into one of this process, and so a hostile
 * guest would have the host's loopback services for the asking: through the gateway's address,
 * which libslirp translates to 127.0.0.1, but also by naming 127.0.0.1, 0.0.0.0, ::1, or
 * ::ffff:127.0.0.1 as the destination, which no option of libslirp looks at. So each frame is
 * judged here by its destination first. The rules:
 *
 *  1. Only ARP, and TCP, UDP, ICMP over IP. Only TCP may exceed the MTU (libslirp reuses buffers of
 * that size for its ICMP answers).
 *  2. Addresses that mean this host, multicast and broadcast: never. DHCP, DHCPv6 and neighbour
 * discovery are libslirp's own and pass.
 *  3. The gateway (all of the IPv6 prefix, but for the name server: that is what libslirp
 * translates): a new connection or a datagram only to an allowed port. What belongs to a connection
 * that came in passes; a datagram passes if its very peer has sent one before.
 *  4. Towards the gateway no fragments, since their ports are elsewhere. Elsewhere so many a
 * second, because libslirp keeps each for half a minute.
 *  5. When there are too many flows, no new ones.
 *
 * A forbidden connection is refused, not swallowed, so that programs in the guest fail at once:
 * libslirp answers SYN with FIN by a reset, and makes no flow.
 */
#include "devices/net/guard.h"

#include <netinet/in.h>
#include <string.h>

#include "devices/net/slirp.h"
#include "vmm/base/clock.h"
#include "vmm/base/endian.h"

enum {
	ETH_LEN = 14,
	ETH_IPV4 = 0x0800,
	ETH_ARP = 0x0806,
	ETH_IPV6 = 0x86dd,

	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
	TCP_URG = 0x20,

	PORT_DNS = 53,
	PORT_DHCP_SERVER = 67,
	PORT_DHCPV6_SERVER = 547,

	FRAGMENTS_PER_SECOND = 128,
};

/* What the rules need to know of a packet. */
struct packet {
	uint8_t version;
	uint8_t proto;
	bool fragment;
	size_t total_len; /* of the IP packet, as it says itself */
	const uint8_t *src, *dst;
	const uint8_t *l4; /* whole for TCP (20 bytes), UDP and ICMP (8), unless a fragment */
};

enum where { NOWHERE, GATEWAY, NAMESERVER, ALL_HOSTS, WORLD };

static uint16_t src_port(const struct packet *p)
{
	return get_be16(p->l4);
}

static uint16_t dst_port(const struct packet *p)
{
	return get_be16(p->l4 + 2);
}

static bool has_l4_header(uint8_t proto, size_t len)
{
	switch (proto) {
	case IPPROTO_TCP: return len >= 20;
	case IPPROTO_UDP:
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6: return len >= 8;
	default: return false;
	}
}

static bool parse_v4(const uint8_t *ip, size_t len, struct packet *p)
{
	if (len < 20 || ip[0] >> 4 != 4)
		return false;
	size_t hdr = (size_t)(ip[0] & 15) * 4;
	p->version = 4;
	p->proto = ip[9];
	p->total_len = get_be16(ip + 2);
	p->fragment = get_be16(ip + 6) & 0x3fff; /* more fragments, or an offset */
	p->src = ip + 12;
	p->dst = ip + 16;
	p->l4 = ip + hdr;
	if (hdr < 20 || p->total_len < hdr || p->total_len > len || p->proto == IPPROTO_ICMPV6)
		return false;
	return p->fragment ? true : has_l4_header(p->proto, p->total_len - hdr);
}

static bool parse_v6(const uint8_t *ip, size_t len, struct packet *p)
{
	if (len < 40 || ip[0] >> 4 != 6)
		return false;
	p->version = 6;
	p->proto = ip[6];
	p->total_len = (size_t)get_be16(ip + 4) + 40;
	p->fragment = false; /* extension headers are none of the protocols that pass */
	p->src = ip + 8;
	p->dst = ip + 24;
	p->l4 = ip + 40;
	return p->total_len <= len && p->proto != IPPROTO_ICMP &&
	       has_l4_header(p->proto, p->total_len - 40);
}

static bool parse(const uint8_t *frame, size_t len, struct packet *p)
{
	if (len < ETH_LEN)
		return false;
	switch (get_be16(frame + 12)) {
	case ETH_IPV4: return parse_v4(frame + ETH_LEN, len - ETH_LEN, p);
	case ETH_IPV6: return parse_v6(frame + ETH_LEN, len - ETH_LEN, p);
	default: return false;
	}
}

static enum where where_v4(const uint8_t *dst)
{
	uint32_t a = get_be32(dst);
	if (a == SLIRP_IP4_GATEWAY)
		return GATEWAY;
	if (a == SLIRP_IP4_DNS)
		return NAMESERVER;
	if (a == UINT32_MAX)
		return ALL_HOSTS;
	if ((a & 0xffffff00) == SLIRP_IP4_NETWORK)
		return NOWHERE; /* nobody else lives in the guest's network */
	uint32_t top = a >> 24;
	return top == 0 || top == 127 || top >= 224 ? NOWHERE : WORLD;
}

/* The first eight bytes of SLIRP_IP6_PREFIX. */
static const uint8_t prefix6[8] = { 0xfe, 0xc0 };

static enum where where_v6(const uint8_t *dst)
{
	static const uint8_t zero[12], dns_tail[8] = { 0, 0, 0, 0, 0, 0, 0, 3 };
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	if (!memcmp(dst, prefix6, 8))
		return memcmp(dst + 8, dns_tail, 8) ? GATEWAY : NAMESERVER;
	if (dst[0] == 0xff || (dst[0] == 0xfe && (dst[1] & 0xc0) == 0x80))
		return ALL_HOSTS;
	if (!memcmp(dst, zero, 12) || !memcmp(dst, mapped, 12))
		return NOWHERE; /* ::, ::1 and IPv4 in disguise */
	return WORLD;
}

/* As libslirp sees it: the segment that would open a connection. */
static bool opens_connection(const struct packet *p)
{
	const uint8_t all = TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG;
	return p->proto == IPPROTO_TCP && (p->l4[13] & all) == TCP_SYN;
}

static enum guard_verdict refuse_or_drop(const struct packet *p)
{
	return !p->fragment && opens_connection(p) ? GUARD_REFUSE : GUARD_DROP;
}

static bool port_allowed(const struct guard *g, uint16_t port)
{
	if (g->loopback_all)
		return true;
	for (unsigned int i = 0; i < g->n_ports; i++)
		if (g->ports[i] == port)
			return true;
	return false;
}

static struct guard_peer *find_peer(struct guard *g, uint8_t version, uint16_t guest_port,
				    uint16_t peer_port)
{
	for (unsigned int i = 0; i < GUARD_PEERS_MAX; i++) {
		struct guard_peer *peer = &g->peers[i];
		if (peer->version == version && peer->guest_port == guest_port &&
		    peer->peer_port == peer_port)
			return peer;
	}
	return NULL;
}

static enum guard_verdict check_gateway(struct guard *g, const struct packet *p)
{
	if (p->fragment)
		return GUARD_DROP;
	switch (p->proto) {
	case IPPROTO_TCP:
		if (!opens_connection(p))
			return GUARD_PASS;
		return port_allowed(g, dst_port(p)) && !g->flows_full ? GUARD_PASS : GUARD_REFUSE;
	case IPPROTO_UDP:
		if (p->version == 4 && dst_port(p) == PORT_DHCP_SERVER)
			return GUARD_PASS;
		if (find_peer(g, p->version, src_port(p), dst_port(p)))
			return GUARD_PASS;
		return port_allowed(g, dst_port(p)) && !g->flows_full ? GUARD_PASS : GUARD_DROP;
	default: return GUARD_PASS; /* libslirp answers ICMP for the gateway itself */
	}
}

/* Broadcast, multicast, link-local: libslirp's own services only. */
static enum guard_verdict check_all_hosts(const struct packet *p)
{
	if (p->fragment)
		return GUARD_DROP;
	if (p->version == 6 && p->proto == IPPROTO_ICMPV6)
		return GUARD_PASS;
	if (p->proto == IPPROTO_UDP &&
	    dst_port(p) == (p->version == 4 ? PORT_DHCP_SERVER : PORT_DHCPV6_SERVER))
		return GUARD_PASS;
	return refuse_or_drop(p);
}

static bool fragment_allowed(struct guard *g, uint64_t now_ns)
{
	if (g->second != now_ns / NS_PER_S) {
		g->second = now_ns / NS_PER_S;
		g->fragments_this_second = 0;
	}
	return g->fragments_this_second++ < FRAGMENTS_PER_SECOND;
}

static enum guard_verdict check_world(struct guard *g, const struct packet *p, uint64_t now_ns)
{
	if (p->fragment)
		return fragment_allowed(g, now_ns) ? GUARD_PASS : GUARD_DROP;
	if (!g->flows_full)
		return GUARD_PASS;
	if (p->proto == IPPROTO_TCP)
		return opens_connection(p) ? GUARD_REFUSE : GUARD_PASS;
	return GUARD_DROP; /* it cannot be told from here whether it would be a new one */
}

enum guard_verdict guard_check(struct guard *g, const uint8_t *frame, size_t len, uint64_t now_ns)
{
	struct packet p;
	if (len >= ETH_LEN && get_be16(frame + 12) == ETH_ARP)
		return GUARD_PASS;
	if (!parse(frame, len, &p))
		return GUARD_DROP;
	if (p.total_len > g->mtu_bytes && (p.fragment || p.proto != IPPROTO_TCP))
		return GUARD_DROP;
	switch (p.version == 4 ? where_v4(p.dst) : where_v6(p.dst)) {
	case GATEWAY: return check_gateway(g, &p);
	case ALL_HOSTS: return check_all_hosts(&p);
	case NAMESERVER:
	case WORLD: return check_world(g, &p, now_ns);
	case NOWHERE: break;
	}
	return refuse_or_drop(&p);
}

void guard_refuse(uint8_t *frame)
{
	size_t hdr = get_be16(frame + 12) == ETH_IPV4 ? (size_t)(frame[ETH_LEN] & 15) * 4 : 40;
	uint8_t *tcp = frame + ETH_LEN + hdr;
	tcp[13] |= TCP_FIN;
	/* One more in a 16-bit word is one less in the inverted sum (RFC 1624). */
	uint16_t sum = get_be16(tcp + 16);
	put_be16(tcp + 16, sum ? (uint16_t)(sum - 1) : 0xfffe);
}

void guard_saw(struct guard *g, const uint8_t *frame, size_t len)
{
	struct packet p;
	if (!parse(frame, len, &p) || p.fragment || p.proto != IPPROTO_UDP)
		return;
	bool from_gateway = p.version == 4 ? get_be32(p.src) == SLIRP_IP4_GATEWAY
					   : !memcmp(p.src, prefix6, sizeof(prefix6));
	if (!from_gateway || find_peer(g, p.version, dst_port(&p), src_port(&p)))
		return;
	g->peers[g->next_peer] = (struct guard_peer){
		.version = p.version,
		.guest_port = dst_port(&p),
		.peer_port = src_port(&p),
	};
	g->next_peer = (g->next_peer + 1) % GUARD_PEERS_MAX;
}
