/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk: requests of the guest onto a block node. */
/*
 * How it works (virtio 1.2, 5.2)
 *
 *   blk_kick -> take: pop, parse, blk_submit ... block layer ... on_done: onto `completed`
 *                 ^                                                    |
 *                 +--------- complete (posted task, once a batch) <----+  status, push, one
 * interrupt
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
 * A request that the host failed in a way that stops the machine (config.on_error) is not answered but
 * kept, counted as in flight, and submitted again after a while, until it succeeds or is given up. So the
 * guest never sees that its host's disk was full; nor does a reset, a quiesce or a snapshot see
 * a request that is neither done nor in flight.
 *
 * What has a status byte is answered with it; a request without one, or without a header, breaks
 * the queue.
 */
#include "devices/virtio/virtio_blk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ids.h>

#include "devices/block/block.h"
#include "devices/virtio/virtio.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/endian.h"
#include "vmm/base/list.h"

static const char state_compatible[] = "charmvm,virtio-blk-1";

enum {
	/* Features (5.2.3). */
	F_SIZE_MAX = 1,
	F_SEG_MAX = 2,
	F_RO = 5,
	F_BLK_SIZE = 6,
	F_FLUSH = 9,
	F_TOPOLOGY = 10,
	F_CONFIG_WCE = 11,
	F_MQ = 12,
	F_DISCARD = 13,
	F_WRITE_ZEROES = 14,

	/* Configuration (5.2.4). */
	CFG_CAPACITY = 0,
	CFG_SIZE_MAX = 8,
	CFG_SEG_MAX = 12,
	CFG_BLK_SIZE = 20,
	CFG_PHYSICAL_BLOCK_EXP = 24,
	CFG_MIN_IO_SIZE = 26,
	CFG_WRITEBACK = 32,
	CFG_NUM_QUEUES = 34,
	CFG_MAX_DISCARD_SECTORS = 36,
	CFG_MAX_DISCARD_SEG = 40,
	CFG_DISCARD_ALIGNMENT = 44,
	CFG_MAX_WRITE_ZEROES_SECTORS = 48,
	CFG_MAX_WRITE_ZEROES_SEG = 52,
	CFG_WRITE_ZEROES_MAY_UNMAP = 56,
	CFG_BYTES = 60,

	/* Requests (5.2.6). */
	HEADER_BYTES = 16,
	RANGE_BYTES = 16,
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_GET_ID = 8,
	T_DISCARD = 11,
	T_WRITE_ZEROES = 13,
	RANGE_UNMAP = 1,
	S_OK = 0,
	S_IOERR = 1,
	S_UNSUPP = 2,

	QUEUE_SIZE = 256,
	SEG_MAX = QUEUE_SIZE - 2, /* header and status take two */
	SEG_BYTES_MAX = 1 << 22,
	DATA_BYTES_MAX = 64 << 20, /* of one request; drivers send a megabyte or so */
	PHYSICAL_BLOCK_EXP = 3,	   /* 4 KiB */
	DISCARD_SECTORS_MAX = 1 << 22,
	WRITE_ZEROES_SECTORS_MAX = 1 << 19,

	LOOK_AGAIN_US = 48,

	RETRY_MIN_MS = 500, /* doubled each time, up to */
	RETRY_MAX_MS = 8000,
};

struct request {
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

	struct request *pool;
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

static struct virtio_blk *blk_of(struct virtio_device *v)
{
	return (struct virtio_blk *)v;
}

/* ---- the pool ---- */

/* There is one: no more are in flight than the queues hold, which vq_pop() sees to. */
static struct request *request_get(struct virtio_blk *d)
{
	if (list_empty(&d->free)) {
		assert(d->fresh < d->pool_len);
		struct request *r = &d->pool[d->fresh++];
		r->d = d;
		list_init(&r->link);
		return r;
	}
	struct request *r = list_first(&d->free, struct request, link);
	list_del(&r->link);
	return r;
}

static void request_put(struct virtio_blk *d, struct request *r)
{
	list_add_head(&d->free, &r->link);
}

/* ---- from the guest ---- */

/* After the last byte of data has been written. */
static void answer(struct virtio_blk *d, struct request *r, uint8_t status)
{
	*r->status = status;
	vq_push(virtio_vq(&d->v, r->queue), r->head, r->written);
	request_put(d, r);
}

static void on_done(struct blk_req *blk, int err)
{
	struct request *r = container_of(blk, struct request, blk);
	struct virtio_blk *d = r->d;
	blk->err = err;
	if (list_empty(&d->completed))
		loop_task_post(d->v.dev.env->loop, &d->complete);
	list_add_tail(&d->completed, &r->link);
}

static void submit(struct virtio_blk *d, struct request *r)
{
	r->blk.done = on_done;
	virtio_begin(&d->v, 1);
	blk_submit(d->node, &r->blk);
}

/* Without a cache that the driver knows of, a write is done when it is on the disk
 * (5.2.5.2, 5.2.6.2). */
static uint32_t write_flags(const struct virtio_blk *d)
{
	bool writeback = virtio_has(&d->v, F_CONFIG_WCE) ? d->v.config[CFG_WRITEBACK]
							 : virtio_has(&d->v, F_FLUSH);
	return writeback ? 0 : BLK_REQ_FUA;
}

/* -> S_OK: submitted. */
static uint8_t start_transfer(struct virtio_blk *d, struct request *r, enum blk_op op,
			      uint64_t sector, const struct iovec *iov, unsigned int niov,
			      uint64_t len_bytes)
{
	uint64_t off;
	if (!len_bytes || len_bytes % BLK_SECTOR_BYTES || len_bytes > DATA_BYTES_MAX ||
	    !ck_mul(sector, (uint64_t)BLK_SECTOR_BYTES, &off))
		return S_IOERR;
	if (op == BLK_WRITE && blk_read_only(d->node))
		return S_IOERR;
	r->blk = (struct blk_req){
		.op = op,
		.flags = op == BLK_WRITE ? write_flags(d) : 0,
		.off = off,
		.len = len_bytes,
		.iov = iov,
		.niov = niov,
	};
	submit(d, r);
	return S_OK;
}

/* One range, as max_discard_seg and max_write_zeroes_seg say. */
static uint8_t start_range(struct virtio_blk *d, struct request *r, uint32_t type,
			   const struct iovec *iov, unsigned int niov, uint64_t len_bytes)
{
	bool discard = type == T_DISCARD;
	uint8_t range[RANGE_BYTES];
	if (!virtio_has(&d->v, discard ? F_DISCARD : F_WRITE_ZEROES))
		return S_UNSUPP;
	if (len_bytes != sizeof(range) || blk_read_only(d->node))
		return S_IOERR;
	iov_get(iov, niov, 0, range, sizeof(range));
	uint64_t off, sector = get_le64(range);
	uint32_t nsectors = get_le32(range + 8), flags = get_le32(range + 12);
	if (flags & ~(uint32_t)(discard ? 0 : RANGE_UNMAP))
		return S_UNSUPP;
	if (!nsectors || nsectors > (discard ? DISCARD_SECTORS_MAX : WRITE_ZEROES_SECTORS_MAX) ||
	    !ck_mul(sector, (uint64_t)BLK_SECTOR_BYTES, &off))
		return S_IOERR;
	r->blk = (struct blk_req){
		.op = discard ? BLK_DISCARD : BLK_WRITE_ZEROES,
		.flags = discard ? 0 : write_flags(d) | (flags & RANGE_UNMAP ? BLK_REQ_UNMAP : 0),
		.off = off,
		.len = (uint64_t)nsectors * BLK_SECTOR_BYTES,
	};
	submit(d, r);
	return S_OK;
}

static uint8_t start_flush(struct virtio_blk *d, struct request *r)
{
	r->blk = (struct blk_req){ .op = BLK_FLUSH };
	submit(d, r);
	return S_OK;
}

/* Takes the request apart. -> false: it was broken and so is the queue. */
static bool parse(struct virtio_blk *d, struct request *r, const struct vq_chain *c)
{
	uint8_t header[HEADER_BYTES];
	if (c->out_bytes < HEADER_BYTES || !c->in_bytes) {
		virtio_broken(&d->v, r->queue, "a request without a header or a status byte");
		return false;
	}
	struct iovec *out = r->iov, *in = r->iov + c->nout;
	unsigned int nout = c->nout, nin = c->nin;
	iov_get(out, nout, 0, header, HEADER_BYTES);
	iov_skip(&out, &nout, HEADER_BYTES);
	/* The status is the last byte to write, however the rest is cut. */
	struct iovec *last = &in[nin - 1];
	r->status = (uint8_t *)last->iov_base + --last->iov_len;
	if (!last->iov_len)
		nin--;
	r->written = 1;

	uint32_t type = get_le32(header);
	uint64_t sector = get_le64(header + 8), in_bytes = c->in_bytes - 1;
	uint64_t out_bytes = c->out_bytes - HEADER_BYTES;
	uint8_t status;
	switch (type) {
	case T_IN:
		r->written = (uint32_t)in_bytes + 1;
		status = start_transfer(d, r, BLK_READ, sector, in, nin, in_bytes);
		break;
	case T_OUT: status = start_transfer(d, r, BLK_WRITE, sector, out, nout, out_bytes); break;
	case T_FLUSH: status = start_flush(d, r); break;
	case T_DISCARD:
	case T_WRITE_ZEROES: status = start_range(d, r, type, out, nout, out_bytes); break;
	case T_GET_ID:
		r->written +=
			(uint32_t)iov_put(in, nin, 0, d->serial, MIN(in_bytes, sizeof(d->serial)));
		answer(d, r, S_OK);
		return true;
	default: status = S_UNSUPP;
	}
	if (status != S_OK) {
		r->written = 1;
		answer(d, r, status);
	}
	return true;
}

static bool take(struct virtio_device *v, unsigned int q)
{
	struct virtio_blk *d = blk_of(v);
	struct request *r = request_get(d);
	struct vq_chain c = { .iov = r->iov, .iov_max = VQ_IOV_MAX };
	bool taken = virtio_pop(v, q, &c);
	r->queue = (uint16_t)q;
	r->head = c.head;
	if (taken && parse(d, r, &c))
		return true;
	request_put(d, r);
	return false;
}

static void blk_kick(struct virtio_device *v, unsigned int q)
{
	struct virtio_blk *d = blk_of(v);
	if (!v->in_flight)
		d->eager = clock_ticks() - d->idle_since < clock_ticks_of_us(LOOK_AGAIN_US / 2);
	virtio_serve(v, q, take);
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

/* ---- requests that are kept ---- */

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

/* -> true: it is kept, not finished. */
static bool keep(struct virtio_blk *d, struct request *r)
{
	if (!stops(d, r->blk.err))
		return false;
	if (!d->nkept) {
		log_warn("%s: %s: %s: the machine waits and tries again every few seconds; to end "
			 "it "
			 "nevertheless, ask twice (SIGTERM)",
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

static void keep_no_more(struct virtio_blk *d, struct request *r)
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
		struct request *r = list_first(&batch, struct request, link);
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

/* ---- from the block layer ---- */

static void finish(struct virtio_blk *d, struct request *r)
{
	if (virtio_discards(&d->v)) {
		request_put(d, r);
		return;
	}
	switch (r->blk.err) {
	case 0: answer(d, r, S_OK); break;
	case -ENOTSUP:
		r->written = 1;
		answer(d, r, S_UNSUPP);
		break;
	default: r->written = 1; answer(d, r, S_IOERR);
	}
}

static void complete(void *opaque)
{
	struct virtio_blk *d = opaque;
	struct virtio_device *v = &d->v;
	unsigned int n = 0;
	uint32_t queues = 0;
	while (!list_empty(&d->completed)) {
		struct request *r = list_first(&d->completed, struct request, link);
		list_del(&r->link);
		if (r->blk.err && keep(d, r))
			continue;
		keep_no_more(d, r);
		queues |= UINT32_C(1) << r->queue;
		finish(d, r);
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
			virtio_serve(v, q, take);
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
	list_init(&d->kept);
	d->retry = (struct loop_timer){ .lock = &d->v.dev.lock, .fn = try_again, .opaque = d };
	d->give_up = (struct loop_task){ .lock = &d->v.dev.lock, .fn = give_up, .opaque = d };

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
	/* One more than the queues hold: take() has one in hand when the last finds the queue
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
