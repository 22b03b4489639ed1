/* SPDX-License-Identifier: Apache-2.0 */
/* A block node in memory. */
#include "tests/unit/virtio/fake_blk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"

static struct fake_blk *fake_of(struct blk_node *n)
{
	return container_of(n, struct fake_blk, node);
}

static int serve(struct fake_blk *n, struct blk_req *req)
{
	n->ops[req->op]++;
	n->last_flags = req->flags;
	if (n->fail)
		return n->fail;
	assert(req->op == BLK_FLUSH || ck_range(req->off, req->len, FAKE_BLK_BYTES));
	switch (req->op) {
	case BLK_READ: blk_iov_write(req->iov, req->niov, 0, n->data + req->off, req->len); break;
	case BLK_WRITE: blk_iov_read(req->iov, req->niov, 0, n->data + req->off, req->len); break;
	case BLK_FLUSH: break;
	default: memset(n->data + req->off, 0, req->len);
	}
	return 0;
}

static void complete_all(void *opaque)
{
	struct fake_blk *n = opaque;
	struct list batch;
	list_init(&batch);
	if (!n->hold)
		list_splice_tail(&batch, &n->waiting);
	while (!list_empty(&batch)) {
		struct blk_req *req = list_first(&batch, struct blk_req, link);
		list_del(&req->link);
		blk_finish(req, serve(n, req));
	}
}

static void fake_submit(struct blk_node *node, struct blk_req *req)
{
	struct fake_blk *n = fake_of(node);
	list_add_tail(&n->waiting, &req->link);
	loop_task_post(node->ctx->loop, &n->task);
}

static int fake_close(struct blk_node *n)
{
	blk_node_free(n);
	return 0;
}

static const struct blk_ops fake_ops = {
	.format = "fake",
	.submit = fake_submit,
	.close = fake_close,
};

struct fake_blk *fake_blk_create(struct loop *l)
{
	struct blk_ctx *ctx;
	struct fake_blk *n = calloc(1, sizeof(*n));
	assert(n);
	int err = blk_ctx_get(l, &ctx);
	err = err ? err : blk_node_init(&n->node, &fake_ops, ctx, "fake");
	assert(!err);
	blk_ctx_put(ctx);
	n->node.size = FAKE_BLK_BYTES;
	n->node.discard_granularity = 4096;
	n->task = (struct loop_task){ .fn = complete_all, .opaque = n };
	list_init(&n->waiting);
	return n;
}

void fake_blk_destroy(struct fake_blk *n)
{
	loop_task_cancel(n->node.ctx->loop, &n->task);
	int err = blk_close(&n->node);
	assert(!err);
}

void fake_blk_release(struct fake_blk *n)
{
	n->hold = false;
	loop_task_post(n->node.ctx->loop, &n->task);
}
