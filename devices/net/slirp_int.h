/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the libslirp backend share: slirp.c, slirp_callbacks.c. The card's lock held. */
#ifndef DEVICES_NET_SLIRP_INT_H
#define DEVICES_NET_SLIRP_INT_H

#include "devices/net/guard.h"
#include "devices/net/net.h"
#include "devices/net/slirp.h"
#include "devices/net/slirp_entrances.h"
#include "devices/net/slirp_poll.h"
#include "vmm/base/log.h"

/* A frame that waits for the guest. */
struct waiting_frame {
	struct list link;
	size_t len;
	uint8_t data[];
};

struct net_slirp {
	struct net_backend base;
	struct loop *loop;
	Slirp *slirp; /* NULL: could not be made anew at a reset */
	struct slirp_poll poll;
	struct guard guard;
	struct slirp_entrances entrances;
	const struct forward_list *forwards; /* the caller's; NULL: none */
	struct list queue;		     /* of struct waiting_frame */
	size_t queue_bytes;
	struct log_limit guest_log;
	bool heard; /* the guest, in this life of libslirp's: else there is nobody to queue for */
	bool restricted;
	bool deny_loopback; /* by libslirp too */
	char hostname[65];
	unsigned int frames_unchecked; /* since check_hoard() */
	uint8_t frame[NET_FRAME_MAX];  /* the guest's, while it is looked at */
};

static inline struct net_slirp *from_base(struct net_backend *b)
{
	return container_of(b, struct net_slirp, base);
}

/* ---- slirp_callbacks.c ---- */

/* What libslirp calls; its opaque is the struct net_slirp. */
extern const SlirpCb slirp_callbacks;
/* Of struct net_backend_ops: the card has room again. */
void slirp_wake(struct net_backend *b);
/* What waits for the guest is lost. */
void slirp_drop_queue(struct net_slirp *s);

#endif
