/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of virtio-blk share: virtio_blk.c, virtio_blk_request.c, virtio_blk_kept.c. */
#ifndef DEVICES_VIRTIO_VIRTIO_BLK_INT_H
#define DEVICES_VIRTIO_VIRTIO_BLK_INT_H

#include "devices/block/block.h"
#include "devices/virtio/virtio.h"
#include "devices/virtio/virtio_blk.h"
#include "vmm/base/list.h"

enum {
	/* Features (5.2.3) that a request depends on. */
	F_FLUSH = 9,
	F_CONFIG_WCE = 11,
	F_DISCARD = 13,
	F_WRITE_ZEROES = 14,

	CFG_WRITEBACK = 32, /* in the configuration (5.2.4) */

	/* What a request may ask for. */
	DISCARD_SECTORS_MAX = 1 << 22,
	WRITE_ZEROES_SECTORS_MAX = 1 << 19,
};

struct blk_request {
	struct blk_req blk;
	struct virtio_blk *d;
	struct list link; /* free, completed or kept */
	uint8_t *status;  /* in guest memory */
	uint32_t written; /* bytes that the guest finds, the status among them */
	uint16_t queue, head;
	bool kept;		      /* it failed, and has not been answered since */
	struct iovec iov[VQ_IOV_MAX]; /* last, so that a short chain touches one page */
};

struct virtio_blk {
	struct virtio_device v;
	struct blk_node *node;
	uint8_t serial[VIRTIO_BLK_SERIAL_BYTES];

	struct blk_request *pool;
	unsigned int pool_len;
	unsigned int fresh; /* pool[fresh] and on have never been used */
	struct list free;

	/* How soon the guest comes with its next request, while it has one at a time. */
	uint64_t idle_since; /* clock_ticks() */
	bool eager;	     /* the last one came soon */

	/* Between on_done and complete; the home loop's thread only, so that on_done takes no lock.
	 */
	struct list completed;
	struct loop_task complete;

	/* What failed and is kept. */
	enum virtio_blk_on_error on_error;
	void (*stopped)(void *opaque, bool on);
	void *stopped_opaque;
	struct list kept;   /* until the next try */
	unsigned int nkept; /* those and the ones being tried */
	unsigned int retry_ms;
	bool given_up;
	struct loop_timer retry;
	struct loop_task give_up;
};

static inline struct virtio_blk *blk_of(struct virtio_device *v)
{
	return (struct virtio_blk *)v;
}

/* ---- virtio_blk_request.c: with the device's lock held ---- */

/* Takes the next request of queue @q and submits or answers it. -> false: there is none, or the queue is broken. */
bool blk_request_take(struct virtio_device *v, unsigned int q);
/* Tells the guest what became of a request that the block layer is done with, unless the guest is gone; frees it. */
void blk_request_finish(struct virtio_blk *d, struct blk_request *r);

/* ---- virtio_blk_kept.c: with the device's lock held ---- */

/* The timer and the task that keeping needs; before the device is ready. */
void blk_kept_init(struct virtio_blk *d);
/* A request that failed: -> true: it is kept and will be tried again; false: it is to be finished. */
bool blk_request_keep(struct virtio_blk *d, struct blk_request *r);
/* It is to be finished; with the last one that was kept the machine goes on. */
void blk_request_let_go(struct virtio_blk *d, struct blk_request *r);

#endif
