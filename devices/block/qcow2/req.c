/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to a qcow2 node: the fast path, and what the slow one is made of. */
/*
 * How it works. Most requests of a running guest touch clusters that are allocated, next to each
 * other and whose mapping is in the cache: qcow2_submit() maps such a request and passes it on to
 * the file at once, without a coroutine, a second request or an allocation. Everything else (a mapping to be read,
 * clusters to be allocated, pieces in several places, compression) runs as one coroutine.
 *
 * Concurrency. Reads take nothing: they see the mapping before or after a change. A write that
 * changes the mapping of clusters is in `busy` meanwhile; every other write, discard or zeroing of
 * one of them waits and then looks at the mapping again. Writes in place go ahead together.
 *
 * Each data I/O to a cluster of the image is counted in the epoch in which it was mapped, so that the
 * reaper (drop.c) knows when a dropped cluster is out of use.
 *
 * A freeze (snapshots, resize, close) holds new requests back and waits for the active ones.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/int.h"

enum { Q_BUFS_KEEP = 8 };

/* ---- buffers ---- */

struct spare_buf {
	struct list link;
};

uint8_t *q_buf_get(struct qcow2 *q)
{
	void *buf;
	if (!list_empty(&q->bufs)) {
		struct spare_buf *b = list_first(&q->bufs, struct spare_buf, link);
		list_del(&b->link);
		q->n_bufs--;
		return (uint8_t *)b;
	}
	return posix_memalign(&buf, Q_PAGE_BYTES_MAX, q->cluster_bytes) ? NULL : buf;
}

void q_buf_put(struct qcow2 *q, uint8_t *buf)
{
	if (!buf)
		return;
	if (q->n_bufs == Q_BUFS_KEEP) {
		free(buf);
		return;
	}
	struct spare_buf *b = (struct spare_buf *)buf;
	list_add_head(&q->bufs, &b->link);
	q->n_bufs++;
}

const uint8_t *q_zeroes(struct qcow2 *q)
{
	if (!q->zeroes) {
		void *buf;
		if (posix_memalign(&buf, Q_PAGE_BYTES_MAX, q->cluster_bytes))
			return NULL;
		memset(buf, 0, q->cluster_bytes);
		q->zeroes = buf;
	}
	return q->zeroes;
}

/* ---- epochs ---- */

unsigned int q_io_begin(struct qcow2 *q)
{
	q->io_count[q->io_epoch]++;
	return q->io_epoch;
}

void q_io_end(struct qcow2 *q, unsigned int epoch)
{
	assert(q->io_count[epoch]);
	if (!--q->io_count[epoch])
		co_queue_wake_all(&q->io_drained);
}

/* ---- fans ---- */

enum { NO_EPOCH = 2 }; /* in place of one: I/O to another file */

static void on_fan_done(struct blk_req *req, int err)
{
	struct blk_child *c = container_of(req, struct blk_child, req);
	struct q_fan *f = c->a;
	if (c->c != NO_EPOCH)
		q_io_end(f->q, (unsigned int)c->c);
	free(c->b);
	blk_child_put(f->q->node.ctx, c);
	if (err && !f->err)
		f->err = err;
	if (!--f->pending && f->waiter)
		co_wake(f->waiter);
}

void q_fan_submit(struct q_fan *f, struct blk_node *n, enum blk_op op, const struct iovec *iov,
		  unsigned int niov, uint64_t skip, uint64_t len, uint64_t off, bool own)
{
	struct qcow2 *q = f->q;
	struct blk_child *c = blk_child_get(q->node.ctx);
	struct iovec *v = &c->iov;
	c->b = NULL;
	unsigned int used = blk_iov_slice(iov, niov, skip, len, v, 1);
	if (!used) {
		v = c->b = malloc(niov * sizeof(*v));
		if (!v) {
			blk_child_put(q->node.ctx, c);
			f->err = -ENOMEM;
			return;
		}
		used = blk_iov_slice(iov, niov, skip, len, v, niov);
	}
	c->a = f;
	c->c = own ? q_io_begin(q) : NO_EPOCH;
	c->req = (struct blk_req){
		.op = op, .off = off, .len = len, .iov = v, .niov = used, .done = on_fan_done
	};
	f->pending++;
	blk_submit(n, &c->req);
}

int q_co_fan_wait(struct q_fan *f)
{
	f->waiter = co_self(q_co(f->q));
	while (f->pending)
		co_yield (q_co(f->q));
	f->waiter = NULL;
	return f->err;
}

/* ---- busy clusters ---- */

static bool is_busy(const struct qcow2 *q, uint64_t first, uint64_t last)
{
	const struct list *pos;
	list_for_each (pos, &q->busy) {
		const struct q_busy *b = list_entry(pos, struct q_busy, link);
		if (b->first <= last && first <= b->last)
			return true;
	}
	return false;
}

bool q_co_busy_wait(struct qcow2 *q, uint64_t first, uint64_t last)
{
	bool waited = false;
	while (is_busy(q, first, last)) {
		waited = true;
		co_queue_wait(q_co(q), &q->busy_done);
	}
	return waited;
}

void q_busy_begin(struct qcow2 *q, struct q_busy *b, uint64_t first, uint64_t last)
{
	b->first = first;
	b->last = last;
	list_add_tail(&q->busy, &b->link);
}

void q_busy_end(struct qcow2 *q, struct q_busy *b)
{
	list_del(&b->link);
	co_queue_wake_all(&q->busy_done);
}

/* ---- active requests ---- */

void q_active_begin(struct qcow2 *q)
{
	q->active++;
}

void q_active_end(struct qcow2 *q)
{
	assert(q->active);
	if (!--q->active)
		co_queue_wake_all(&q->idle);
}

void q_co_freeze(struct qcow2 *q)
{
	while (q->frozen)
		co_queue_wait(q_co(q), &q->idle);
	q->frozen = true;
	while (q->active)
		co_queue_wait(q_co(q), &q->idle);
}

static void begin(struct qcow2 *q, struct blk_req *req);

void q_thaw(struct qcow2 *q)
{
	q->frozen = false;
	co_queue_wake_all(&q->idle); /* the next one who wants to freeze */
	struct list held;
	list_init(&held);
	list_splice_tail(&held, &q->held);
	while (!list_empty(&held)) {
		struct blk_req *req = list_first(&held, struct blk_req, link);
		list_del(&req->link);
		begin(q, req);
	}
}

/* ---- the slow path ---- */

static int co_serve(struct qcow2 *q, struct blk_req *req)
{
	bool changes =
		req->op == BLK_WRITE || req->op == BLK_DISCARD || req->op == BLK_WRITE_ZEROES;
	int err = changes ? q_co_begin_write(q) : 0;
	if (err)
		return err;
	switch (req->op) {
	case BLK_READ: return q_co_read(q, req->off, req->len, req->iov, req->niov);
	case BLK_WRITE:
		if (req->flags & BLK_REQ_COMPRESS)
			return q_co_write_compressed(q, req->off, req->len, req->iov, req->niov);
		return q_co_write(q, req->off, req->len, req->iov, req->niov);
	case BLK_WRITE_ZEROES:
		return q_co_write_zeroes(q, req->off, req->len, req->flags & BLK_REQ_UNMAP);
	case BLK_DISCARD: return q_co_discard(q, req->off, req->len);
	case BLK_STATUS: return q_co_status(q, req->off, req->len, req->status);
	case BLK_FLUSH: return q_co_commit(q);
	}
	return -EINVAL;
}

static void co_request(void *arg)
{
	struct blk_req *req = arg;
	struct qcow2 *q = q_node(req->node);
	blk_finish(req, co_serve(q, req));
	q_commit_if_full(q);
}

/* ---- the fast path ---- */

void qcow2_finished(struct blk_node *n, struct blk_req *req)
{
	struct qcow2 *q = q_node(n);
	if (req->tag != NO_EPOCH)
		q_io_end(q, req->tag);
	q_active_end(q);
}

/* What is stored in this image: the request goes on to its file. */
static void pass(struct qcow2 *q, struct blk_req *req, uint64_t host)
{
	req->tag = q_io_begin(q);
	blk_pass(req, q->data, host);
}

static void on_backing_done(struct blk_req *child, int err)
{
	struct blk_child *c = container_of(child, struct blk_child, req);
	struct blk_req *req = c->a;
	blk_child_put(req->node->ctx, c);
	blk_finish(req, err);
}

/* Another image serves it as a request of its own. */
static void read_backing(struct qcow2 *q, struct blk_req *req)
{
	struct blk_child *c = blk_child_get(q->node.ctx);
	c->a = req;
	c->req = (struct blk_req){ .op = BLK_READ,
				   .off = req->off,
				   .len = req->len,
				   .iov = req->iov,
				   .niov = req->niov,
				   .done = on_backing_done };
	blk_submit(q->node.backing, &c->req);
}

static bool fast_read(struct qcow2 *q, struct blk_req *req, const struct q_extent *e)
{
	uint64_t shown;
	switch (e->type) {
	case Q_NORMAL: pass(q, req, e->host); return true;
	case Q_UNALLOCATED:
		shown = q_backing_bytes(q, req->off, req->len);
		if (shown == req->len) {
			read_backing(q, req);
			return true;
		}
		if (shown)
			return false;
		break;
	case Q_ZERO_ALLOC:
	case Q_ZERO_PLAIN: break;
	case Q_COMPRESSED_CLUSTER: return false;
	}
	blk_iov_zero(req->iov, req->niov, 0, req->len);
	blk_finish(req, 0);
	return true;
}

static bool fast_write(struct qcow2 *q, struct blk_req *req, const struct q_extent *e)
{
	if (e->type != Q_NORMAL || !e->copied || !e->verified || !q->writable_begun || q->corrupt ||
	    (req->flags & BLK_REQ_COMPRESS))
		return false;
	if (is_busy(q, req->off >> q->cluster_bits, (req->off + req->len - 1) >> q->cluster_bits))
		return false;
	pass(q, req, e->host);
	return true;
}

static bool fast_flush(struct qcow2 *q, struct blk_req *req)
{
	if (q->cache.n_dirty || q->frees.n || q->committing || q->packer || q->data_file)
		return false;
	blk_pass(req, q->node.file, 0);
	return true;
}

static bool serve_fast(struct qcow2 *q, struct blk_req *req)
{
	struct q_extent e;
	switch (req->op) {
	case BLK_READ:
	case BLK_WRITE:
		if (q_map(q, req->off, req->len, &e) || e.len < req->len)
			return false;
		return req->op == BLK_READ ? fast_read(q, req, &e) : fast_write(q, req, &e);
	case BLK_FLUSH: return fast_flush(q, req);
	default: return false;
	}
}

static void begin(struct qcow2 *q, struct blk_req *req)
{
	q_active_begin(q);
	req->tag = NO_EPOCH;
	if (serve_fast(q, req))
		return;
	int err = co_spawn(q_co(q), co_request, req);
	if (err)
		blk_finish(req, err);
}

void qcow2_submit(struct blk_node *n, struct blk_req *req)
{
	struct qcow2 *q = q_node(n);
	if (q->frozen)
		list_add_tail(&q->held, &req->link);
	else
		begin(q, req);
}
