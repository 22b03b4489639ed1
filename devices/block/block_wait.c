/* SPDX-License-Identifier: Apache-2.0 */
/* Submitting a request and waiting for it: in a coroutine, or while no loop runs. */
#include <assert.h>

#include "devices/block/node.h"
#include "vmm/core/loop.h"
#include "vmm/core/workers.h"

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
