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
