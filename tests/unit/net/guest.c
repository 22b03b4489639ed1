/* SPDX-License-Identifier: Apache-2.0 */
/* A guest made of hand-written frames. */
#include "tests/unit/net/guest.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net/csum.h"
#include "tests/unit/net/netns.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/endian.h"
#include "vmm/core/loop.h"

enum { ETH = 14, IP4_HDR = 20, WINDOW = 65535 };

static const uint8_t gateway_mac[6] = { 0x52, 0x55, 10, 0, 2, 2 };

/* ---- received frames ---- */

static void take_apart_tcp(struct frame *f, const uint8_t *l4, size_t len)
{
	size_t hdr = (size_t)(l4[12] >> 4) * 4;
	f->seq = get_be32(l4 + 4);
	f->ack = get_be32(l4 + 8);
	f->flags = l4[13];
	f->window = get_be16(l4 + 14);
	f->payload = l4 + hdr;
	f->payload_len = len - hdr;
}

static void take_apart(struct frame *f)
{
	const uint8_t *ip = f->bytes + ETH, *l4 = ip + IP4_HDR;
	f->type = get_be16(f->bytes + 12);
	if (f->type == 0x86dd)
		f->proto = ip[6];
	if (f->type != 0x0800)
		return;
	size_t len = get_be16(ip + 2) - IP4_HDR;
	f->proto = ip[9];
	f->src = get_be32(ip + 12);
	f->dst = get_be32(ip + 16);
	f->payload = l4;
	f->payload_len = len;
	if (f->proto == IPPROTO_TCP || f->proto == IPPROTO_UDP) {
		f->sport = get_be16(l4);
		f->dport = get_be16(l4 + 2);
	}
	if (f->proto == IPPROTO_TCP)
		take_apart_tcp(f, l4, len);
	if (f->proto == IPPROTO_UDP) {
		f->payload = l4 + 8;
		f->payload_len = len - 8;
	}
}

static bool deliver(struct net_sink *sink, const struct iovec *iov, unsigned int niov, size_t len)
{
	struct guest *g = container_of(sink, struct guest, sink);
	if (pthread_mutex_trylock(&g->lock) == 0) {
		g->locked = false;
		pthread_mutex_unlock(&g->lock);
	}
	if (g->full || g->n_got == GUEST_FRAMES_MAX)
		return false;
	struct frame *f = &g->got[g->n_got++];
	memset(f, 0, sizeof(*f));
	f->bytes = malloc(len);
	f->len = 0;
	for (unsigned int i = 0; i < niov; i++) {
		memcpy(f->bytes + f->len, iov[i].iov_base, iov[i].iov_len);
		f->len += iov[i].iov_len;
	}
	assert(f->len == len);
	take_apart(f);
	return true;
}

void guest_forget(struct guest *g)
{
	for (unsigned int i = 0; i < g->n_got; i++)
		free(g->got[i].bytes);
	g->n_got = 0;
}

const struct frame *guest_find(struct guest *g, uint8_t proto, uint16_t dport, uint8_t flags)
{
	for (unsigned int i = 0; i < g->n_got; i++) {
		const struct frame *f = &g->got[i];
		if (f->type == 0x0800 && f->proto == proto && f->dport == dport &&
		    (f->flags & flags) == flags)
			return f;
	}
	return NULL;
}

/* ---- sent frames ---- */

void guest_send(struct guest *g, const void *frame, size_t len, const struct net_offload *off)
{
	/* In two pieces, as from a ring. */
	size_t first = MIN(len, (size_t)ETH);
	struct iovec iov[2] = {
		{ .iov_base = (void *)(uintptr_t)frame, .iov_len = first },
		{ .iov_base = (uint8_t *)(uintptr_t)frame + first, .iov_len = len - first },
	};
	pthread_mutex_lock(&g->lock);
	g->net->ops->send(g->net, iov, 2, len, off);
	pthread_mutex_unlock(&g->lock);
}

static void put_eth(const struct guest *g, uint8_t *frame, uint16_t type)
{
	memcpy(frame, gateway_mac, 6);
	memcpy(frame + 6, g->net->guest_mac, 6);
	put_be16(frame + 12, type);
}

void guest_hello_frame(const struct guest *g, uint8_t f[42])
{
	memset(f, 0, 42);
	put_eth(g, f, 0x0806);
	memset(f, 0xff, 6);
	put_be64(f + 14, 0x0001080006040001);
	memcpy(f + 22, g->net->guest_mac, 6);
	put_be32(f + 28, SLIRP_IP4_GUEST);
	put_be32(f + 38, SLIRP_IP4_GUEST);
}

void guest_hello(struct guest *g)
{
	uint8_t f[42];
	guest_hello_frame(g, f);
	guest_send(g, f, sizeof(f), NULL);
}

static size_t put_ip4(const struct guest *g, uint8_t *frame, uint8_t proto, uint32_t dst,
		      size_t l4_len)
{
	uint8_t *ip = frame + ETH;
	put_eth(g, frame, 0x0800);
	memset(ip, 0, IP4_HDR);
	ip[0] = 0x45;
	put_be16(ip + 2, (uint16_t)(IP4_HDR + l4_len));
	ip[8] = 64;
	ip[9] = proto;
	put_be32(ip + 12, SLIRP_IP4_GUEST);
	put_be32(ip + 16, dst);
	uint16_t sum = (uint16_t)~csum_sum(ip, IP4_HDR, 0);
	memcpy(ip + 10, &sum, 2);
	return ETH + IP4_HDR + l4_len;
}

/* The sum of the pseudo header, as TCP and UDP have it. */
static uint16_t pseudo_sum(uint8_t proto, uint32_t dst, size_t len)
{
	uint8_t p[12] = { 0 };
	put_be32(p, SLIRP_IP4_GUEST);
	put_be32(p + 4, dst);
	p[9] = proto;
	put_be16(p + 10, (uint16_t)len);
	return csum_sum(p, sizeof(p), 0);
}

void guest_send_ip4(struct guest *g, uint8_t proto, uint32_t dst, const void *l4, size_t len)
{
	static uint8_t frame[NET_FRAME_MAX + 64];
	size_t total = put_ip4(g, frame, proto, dst, len);
	memcpy(frame + ETH + IP4_HDR, l4, len);
	guest_send(g, frame, total, NULL);
}

void guest_send_udp(struct guest *g, uint16_t sport, uint32_t dst, uint16_t dport,
		    const void *payload, size_t len)
{
	static uint8_t l4[65536];
	put_be16(l4, sport);
	put_be16(l4 + 2, dport);
	put_be16(l4 + 4, (uint16_t)(8 + len));
	put_be16(l4 + 6, 0);
	memcpy(l4 + 8, payload, len);
	uint16_t sum = (uint16_t)~csum_sum(l4, 8 + len, pseudo_sum(IPPROTO_UDP, dst, 8 + len));
	memcpy(l4 + 6, &sum, 2);
	guest_send_ip4(g, IPPROTO_UDP, dst, l4, 8 + len);
}

static void send_tcp(struct guest *g, const struct tcp_segment *t, uint16_t mss)
{
	static uint8_t frame[NET_FRAME_MAX + 64];
	size_t hdr = mss ? 24 : 20, len = hdr + t->len;
	size_t total = put_ip4(g, frame, IPPROTO_TCP, t->dst, len);
	uint8_t *l4 = frame + ETH + IP4_HDR;
	memset(l4, 0, hdr);
	put_be16(l4, t->sport);
	put_be16(l4 + 2, t->dport);
	put_be32(l4 + 4, t->seq);
	put_be32(l4 + 8, t->ack);
	l4[12] = (uint8_t)(hdr / 4 << 4);
	l4[13] = t->flags;
	put_be16(l4 + 14, WINDOW);
	if (mss) {
		l4[20] = 2;
		l4[21] = 4;
		put_be16(l4 + 22, mss);
	}
	if (t->len)
		memcpy(l4 + hdr, t->payload, t->len);
	uint16_t sum = pseudo_sum(IPPROTO_TCP, t->dst, len);
	struct net_offload off = { .needs_csum = true,
				   .csum_start = ETH + IP4_HDR,
				   .csum_offset = 16 };
	if (!t->offload)
		sum = (uint16_t)~csum_sum(l4, len, sum);
	memcpy(l4 + 16, &sum, 2);
	guest_send(g, frame, total, t->offload ? &off : NULL);
}

void guest_send_tcp(struct guest *g, const struct tcp_segment *t)
{
	send_tcp(g, t, 0);
}

/* ---- a TCP connection ---- */

static void send_end(struct guest *g, struct tcp_end *end, uint8_t flags, const void *data,
		     size_t len, uint16_t mss)
{
	struct tcp_segment t = {
		.sport = end->port,
		.dst = end->peer,
		.dport = end->peer_port,
		.flags = flags,
		.seq = end->seq,
		.ack = end->ack,
		.payload = data,
		.len = len,
	};
	send_tcp(g, &t, mss);
	end->seq += (uint32_t)len + (flags & TCP_SYN ? 1 : 0) + (flags & TCP_FIN ? 1 : 0);
}

bool tcp_accept(struct guest *g, uint16_t port, uint16_t mss, struct tcp_end *end)
{
	const struct frame *syn = NULL;
	for (int i = 0; i < 900 && !(syn = guest_find(g, IPPROTO_TCP, port, TCP_SYN)); i++)
		guest_pump(g);
	if (!syn)
		return false;
	*end = (struct tcp_end){ .port = port,
				 .peer = syn->src,
				 .peer_port = syn->sport,
				 .seq = 1000,
				 .ack = syn->seq + 1 };
	guest_forget(g);
	send_end(g, end, TCP_SYN | TCP_ACK, NULL, 0, mss);
	for (int i = 0; i < 900; i++) {
		const struct frame *ack = guest_find(g, IPPROTO_TCP, port, TCP_ACK);
		if (ack && ack->ack == end->seq)
			return true;
		guest_pump(g);
	}
	return false;
}

void tcp_receive(struct guest *g, struct tcp_end *end, uint8_t *buf, size_t cap)
{
	bool news = false;
	for (unsigned int i = 0; i < g->n_got; i++) {
		const struct frame *f = &g->got[i];
		if (f->type != 0x0800 || f->proto != IPPROTO_TCP || f->dport != end->port ||
		    f->sport != end->peer_port)
			continue;
		end->flags |= f->flags;
		if (f->seq != end->ack || (!f->payload_len && !(f->flags & TCP_FIN)))
			continue;
		if (buf && end->received + f->payload_len <= cap)
			memcpy(buf + end->received, f->payload, f->payload_len);
		end->segments++;
		end->received += f->payload_len;
		end->largest = MAX(end->largest, f->payload_len);
		end->ack += (uint32_t)f->payload_len + (f->flags & TCP_FIN ? 1 : 0);
		news = true;
	}
	guest_forget(g);
	if (news)
		send_end(g, end, TCP_ACK, NULL, 0, 0);
}

void tcp_send(struct guest *g, struct tcp_end *end, const void *data, size_t len, uint8_t flags)
{
	send_end(g, end, TCP_ACK | flags, data, len, 0);
}

/* ---- the host ---- */

static socklen_t host_addr(const char *ip, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		return sizeof(*v4);
	}
	inet_pton(AF_INET6, ip, &v6->sin6_addr);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	return sizeof(*v6);
}

static int connect_to(int type, const char *ip, uint16_t port)
{
	struct sockaddr_storage addr;
	socklen_t len = host_addr(ip, port, &addr);
	int fd = socket(addr.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&addr, len) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

int host_connect(const char *ip, uint16_t port)
{
	return connect_to(SOCK_STREAM, ip, port);
}

int host_udp(const char *ip, uint16_t port)
{
	return connect_to(SOCK_DGRAM, ip, port);
}

int host_listen(const char *ip, uint16_t port)
{
	struct sockaddr_storage addr;
	socklen_t len = host_addr(ip, port, &addr);
	int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 8) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* ---- its life ---- */

static void pump_over(void *opaque)
{
	*(bool *)opaque = true;
}

void guest_pump(struct guest *g)
{
	bool over = false;
	struct loop_timer t = { .fn = pump_over, .opaque = &over };
	loop_timer_arm(g->loop, &t, clock_now_ns() + NS_PER_MS);
	loop_run_until(g->loop, &over);
}

void guest_start(struct guest *g, const char *const *forwards, struct slirp_config *cfg)
{
	struct slirp_config plain = { 0 };
	struct slirp_config *c = cfg ? cfg : &plain;
	memset(g, 0, sizeof(*g));
	netns_enter();
	pthread_mutex_init(&g->lock, NULL);
	g->locked = true;
	g->sink.deliver = deliver;
	forward_list_init(&g->forwards);
	for (; forwards && *forwards; forwards++) {
		struct forward_spec spec;
		if (forward_parse(*forwards, &spec) || forward_bind(&g->forwards, &spec))
			abort();
	}
	c->forwards = &g->forwards;
	if (loop_create(&g->loop) || slirp_create(g->loop, c, &g->net))
		abort();
	net_attach(g->net, &g->sink, &g->lock);
}

void guest_stop(struct guest *g)
{
	net_attach(g->net, NULL, NULL);
	g->net->ops->destroy(g->net);
	loop_destroy(g->loop);
	forward_list_fini(&g->forwards);
	guest_forget(g);
	pthread_mutex_destroy(&g->lock);
}
