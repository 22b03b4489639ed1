/* SPDX-License-Identifier: Apache-2.0 */
/* The dispatcher: one door to every block node, and what nodes share. */
/*
 * How it works. blk_submit() checks a request once for all implementers (op, alignment, range,
 * writability), counts it and hands it to the node. A node answers with blk_finish(), which does
 * three things in order: a failed or plain request is counted off and its done() called; a
 * successful write with FUA is turned into a flush of the same node first; and if the answer came
 * while somebody is still inside blk_submit() or a coroutine, done() is left to a task of the loop,
 * so callers never see their completion before blk_submit() has returned, and stacks stay flat.
 *
 * A format whose answer is "that, over there in my file" passes the request itself on (blk_pass()):
 * it stays the format's, and blk_finish() tells the format when the file has served it.
 *
 * What the nodes of one loop share (coroutines, aio, workers, pools) is struct blk_ctx, kept in the
 * loop's slot and counted by the nodes.
 */
#include "devices/block/node.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/aio.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"
#include "vmm/core/workers.h"

enum { BLK_WORKERS = 2 };

/* ---- requests ---- */

static void call_done(struct blk_req *req)
{
	assert(req->node->in_flight);
	req->node->in_flight--;
	req->done(req, req->err);
}

static void serve_finished(void *opaque)
{
	struct blk_ctx *ctx = opaque;
	ctx->refs++; /* a done() may close the last node */
	while (!list_empty(&ctx->finished)) {
		struct blk_req *req = list_first(&ctx->finished, struct blk_req, link);
		list_del(&req->link);
		call_done(req);
	}
	blk_ctx_put(ctx);
}

static void start_fua_flush(struct blk_req *req)
{
	req->fua_flushing = true;
	req->fua_op = req->op;
	req->op = BLK_FLUSH;
	req->node->ops->submit(req->node, req);
}

static void answer(struct blk_req *req, int err)
{
	struct blk_ctx *ctx = req->node->ctx;
	req->err = err;
	if (!ctx->in_submit && !co_self(ctx->co)) {
		call_done(req);
		return;
	}
	list_add_tail(&ctx->finished, &req->link);
	loop_task_post(ctx->loop, ctx->finish_task);
}

void blk_finish(struct blk_req *req, int err)
{
	if (req->node->ops->finished)
		req->node->ops->finished(req->node, req);
	if (req->fua_flushing) {
		req->fua_flushing = false;
		req->op = req->fua_op;
	} else if (!err && (req->flags & BLK_REQ_FUA) &&
		   (req->op == BLK_WRITE || req->op == BLK_WRITE_ZEROES)) {
		start_fua_flush(req);
		return;
	}
	answer(req, err);
}

static uint64_t iov_total(const struct blk_req *req)
{
	uint64_t sum = 0;
	for (unsigned int i = 0; i < req->niov; i++)
		if (!ck_add(sum, (uint64_t)req->iov[i].iov_len, &sum))
			return UINT64_MAX;
	return sum;
}

static bool range_fine(const struct blk_node *n, const struct blk_req *req)
{
	uint64_t end;
	if ((req->off | req->len) % BLK_SECTOR_BYTES || !ck_add(req->off, req->len, &end))
		return false;
	return n->grows ? end <= INT64_MAX : end <= n->size;
}

/* -> 0 or what is wrong with the request. */
static int check(const struct blk_node *n, const struct blk_req *req)
{
	switch (req->op) {
	case BLK_FLUSH: return 0;
	case BLK_READ:
	case BLK_STATUS: break;
	case BLK_WRITE:
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		if (n->read_only)
			return -EROFS;
		break;
	default: return -EINVAL;
	}
	if (!range_fine(n, req))
		return -EINVAL;
	if ((req->op == BLK_READ || req->op == BLK_WRITE) && iov_total(req) != req->len)
		return -EINVAL;
	return 0;
}

void blk_submit(struct blk_node *n, struct blk_req *req)
{
	struct blk_ctx *ctx = n->ctx;
	req->node = n;
	req->at = req->off;
	req->fua_flushing = false;
	list_init(&req->link);
	n->in_flight++;
	ctx->in_submit++;
	int err = check(n, req);
	if (err || (!req->len && req->op != BLK_FLUSH))
		answer(req, err);
	else
		n->ops->submit(n, req);
	ctx->in_submit--;
}

/* ---- facts ---- */

uint64_t blk_size(const struct blk_node *n)
{
	return n->size;
}

bool blk_read_only(const struct blk_node *n)
{
	return n->read_only;
}

const char *blk_format(const struct blk_node *n)
{
	return n->ops->format;
}

const char *blk_name(const struct blk_node *n)
{
	return n->name;
}

uint32_t blk_discard_granularity(const struct blk_node *n)
{
	return n->discard_granularity;
}

unsigned int blk_in_flight(const struct blk_node *n)
{
	return n->in_flight;
}

uint64_t blk_allocated_bytes(struct blk_node *n)
{
	while (!n->ops->allocated && n->file)
		n = n->file;
	return n->ops->allocated ? n->ops->allocated(n) : 0;
}

struct blk_node *blk_backing(const struct blk_node *n)
{
	return n->backing;
}

void blk_set_workers(struct blk_node *n, unsigned int max)
{
	workers_set_max(n->ctx->workers, max);
}

int blk_truncate(struct blk_node *n, uint64_t size)
{
	return n->ops->truncate ? n->ops->truncate(n, size) : -ENOTSUP;
}

/* ---- one request from a coroutine ---- */

struct co_call {
	struct blk_req req;
	struct co *co;
	int err;
};

static void co_call_done(struct blk_req *req, int err)
{
	struct co_call *call = req->opaque;
	call->err = err;
	co_wake(call->co);
}

static int co_call(struct blk_node *n, struct co_call *call)
{
	call->co = co_self(n->ctx->co);
	call->req.done = co_call_done;
	call->req.opaque = call;
	blk_submit(n, &call->req);
	co_yield (n->ctx->co);
	return call->err;
}

int blk_co_rwv(struct blk_node *n, enum blk_op op, const struct iovec *iov, unsigned int niov,
	       uint64_t len, uint64_t off, uint32_t flags)
{
	struct co_call call = { .req = { .op = op,
					 .flags = flags,
					 .off = off,
					 .len = len,
					 .iov = iov,
					 .niov = niov } };
	return co_call(n, &call);
}

int blk_co_rw(struct blk_node *n, enum blk_op op, void *buf, size_t len, uint64_t off)
{
	struct iovec iov = { buf, len };
	return blk_co_rwv(n, op, &iov, 1, len, off, 0);
}

int blk_co_flush(struct blk_node *n)
{
	return blk_co_rwv(n, BLK_FLUSH, NULL, 0, 0, 0, 0);
}

int blk_co_status(struct blk_node *n, uint64_t off, uint64_t len, struct blk_status *out)
{
	struct co_call call = { .req = {
					.op = BLK_STATUS, .off = off, .len = len, .status = out } };
	return co_call(n, &call);
}

struct co_work {
	struct work work;
	void (*fn)(void *arg);
	void *arg;
	struct co *co;
};

static void co_work_run(struct work *w)
{
	struct co_work *cw = container_of(w, struct co_work, work);
	cw->fn(cw->arg);
}

static void co_work_done(struct work *w)
{
	co_wake(container_of(w, struct co_work, work)->co);
}

void blk_co_work(struct blk_ctx *ctx, void (*fn)(void *arg), void *arg)
{
	struct co_work cw = { .work = { .run = co_work_run, .done = co_work_done },
			      .fn = fn,
			      .arg = arg,
			      .co = co_self(ctx->co) };
	workers_submit(ctx->workers, &cw.work);
	co_yield (ctx->co);
}

/* ---- one request while no loop runs ---- */

struct sync_call {
	struct blk_req req;
	bool done;
	int err;
};

static void sync_done(struct blk_req *req, int err)
{
	struct sync_call *call = req->opaque;
	call->err = err;
	call->done = true;
}

static int sync_call(struct blk_node *n, enum blk_op op, struct iovec *iov, uint64_t off)
{
	struct loop *l = n->ctx->loop;
	assert(!loop_running(l));
	struct sync_call call = { .req = { .op = op,
					   .off = off,
					   .len = iov ? iov->iov_len : 0,
					   .iov = iov,
					   .niov = iov ? 1 : 0,
					   .done = sync_done } };
	call.req.opaque = &call;
	blk_submit(n, &call.req);
	int err = loop_run_until(l, &call.done);
	assert(call.done || err);
	return err ? err : call.err;
}

int blk_pread(struct blk_node *n, void *buf, size_t len_bytes, uint64_t off)
{
	struct iovec iov = { buf, len_bytes };
	return sync_call(n, BLK_READ, &iov, off);
}

int blk_pwrite(struct blk_node *n, const void *buf, size_t len_bytes, uint64_t off)
{
	struct iovec iov = { (void *)(uintptr_t)buf, len_bytes };
	return sync_call(n, BLK_WRITE, &iov, off);
}

int blk_flush(struct blk_node *n)
{
	return sync_call(n, BLK_FLUSH, NULL, 0);
}

/* ---- iovecs ---- */

unsigned int blk_iov_slice_some(const struct iovec *iov, unsigned int niov, uint64_t skip,
				uint64_t len, struct iovec *out, unsigned int max)
{
	unsigned int used = 0;
	for (unsigned int i = 0; i < niov && len && used < max; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = MIN((uint64_t)iov[i].iov_len - skip, len);
		out[used++] = (struct iovec){ (char *)iov[i].iov_base + skip, part };
		skip = 0;
		len -= part;
	}
	return used;
}

unsigned int blk_iov_slice(const struct iovec *iov, unsigned int niov, uint64_t skip, uint64_t len,
			   struct iovec *out, unsigned int max)
{
	unsigned int used = blk_iov_slice_some(iov, niov, skip, len, out, max);
	uint64_t sum = 0;
	for (unsigned int i = 0; i < used; i++)
		sum += out[i].iov_len;
	return sum == len ? used : 0;
}

/* Calls @fn for each piece of the part [skip, skip + len), with its place in the part. */
static void iov_each(const struct iovec *iov, unsigned int niov, uint64_t skip, uint64_t len,
		     void (*fn)(void *piece, size_t bytes, char *at), char *buf)
{
	for (unsigned int i = 0; i < niov && len; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = MIN((uint64_t)iov[i].iov_len - skip, len);
		fn((char *)iov[i].iov_base + skip, part, buf);
		skip = 0;
		len -= part;
		if (buf)
			buf += part;
	}
}

static void piece_zero(void *piece, size_t bytes, char *at)
{
	(void)at;
	memset(piece, 0, bytes);
}

static void piece_read(void *piece, size_t bytes, char *at)
{
	memcpy(at, piece, bytes);
}

static void piece_write(void *piece, size_t bytes, char *at)
{
	memcpy(piece, at, bytes);
}

void blk_iov_zero(const struct iovec *iov, unsigned int niov, uint64_t skip, uint64_t len)
{
	iov_each(iov, niov, skip, len, piece_zero, NULL);
}

void blk_iov_read(const struct iovec *iov, unsigned int niov, uint64_t skip, void *buf,
		  uint64_t len)
{
	iov_each(iov, niov, skip, len, piece_read, buf);
}

void blk_iov_write(const struct iovec *iov, unsigned int niov, uint64_t skip, const void *buf,
		   uint64_t len)
{
	iov_each(iov, niov, skip, len, piece_write, (char *)(uintptr_t)buf);
}

/* ---- what nodes share ---- */

static void ctx_destroy(struct blk_ctx *ctx)
{
	*loop_slot(ctx->loop, LOOP_SLOT_BLOCK) = NULL;
	if (ctx->finish_task)
		loop_task_cancel(ctx->loop, ctx->finish_task);
	aio_destroy(ctx->aio);
	workers_destroy(ctx->workers);
	co_sched_destroy(ctx->co);
	while (!list_empty(&ctx->child_pool)) {
		struct blk_child *c = list_first(&ctx->child_pool, struct blk_child, req.link);
		list_del(&c->req.link);
		free(c);
	}
	free(ctx->finish_task);
	free(ctx);
}

int blk_ctx_get(struct loop *l, struct blk_ctx **out)
{
	void **slot = loop_slot(l, LOOP_SLOT_BLOCK);
	struct blk_ctx *ctx = *slot;
	if (ctx) {
		ctx->refs++;
		*out = ctx;
		return 0;
	}
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return -ENOMEM;
	ctx->loop = l;
	ctx->refs = 1;
	list_init(&ctx->finished);
	list_init(&ctx->child_pool);
	int err = -ENOMEM;
	ctx->finish_task = calloc(1, sizeof(*ctx->finish_task));
	if (!ctx->finish_task)
		goto out_destroy;
	*ctx->finish_task = (struct loop_task){ .fn = serve_finished, .opaque = ctx };
	err = co_sched_create(l, &ctx->co);
	if (!err)
		err = workers_create(l, BLK_WORKERS, &ctx->workers);
	if (!err)
		err = aio_create(l, &ctx->aio);
	if (err)
		goto out_destroy;
	*slot = ctx;
	*out = ctx;
	return 0;
out_destroy:
	ctx_destroy(ctx);
	return err;
}

void blk_ctx_put(struct blk_ctx *ctx)
{
	if (!--ctx->refs)
		ctx_destroy(ctx);
}

struct blk_child *blk_child_get(struct blk_ctx *ctx)
{
	struct blk_child *c;
	if (list_empty(&ctx->child_pool)) {
		c = calloc(1, sizeof(*c));
		if (!c)
			abort();
		return c;
	}
	c = list_first(&ctx->child_pool, struct blk_child, req.link);
	list_del(&c->req.link);
	c->req = (struct blk_req){ 0 };
	return c;
}

void blk_child_put(struct blk_ctx *ctx, struct blk_child *c)
{
	list_add_head(&ctx->child_pool, &c->req.link);
}

int blk_node_init(struct blk_node *n, const struct blk_ops *ops, struct blk_ctx *ctx,
		  const char *name)
{
	n->name = strdup(name);
	if (!n->name)
		return -ENOMEM;
	n->ops = ops;
	n->ctx = ctx;
	n->discard_granularity = BLK_SECTOR_BYTES;
	ctx->refs++;
	return 0;
}

void blk_node_free(struct blk_node *n)
{
	struct blk_ctx *ctx = n->ctx;
	free(n->name);
	free(n);
	blk_ctx_put(ctx);
}

int blk_co_close(struct blk_node *n)
{
	if (!n)
		return 0;
	assert(!n->in_flight);
	struct blk_node *file = n->file, *backing = n->backing;
	struct blk_ctx *ctx = n->ctx;
	ctx->refs++;
	int err = n->ops->close(n); /* flushes through its children, so before them */
	int err2 = blk_co_close(file);
	int err3 = blk_co_close(backing);
	ctx->refs--; /* the coroutine we are in lives on it: its caller holds another */
	return err ? err : err2 ? err2 : err3;
}
