/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a network card's packets go and come from: one small pair of operations, implemented by
 * user-mode networking (slirp.c), and wrapped by a capture file (pcap.c).
 *
 * A packet is an Ethernet frame without FCS. From the guest, its checksum may be left to the
 * receiver (struct net_offload), and a TCP frame may be larger than the MTU, up to NET_FRAME_MAX: a
 * segment that the card was asked to cut is taken whole, so its segmentation fields need no looking
 * at. To the guest, every checksum is there and true: the card may say so, and the guest need not
 * look again.
 *
 * All functions: the home loop's thread, the card's lock held. Sources of a backend that may
 * deliver take that lock themselves (net_backend.lock). deliver() may be called within send(): an
 * answer to ARP, the ACK of a segment.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* The largest frame that passes here: 65,535 bytes of IP packet behind 14 bytes of header, rounded
 * up. */
enum { NET_FRAME_MAX = 65536 + 14, NET_MTU_MAX = 65520, NET_IOV_MAX = 128 };

struct net_backend;

/* What the guest left undone of a frame (virtio 1.2, 5.1.6.2). */
struct net_offload {
	/*
	 * The Internet checksum of all from csum_start is to be put csum_offset bytes behind it,
	 * where the sum of the pseudo header stands now. Both are the guest's numbers: the backend
	 * checks them.
	 */
	bool needs_csum;
	uint16_t csum_start;
	uint16_t csum_offset;
};

/* The card's side: how a frame reaches the guest. */
struct net_sink {
	/*
	 * A frame for the guest; used only during the call. false: no room now (nothing was taken),
	 * and net_backend_ops.wake follows when there is.
	 */
	bool (*deliver)(struct net_sink *s, const struct iovec *iov, unsigned int niov,
			size_t len_bytes);
};

struct net_backend_ops {
	const char *name;
	/* A frame of the guest's; used only during the call. Never fails: what cannot be sent is
	 * dropped, as on a wire. @off may be NULL: nothing was left undone. */
	void (*send)(struct net_backend *b, const struct iovec *iov, unsigned int niov,
		     size_t len_bytes, const struct net_offload *off);
	/* The sink has room again after it refused a frame. */
	void (*wake)(struct net_backend *b);
	/* The machine was reset or reverted: flows of the guest before are gone. */
	void (*reset)(struct net_backend *b);
	/*
	 * The forwards are about to change (@serve false: all of them are let go of), or have changed (true: those
	 * that are there now are served; 0 or -errno). Connections that are open stay. NULL: it has none.
	 */
	int (*forwards)(struct net_backend *b, bool serve);
	/* Not while the loop runs another of its functions. No lock need be held. */
	void (*destroy)(struct net_backend *b);
};

struct net_backend {
	const struct net_backend_ops *ops;
	struct net_backend *inner; /* of a wrapper: the one behind it; else NULL */
	struct net_sink *sink;	   /* by net_attach(); NULL: frames for the guest are dropped */
	pthread_mutex_t *lock;	   /* by net_attach(): the card's */
	uint32_t mtu_bytes;	   /* of the network: what the card tells the guest */
	uint8_t guest_mac[6];	   /* what the card tells the guest */
};

/* The card takes the backend, before the first packet; sink and lock NULL: the card is going away.
 */
static inline void net_attach(struct net_backend *b, struct net_sink *sink, pthread_mutex_t *lock)
{
	b->sink = sink;
	for (; b; b = b->inner)
		b->lock = lock;
}

#endif
