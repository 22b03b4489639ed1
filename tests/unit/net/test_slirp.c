/* SPDX-License-Identifier: Apache-2.0 */
/* The network that a guest sees: addresses, names, ping, and what it may not reach. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net/csum.h"
#include "tests/unit/net/guest.h"
#include "tests/unit/net/netns.h"
#include "tests/unit/test.h"
#include "vmm/base/clock.h"
#include "vmm/base/endian.h"
#include "vmm/core/loop.h"

/* ---- DHCP ---- */

/* RFC 2131: asks for @type with the options that a client must send. */
static void send_dhcp(struct guest *g, uint8_t type)
{
	uint8_t p[300] = { 1, 1, 6 };
	uint8_t *o = p + 240;
	put_be32(p + 4, 0xabcd1234);
	memcpy(p + 28, g->net->guest_mac, 6);
	put_be32(p + 236, 0x63825363);
	*o++ = 53;
	*o++ = 1;
	*o++ = type;
	if (type == 3) {
		*o++ = 50;
		*o++ = 4;
		put_be32(o, SLIRP_IP4_GUEST);
		o += 4;
	}
	*o = 255;
	guest_send_udp(g, 68, UINT32_MAX, 67, p, sizeof(p));
}

static const uint8_t *dhcp_option(const struct frame *f, uint8_t code)
{
	const uint8_t *o = f->payload + 240, *end = f->payload + f->payload_len;
	while (o + 1 < end && *o != 255) {
		if (*o == code)
			return o + 2;
		o += 2 + o[1];
	}
	return NULL;
}

TEST(dhcp_gives_the_one_address)
{
	struct guest g;
	struct slirp_config cfg = { .hostname = "charmed311" };
	guest_start(&g, NULL, &cfg);
	for (int i = 0; i < 2; i++) {
		guest_forget(&g);
		send_dhcp(&g, i ? 3 : 1);
		const struct frame *f;
		WAIT(&g, (f = guest_find(&g, IPPROTO_UDP, 68, 0)));
		CHECK_EQ(get_be32(f->payload + 4), 0xabcd1234);
		CHECK_EQ(get_be32(f->payload + 16), SLIRP_IP4_GUEST);
		CHECK_EQ(*dhcp_option(f, 53), i ? 5 : 2); /* ack, offer */
		CHECK_EQ(get_be32(dhcp_option(f, 1)), SLIRP_IP4_MASK);
		CHECK_EQ(get_be32(dhcp_option(f, 3)), SLIRP_IP4_GATEWAY);
		CHECK_EQ(get_be32(dhcp_option(f, 6)), SLIRP_IP4_DNS);
		CHECK(!memcmp(dhcp_option(f, 12), "charmed311", 10));
	}
	CHECK(g.locked);
	guest_stop(&g);
}

/* ---- neighbours ---- */

TEST(gateway_and_name_server_answer_arp_and_nobody_else)
{
	static const uint32_t who[] = { SLIRP_IP4_GATEWAY, SLIRP_IP4_DNS, IP4(10, 0, 2, 77) };
	struct guest g;
	guest_start(&g, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		uint8_t f[42] = { 0 };
		memset(f, 0xff, 6);
		memcpy(f + 6, g.net->guest_mac, 6);
		put_be16(f + 12, 0x0806);
		put_be64(f + 14, 0x0001080006040001);
		memcpy(f + 22, g.net->guest_mac, 6);
		put_be32(f + 28, SLIRP_IP4_GUEST);
		put_be32(f + 38, who[i]);
		guest_forget(&g);
		guest_send(&g, f, sizeof(f), NULL);
		CHECK_EQ(g.n_got, i < 2 ? 1 : 0);
		if (i == 2)
			break;
		CHECK_EQ(get_be16(g.got[0].bytes + 20), 2);
		CHECK_EQ(get_be32(g.got[0].bytes + 28), who[i]);
	}
	guest_stop(&g);
}

TEST(gateway_answers_ping)
{
	struct guest g;
	uint8_t echo[64] = { 8 };
	guest_start(&g, NULL, NULL);
	guest_hello(&g);
	for (size_t i = 8; i < sizeof(echo); i++)
		echo[i] = (uint8_t)i;
	uint16_t sum = (uint16_t)~csum_sum(echo, sizeof(echo), 0);
	memcpy(echo + 2, &sum, 2);
	guest_send_ip4(&g, IPPROTO_ICMP, SLIRP_IP4_GATEWAY, echo, sizeof(echo));
	WAIT(&g, g.n_got == 1);
	const struct frame *f = &g.got[0];
	CHECK_EQ(f->proto, IPPROTO_ICMP);
	CHECK_EQ(f->src, SLIRP_IP4_GATEWAY);
	CHECK_EQ(f->payload[0], 0); /* echo reply */
	CHECK(!memcmp(f->payload + 8, echo + 8, sizeof(echo) - 8));
	guest_stop(&g);
}

static size_t put_icmp6(uint8_t *frame, const struct net_backend *net, const char *dst,
			uint8_t type)
{
	static const uint8_t src[16] = { 0xfe, 0x80, [8] = 0x50, 0x54, 0x00,
					 0xff, 0xfe, 0x12,	 0x34, 0x56 };
	enum { LEN = 16 }; /* header and the source's link-layer address */
	uint8_t *ip = frame + 14, *icmp = ip + 40;
	memset(frame, 0, 14 + 40 + LEN);
	memset(frame, 0x33, 2);
	frame[5] = 2;
	memcpy(frame + 6, net->guest_mac, 6);
	put_be16(frame + 12, 0x86dd);
	ip[0] = 0x60;
	put_be16(ip + 4, LEN);
	ip[6] = IPPROTO_ICMPV6;
	ip[7] = 255;
	memcpy(ip + 8, src, 16);
	inet_pton(AF_INET6, dst, ip + 24);
	icmp[0] = type;
	icmp[8] = 1;
	icmp[9] = 1;
	memcpy(icmp + 10, net->guest_mac, 6);
	uint8_t pseudo[40] = { 0 };
	memcpy(pseudo, ip + 8, 32);
	put_be32(pseudo + 32, LEN);
	pseudo[39] = IPPROTO_ICMPV6;
	uint16_t sum = (uint16_t)~csum_sum(icmp, LEN, csum_sum(pseudo, sizeof(pseudo), 0));
	memcpy(icmp + 2, &sum, 2);
	return 14 + 40 + LEN;
}

TEST(router_advertises_the_ipv6_prefix)
{
	struct guest g;
	uint8_t frame[128];
	guest_start(&g, NULL, NULL);
	size_t len = put_icmp6(frame, g.net, "ff02::2", 133);
	guest_send(&g, frame, len, NULL);
	WAIT(&g, g.n_got >= 1);
	const struct frame *f = &g.got[g.n_got - 1];
	CHECK_EQ(f->type, 0x86dd);
	CHECK_EQ(f->bytes[14 + 40], 134); /* router advertisement */
	static const uint8_t prefix[8] = { 0xfe, 0xc0 };
	CHECK(memmem(f->bytes + 54, f->len - 54, prefix, sizeof(prefix)));
	guest_stop(&g);
}

/* ---- names ---- */

/* The resolver that this host asks first, if that is an IPv4 address. */
static uint32_t host_resolver(void)
{
	char line[256], ip[64];
	struct in_addr a = { 0 };
	FILE *f = fopen("/etc/resolv.conf", "re");
	while (f && !a.s_addr && fgets(line, sizeof(line), f))
		if (sscanf(line, "nameserver %63s", ip) == 1)
			inet_pton(AF_INET, ip, &a);
	if (f)
		fclose(f);
	return ntohl(a.s_addr);
}

TEST(name_server_asks_the_hosts_resolver)
{
	struct guest g;
	uint32_t resolver = host_resolver();
	if (!netns_enter())
		SKIP("no network namespace to play the resolver in");
	if (!resolver || (resolver >> 24 != 127 && !netns_add_addr(resolver)))
		SKIP("the host has no resolver with an IPv4 address");
	/* In this namespace we are it. */
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(53),
				  .sin_addr.s_addr = htonl(resolver) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	guest_start(&g, NULL, NULL);
	guest_hello(&g);
	guest_send_udp(&g, 40000, SLIRP_IP4_DNS, 53, "query", 5);
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	char buf[16];
	ssize_t n;
	WAIT(&g, (n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len)) > 0);
	CHECK(!memcmp(buf, "query", 5));
	CHECK_EQ(sendto(fd, "answer", 6, 0, (struct sockaddr *)&from, from_len), 6);
	const struct frame *f;
	WAIT(&g, (f = guest_find(&g, IPPROTO_UDP, 40000, 0)));
	CHECK_EQ(f->src, SLIRP_IP4_DNS);
	CHECK_EQ(f->sport, 53);
	CHECK_EQ(f->payload_len, 6);
	CHECK(!memcmp(f->payload, "answer", 6));
	guest_stop(&g);
	close(fd);
}

/* ---- the host's own services ---- */

/* What becomes of a connection to @dst: the flags of the answer, or 0. */
static uint8_t try_connect(struct guest *g, uint32_t dst, uint16_t port, bool offload)
{
	struct tcp_segment syn = { .sport = 40001,
				   .dst = dst,
				   .dport = port,
				   .flags = TCP_SYN,
				   .seq = 77,
				   .offload = offload };
	const struct frame *f;
	guest_forget(g);
	guest_send_tcp(g, &syn);
	for (int i = 0; i < 100; i++) {
		f = guest_find(g, IPPROTO_TCP, 40001, TCP_ACK);
		if (f && f->ack == 78)
			return f->flags;
		guest_pump(g);
	}
	return 0;
}

TEST(hosts_loopback_is_refused_by_every_name)
{
	static const uint32_t names[] = { SLIRP_IP4_GATEWAY, IP4(127, 0, 0, 1), IP4(127, 9, 9, 9),
					  IP4(0, 0, 0, 0) };
	struct guest g;
	guest_start(&g, NULL, NULL);
	guest_hello(&g);
	int service = host_listen("0.0.0.0", 18100);
	CHECK(service >= 0);
	for (int i = 0; i < 4; i++)
		for (int offload = 0; offload < 2; offload++)
			CHECK_EQ(try_connect(&g, names[i], 18100, offload), TCP_RST | TCP_ACK);
	CHECK_EQ(accept(service, NULL, NULL), -1);
	CHECK_EQ(errno, EAGAIN);
	close(service);
	guest_stop(&g);
}

TEST(allowed_port_of_the_host_is_reached_and_no_other)
{
	static const uint16_t ports[] = { 18101 };
	struct guest g;
	struct slirp_config cfg = { .loopback_ports = ports, .n_loopback_ports = 1 };
	guest_start(&g, NULL, &cfg);
	guest_hello(&g);
	int service = host_listen("127.0.0.1", 18101), other = host_listen("127.0.0.1", 18102);
	CHECK_EQ(try_connect(&g, SLIRP_IP4_GATEWAY, 18101, false), TCP_SYN | TCP_ACK);
	CHECK_EQ(try_connect(&g, SLIRP_IP4_GATEWAY, 18102, false), TCP_RST | TCP_ACK);
	CHECK_EQ(try_connect(&g, IP4(127, 0, 0, 1), 18101, false), TCP_RST | TCP_ACK);
	int fd;
	CHECK((fd = accept(service, NULL, NULL)) >= 0);
	close(fd);
	close(service);
	close(other);
	guest_stop(&g);
}

TEST(restricted_guest_reaches_nothing_but_its_clients)
{
	static const char *const forwards[] = { "18106:22", NULL };
	struct guest g;
	struct slirp_config cfg = { .restricted = true, .loopback_all = true };
	struct tcp_end end;
	guest_start(&g, forwards, &cfg);
	guest_hello(&g);
	int service = host_listen("127.0.0.1", 18107);
	CHECK_EQ(try_connect(&g, SLIRP_IP4_GATEWAY, 18107, false), TCP_RST | TCP_ACK);
	CHECK_EQ(try_connect(&g, IP4(192, 0, 2, 1), 80, false), TCP_RST | TCP_ACK);
	guest_forget(&g);
	int client = host_connect("127.0.0.1", 18106);
	CHECK(tcp_accept(&g, 22, 1460, &end));
	close(client);
	close(service);
	guest_stop(&g);
}

TEST(datagram_to_the_hosts_loopback_is_dropped)
{
	struct guest g;
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(18103),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char buf[16];
	/* A UDP forward makes libslirp itself let everything through. */
	static const char *const forwards[] = { "udp:18104:5000", NULL };
	guest_start(&g, forwards, NULL);
	guest_hello(&g);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	guest_send_udp(&g, 5000, SLIRP_IP4_GATEWAY, 18103, "x", 1);
	guest_send_udp(&g, 5001, SLIRP_IP4_GATEWAY, 18103, "x", 1);
	guest_send_udp(&g, 5002, INADDR_LOOPBACK, 18103, "x", 1);
	guest_send_udp(&g, 5003, UINT32_MAX, 18103, "x", 1);
	for (int i = 0; i < 10; i++)
		guest_pump(&g);
	CHECK_EQ(recv(fd, buf, sizeof(buf), 0), -1);
	close(fd);
	guest_stop(&g);
}

/* ---- idleness ---- */

static void count_turn(void *opaque)
{
	(*(unsigned int *)opaque)++;
}

static void end_of_wait(void *opaque)
{
	*(bool *)opaque = true;
}

TEST(network_without_a_guest_does_not_wake_the_loop)
{
	static const char *const forwards[] = { "18105:22", NULL };
	struct guest g;
	unsigned int turns = 0;
	bool over = false;
	guest_start(&g, forwards, NULL);
	guest_hello(&g);
	g.net->ops->reset(g.net); /* and the next guest has not come yet */
	struct loop_hook hook = { .before_sleep = count_turn, .opaque = &turns };
	struct loop_timer end = { .fn = end_of_wait, .opaque = &over };
	loop_hook_add(g.loop, &hook);
	/* libslirp asks to be called twice a second. */
	loop_timer_arm(g.loop, &end, clock_now_ns() + 700 * NS_PER_MS);
	CHECK_EQ(loop_run_until(g.loop, &over), 0);
	CHECK_EQ(turns, 1);
	loop_hook_remove(g.loop, &hook);
	guest_stop(&g);
}

/* ---- hostile frames ---- */

TEST(frames_of_every_length_and_garbage_do_no_harm)
{
	struct guest g;
	static uint8_t frame[NET_FRAME_MAX + 16];
	static const uint16_t types[] = { 0x0800, 0x0806, 0x86dd, 0x88f8, 0x8100 };
	uint32_t seed = 12345;
	guest_start(&g, NULL, NULL);
	for (int round = 0; round < 4000; round++) {
		size_t len = round < 200 ? (size_t)round : 14 + (seed >> 8) % 200;
		for (size_t i = 0; i < 250; i++) {
			seed = seed * 1664525 + 1013904223;
			frame[i] = (uint8_t)(seed >> 24);
		}
		put_be16(frame + 12, types[round % 5]);
		if (round & 8)
			frame[14] = types[round % 5] == 0x86dd ? 0x60 : 0x45;
		if (round & 16)
			put_be16(frame + 16, (uint16_t)(len - 14));
		guest_send(&g, frame, len, NULL);
		if (g.n_got > 100)
			guest_forget(&g);
	}
	guest_send(&g, frame, NET_FRAME_MAX, NULL);
	guest_send(&g, frame, NET_FRAME_MAX + 1, NULL);
	guest_pump(&g);
	guest_stop(&g);
}

TEST(mtu_that_cannot_be_is_refused)
{
	struct guest g;
	struct slirp_config cfg = { .mtu_bytes = 1279 };
	guest_start(&g, NULL, NULL);
	struct net_backend *net = NULL;
	CHECK_EQ(g.net->mtu_bytes, NET_MTU_MAX);
	log_capture_begin();
	int err = slirp_create(g.loop, &cfg, &net);
	cfg.mtu_bytes = 65521;
	err = err == -EINVAL ? slirp_create(g.loop, &cfg, &net) : err;
	log_capture_end();
	CHECK_EQ(err, -EINVAL);
	guest_stop(&g);
}

TEST_MAIN(T(dhcp_gives_the_one_address), T(gateway_and_name_server_answer_arp_and_nobody_else),
	  T(gateway_answers_ping), T(router_advertises_the_ipv6_prefix),
	  T(name_server_asks_the_hosts_resolver), T(hosts_loopback_is_refused_by_every_name),
	  T(allowed_port_of_the_host_is_reached_and_no_other),
	  T(restricted_guest_reaches_nothing_but_its_clients),
	  T(datagram_to_the_hosts_loopback_is_dropped),
	  T(network_without_a_guest_does_not_wake_the_loop),
	  T(frames_of_every_length_and_garbage_do_no_harm), T(mtu_that_cannot_be_is_refused))
