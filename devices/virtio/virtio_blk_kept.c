/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of virtio-blk that the host failed: kept, and tried again. */
/*
 * A request that the host failed in a way that stops the machine (config.on_error) is not answered but
 * kept, counted as in flight, and submitted again after a while, until it succeeds or is given up. So the
 * guest never sees that its host's disk was full; nor does a reset, a quiesce or a snapshot see
 * a request that is neither done nor in flight.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "devices/virtio/virtio_blk_int.h"
#include "vmm/base/clock.h"

enum {
	RETRY_MIN_MS = 500, /* doubled each time, up to */
	RETRY_MAX_MS = 8000,
};

static bool stops(const struct virtio_blk *d, int err)
{
	if (!err || d->given_up || virtio_discards(&d->v))
		return false;
	switch (d->on_error) {
	case VIRTIO_BLK_STOP_WHEN_FULL: return err == -ENOSPC || err == -EDQUOT;
	case VIRTIO_BLK_STOP: /* but not for what the guest asked wrongly */
		return err != -EINVAL && err != -ENOTSUP && err != -EROFS;
	case VIRTIO_BLK_REPORT: break;
	}
	return false;
}

static void tell_stopped(struct virtio_blk *d, bool on)
{
	if (d->stopped)
		d->stopped(d->stopped_opaque, on);
}

bool blk_request_keep(struct virtio_blk *d, struct blk_request *r)
{
	if (!stops(d, r->blk.err))
		return false;
	if (!d->nkept) {
		log_warn("%s: %s: %s: the machine waits and tries again every few seconds; to end "
			 "it nevertheless, ask twice (SIGTERM)",
			 d->v.dev.name, blk_name(d->node), strerror(-r->blk.err));
		d->retry_ms = RETRY_MIN_MS;
		tell_stopped(d, true);
	}
	d->nkept += !r->kept;
	r->kept = true;
	list_add_tail(&d->kept, &r->link);
	if (!d->retry.armed)
		loop_timer_arm(d->v.dev.env->loop, &d->retry,
			       clock_now_ns() + d->retry_ms * UINT64_C(1000000));
	return true;
}

void blk_request_let_go(struct virtio_blk *d, struct blk_request *r)
{
	if (!r->kept)
		return;
	r->kept = false;
	if (--d->nkept)
		return;
	if (!d->given_up)
		log_warn("%s: the machine goes on", d->v.dev.name);
	tell_stopped(d, false);
}

static void try_again(void *opaque)
{
	struct virtio_blk *d = opaque;
	struct list batch;
	list_init(&batch);
	list_splice_tail(&batch, &d->kept);
	d->retry_ms = MIN(d->retry_ms * 2, (unsigned int)RETRY_MAX_MS);
	while (!list_empty(&batch)) {
		struct blk_request *r = list_first(&batch, struct blk_request, link);
		list_del(&r->link);
		blk_submit(d->node, &r->blk);
	}
}

static void give_up(void *opaque)
{
	struct virtio_blk *d = opaque;
	d->given_up = true;
	loop_timer_disarm(d->v.dev.env->loop, &d->retry);
	list_splice_tail(&d->completed, &d->kept);
	loop_task_post(d->v.dev.env->loop, &d->complete);
}

void virtio_blk_give_up(struct device *dev)
{
	loop_task_post(dev->env->loop, &blk_of(virtio_of(dev))->give_up);
}

bool virtio_blk_has_driver(struct device *dev)
{
	pthread_mutex_lock(&dev->lock);
	bool has = virtio_status(virtio_of(dev)) & VIRTIO_CONFIG_S_DRIVER_OK;
	pthread_mutex_unlock(&dev->lock);
	return has;
}

void blk_kept_init(struct virtio_blk *d)
{
	list_init(&d->kept);
	d->retry = (struct loop_timer){ .lock = &d->v.dev.lock, .fn = try_again, .opaque = d };
	d->give_up = (struct loop_task){ .lock = &d->v.dev.lock, .fn = give_up, .opaque = d };
}
