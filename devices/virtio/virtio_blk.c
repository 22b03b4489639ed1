/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk: requests of the guest onto a block node. */
/*
 * How it works (virtio 1.2, 5.2)
 *
 *   blk_kick -> take: pop, parse, blk_submit ... block layer ... on_done: onto `completed`
 *                 ^                                                    |
 *                 +--------- complete (posted task, once a batch) <----+  status, push, one interrupt
 *
 * A request is: 16 bytes of header to read, data to read or to write, one status byte to write; how
 * that is cut into buffers is the driver's choice. Data goes between guest memory and the node
 * without a copy. Requests come from a pool of as many as all queues hold; those used last are used
 * first, so a busy queue touches few pages.
 *
 * While requests are served, kicks are parked. When a batch is complete they stay parked until the
 * interrupt is out and the queue has been looked at once more: a guest at depth 1 has often put its
 * next request there by then, which saves its exit and our sleep. Where its last one followed
 * within microseconds, we go on looking for as long (look_again), and no longer: a guest that does
 * other things in between is not waited for.
 *
 * What has a status byte is answered with it; a request without one, or without a header, breaks
 * the queue.
 *
 * Here are the device and its life; a request is taken apart in virtio_blk_request.c, and kept where its host
 * failed it in virtio_blk_kept.c.
 */
#include "devices/virtio/virtio_blk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ids.h>

#include "devices/virtio/virtio_blk_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/endian.h"

static const char state_compatible[] = "charmvm,virtio-blk-1";

enum {
	/* Features (5.2.3). */
	F_SIZE_MAX = 1,
	F_SEG_MAX = 2,
	F_RO = 5,
	F_BLK_SIZE = 6,
	F_TOPOLOGY = 10,
	F_MQ = 12,

	/* Configuration (5.2.4). */
	CFG_CAPACITY = 0,
	CFG_SIZE_MAX = 8,
	CFG_SEG_MAX = 12,
	CFG_BLK_SIZE = 20,
	CFG_PHYSICAL_BLOCK_EXP = 24,
	CFG_MIN_IO_SIZE = 26,
	CFG_NUM_QUEUES = 34,
	CFG_MAX_DISCARD_SECTORS = 36,
	CFG_MAX_DISCARD_SEG = 40,
	CFG_DISCARD_ALIGNMENT = 44,
	CFG_MAX_WRITE_ZEROES_SECTORS = 48,
	CFG_MAX_WRITE_ZEROES_SEG = 52,
	CFG_WRITE_ZEROES_MAY_UNMAP = 56,
	CFG_BYTES = 60,

	QUEUE_SIZE = 256,
	SEG_MAX = QUEUE_SIZE - 2, /* header and status take two */
	SEG_BYTES_MAX = 1 << 22,
	PHYSICAL_BLOCK_EXP = 3, /* 4 KiB */

	LOOK_AGAIN_US = 48,
};

/* ---- from the guest ---- */

static void blk_kick(struct virtio_device *v, unsigned int q)
{
	struct virtio_blk *d = blk_of(v);
	if (!v->in_flight)
		d->eager = clock_ticks() - d->idle_since < clock_ticks_of_us(LOOK_AGAIN_US / 2);
	virtio_serve(v, q, blk_request_take);
}

/*
 * Waits a moment for the next request in one of @queues, with kicks parked. Eager is a guest whose last one
 * would have been met by looking a half longer.
 */
static void look_again(struct virtio_blk *d, uint32_t queues)
{
	uint64_t start = clock_ticks(), span = clock_ticks_of_us(LOOK_AGAIN_US);
	do {
		for (unsigned int q = 0; q < d->v.nqueues; q++)
			if (queues >> q & 1 && vq_has_avail(virtio_vq(&d->v, q)))
				return;
		clock_relax();
	} while (clock_ticks() - start < span);
}

/* ---- batches ---- */

static void complete(void *opaque)
{
	struct virtio_blk *d = opaque;
	struct virtio_device *v = &d->v;
	unsigned int n = 0;
	uint32_t queues = 0;
	while (!list_empty(&d->completed)) {
		struct blk_request *r = list_first(&d->completed, struct blk_request, link);
		list_del(&r->link);
		if (r->blk.err && blk_request_keep(d, r))
			continue;
		blk_request_let_go(d, r);
		queues |= UINT32_C(1) << r->queue;
		blk_request_finish(d, r);
		n++;
	}
	if (!n)
		return; /* all of them are kept */
	for (unsigned int q = 0; q < v->nqueues && !virtio_discards(v); q++) {
		if (!(queues >> q & 1))
			continue;
		if (virtio_live(v))
			vq_kicks_off(virtio_vq(v, q));
		virtio_publish(v, q);
	}
	virtio_end(v, n);
	if (d->eager && !v->in_flight && virtio_live(v))
		look_again(d, queues);
	for (unsigned int q = 0; q < v->nqueues && virtio_live(v); q++)
		if (queues >> q & 1)
			virtio_serve(v, q, blk_request_take);
	d->idle_since = clock_ticks();
}

/* ---- configuration ---- */

static void set_cache(struct virtio_device *v, unsigned int off, const void *buf, unsigned int len)
{
	const uint8_t *writeback = buf;
	if (off == CFG_WRITEBACK && len == 1 && virtio_has(v, F_CONFIG_WCE))
		v->config[CFG_WRITEBACK] = *writeback & 1;
}

static uint64_t features(const struct blk_node *node, unsigned int nqueues)
{
	uint64_t f = 1 << F_SIZE_MAX | 1 << F_SEG_MAX | 1 << F_BLK_SIZE | 1 << F_FLUSH |
		     1 << F_TOPOLOGY | 1 << F_CONFIG_WCE;
	if (nqueues > 1)
		f |= 1 << F_MQ;
	f |= blk_read_only(node) ? 1 << F_RO : 1 << F_DISCARD | 1 << F_WRITE_ZEROES;
	return f;
}

static void fill_config(struct virtio_blk *d)
{
	uint8_t *c = d->v.config;
	put_le64(c + CFG_CAPACITY, blk_size(d->node) / BLK_SECTOR_BYTES);
	put_le32(c + CFG_SIZE_MAX, SEG_BYTES_MAX);
	put_le32(c + CFG_SEG_MAX, SEG_MAX);
	put_le32(c + CFG_BLK_SIZE, BLK_SECTOR_BYTES);
	c[CFG_PHYSICAL_BLOCK_EXP] = PHYSICAL_BLOCK_EXP;
	put_le16(c + CFG_MIN_IO_SIZE, 1 << PHYSICAL_BLOCK_EXP);
	c[CFG_WRITEBACK] = 1;
	put_le16(c + CFG_NUM_QUEUES, (uint16_t)d->v.nqueues);
	put_le32(c + CFG_MAX_DISCARD_SECTORS, DISCARD_SECTORS_MAX);
	put_le32(c + CFG_MAX_DISCARD_SEG, 1);
	put_le32(c + CFG_DISCARD_ALIGNMENT,
		 MAX(blk_discard_granularity(d->node) / BLK_SECTOR_BYTES, 1U));
	put_le32(c + CFG_MAX_WRITE_ZEROES_SECTORS, WRITE_ZEROES_SECTORS_MAX);
	put_le32(c + CFG_MAX_WRITE_ZEROES_SEG, 1);
	c[CFG_WRITE_ZEROES_MAY_UNMAP] = 1;
}

/* ---- life cycle ---- */

static void blk_reset(struct virtio_device *v)
{
	v->config[CFG_WRITEBACK] = 1;
	blk_of(v)->given_up = false;
}

static const struct virtio_ops blk_virtio_ops = {
	.config_write = set_cache,
	.kick = blk_kick,
	.reset = blk_reset,
};

static void blk_destroy(struct device *dev)
{
	struct virtio_blk *d = blk_of(virtio_of(dev));
	assert(!d->v.in_flight);
	loop_task_cancel(dev->env->loop, &d->give_up);
	virtio_fini(&d->v);
	free(d->pool);
	free(d);
}

static void blk_save(struct device *dev, struct state_writer *w)
{
	struct virtio_device *v = virtio_of(dev);
	state_put_u64(w, "capacity", get_le64(v->config + CFG_CAPACITY));
	state_put_bool(w, "writeback", v->config[CFG_WRITEBACK]);
	virtio_save(v, w);
}

static int blk_restore(struct virtio_blk *d, struct state_node n)
{
	uint64_t capacity, have = get_le64(d->v.config + CFG_CAPACITY);
	bool writeback;
	int err = state_check(n, state_compatible);
	if (err)
		return err;
	if (state_get_u64(n, "capacity", &capacity) || state_get_bool(n, "writeback", &writeback)) {
		log_error("%s: the snapshot's disk state is damaged; use another snapshot",
			  d->v.dev.name);
		return -EINVAL;
	}
	if (capacity != have) {
		log_error("%s: the disk has %llu sectors and had %llu when it was saved; give the "
			  "machine the disk of the snapshot",
			  d->v.dev.name, (unsigned long long)have, (unsigned long long)capacity);
		return -EINVAL;
	}
	d->v.config[CFG_WRITEBACK] = writeback;
	return 0;
}

static int blk_create(const struct device_env *env, const char *name, const void *cfg,
		      const struct state_node *from, struct device **out)
{
	const struct virtio_blk_config *config = cfg;
	struct virtio_blk *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->node = config->node;
	if (config->serial)
		memcpy(d->serial, config->serial, strnlen(config->serial, sizeof(d->serial)));
	list_init(&d->free);
	list_init(&d->completed);
	d->complete = (struct loop_task){ .lock = &d->v.dev.lock, .fn = complete, .opaque = d };
	d->on_error = config->on_error;
	d->stopped = config->stopped;
	d->stopped_opaque = config->stopped_opaque;
	blk_kept_init(d);

	unsigned int nqueues = MIN(MAX(config->num_queues, 1), VIRTIO_BLK_QUEUES_MAX);
	const struct virtio_params params = {
		.dev_ops = &virtio_blk_device,
		.ops = &blk_virtio_ops,
		.device_id = VIRTIO_ID_BLOCK,
		.pci_class = 0x010000,
		.pci_slot = config->pci_slot,
		.features = features(d->node, nqueues),
		.nqueues = nqueues,
		.queue_size = QUEUE_SIZE,
		.config_len = CFG_BYTES,
	};
	int err = virtio_init(&d->v, &params, env, name);
	if (err)
		goto out_destroy;
	/* One more than the queues hold: blk_request_take() has one in hand when the last finds the queue
	 * empty. */
	d->pool_len = nqueues * QUEUE_SIZE + 1;
	d->pool = calloc(d->pool_len, sizeof(*d->pool));
	if (!d->pool) {
		log_error("%s: no memory for its requests", name);
		err = -ENOMEM;
		goto out_destroy;
	}
	fill_config(d);
	err = from ? blk_restore(d, *from) : 0;
	if (!err)
		err = virtio_ready(&d->v, from);
	if (err)
		goto out_destroy;
	*out = &d->v.dev;
	return 0;
out_destroy:
	blk_destroy(&d->v.dev);
	return err;
}

const struct device_ops virtio_blk_device = {
	.compatible = state_compatible,
	.create = blk_create,
	.reset = virtio_device_reset,
	.quiesce = virtio_device_quiesce,
	.save = blk_save,
	.resume = virtio_device_resume,
	.destroy = blk_destroy,
};
