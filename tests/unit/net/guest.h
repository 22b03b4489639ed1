/* SPDX-License-Identifier: Apache-2.0 */
/* A guest made of hand-written frames, on the card's side of a backend, and the host's side of it.
 */
#ifndef TESTS_UNIT_NET_GUEST_H
#define TESTS_UNIT_NET_GUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/net/forward.h"
#include "devices/net/net.h"
#include "devices/net/slirp.h"

struct loop;

enum {
	GUEST_FRAMES_MAX = 512,
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_PSH = 8,
	TCP_ACK = 16,
};

#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

/* A frame that the guest got, taken apart. Addresses and ports in host order. */
struct frame {
	uint8_t *bytes;
	size_t len;
	uint16_t type;	   /* EtherType */
	uint8_t proto;	   /* of IPv4 or IPv6 */
	uint32_t src, dst; /* IPv4 */
	uint16_t sport, dport;
	uint8_t flags; /* TCP */
	uint32_t seq, ack;
	uint16_t window;
	const uint8_t *payload;
	size_t payload_len;
};

struct guest {
	struct net_sink sink;
	pthread_mutex_t lock;
	struct loop *loop;
	struct net_backend *net;
	struct forward_list forwards;
	bool full;   /* takes no frames */
	bool locked; /* deliver() was always called under the lock */
	struct frame got[GUEST_FRAMES_MAX];
	unsigned int n_got;
};

/* Starts with the forwards in @forwards, NULL-terminated, and adds them to *@cfg, which may be
 * NULL. The guest has not been heard of yet. */
void guest_start(struct guest *g, const char *const *forwards, struct slirp_config *cfg);
void guest_stop(struct guest *g);

/* Runs the loop for about a millisecond. */
void guest_pump(struct guest *g);

/* Forgets the frames it got. */
void guest_forget(struct guest *g);

/* Frames to the network. */
void guest_send(struct guest *g, const void *frame, size_t len, const struct net_offload *off);
void guest_hello(struct guest *g); /* gratuitous ARP */
void guest_hello_frame(const struct guest *g, uint8_t f[42]);
void guest_send_ip4(struct guest *g, uint8_t proto, uint32_t dst, const void *l4, size_t len);
void guest_send_udp(struct guest *g, uint16_t sport, uint32_t dst, uint16_t dport,
		    const void *payload, size_t len);
struct tcp_segment {
	uint16_t sport;
	uint32_t dst;
	uint16_t dport;
	uint8_t flags;
	uint32_t seq, ack;
	const void *payload;
	size_t len;
	bool offload; /* leave the checksum to the backend */
};
void guest_send_tcp(struct guest *g, const struct tcp_segment *t);

/* The first frame got with the protocol and destination port, and all of the flags; NULL: none yet.
 */
const struct frame *guest_find(struct guest *g, uint8_t proto, uint16_t dport, uint8_t flags);

/* The guest's end of one TCP connection. */
struct tcp_end {
	uint16_t port;
	uint32_t peer;
	uint16_t peer_port;
	uint32_t seq, ack;
	size_t received, largest;
	unsigned int segments;
	uint8_t flags;	       /* all that were seen */
	unsigned int consumed; /* frames looked at */
};
/* Waits for the SYN to @port and accepts it with a maximum segment of @mss. false: none came. */
bool tcp_accept(struct guest *g, uint16_t port, uint16_t mss, struct tcp_end *end);
/* Takes what has come for it and acknowledges; data goes to @buf if that is not NULL. */
void tcp_receive(struct guest *g, struct tcp_end *end, uint8_t *buf, size_t cap);
void tcp_send(struct guest *g, struct tcp_end *end, const void *data, size_t len, uint8_t flags);

/* The host's side: non-blocking sockets on loopback. */
int host_connect(const char *ip, uint16_t port);
int host_listen(const char *ip, uint16_t port); /* TCP */
int host_udp(const char *ip, uint16_t port);	/* connected */

/* Lets the network run until @cond holds, for at most 0.9 s. */
#define WAIT(g, cond)                                                                              \
	do {                                                                                       \
		bool wait_ok_ = false;                                                             \
		for (int wait_i_ = 0; wait_i_ < 900 && !(wait_ok_ = (cond)); wait_i_++)            \
			guest_pump(g);                                                             \
		if (!wait_ok_)                                                                     \
			printf("  never: %s\n", #cond);                                            \
		CHECK(wait_ok_);                                                                   \
	} while (0)

#endif
