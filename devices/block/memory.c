/* SPDX-License-Identifier: Apache-2.0 */
/* A read-only disk in memory: what is made for a guest and is never to be on the host's disk. */
#include "devices/block/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/node.h"
#include "vmm/base/checked.h"

struct memory_node {
	struct blk_node node;
	uint8_t *data;
};

static struct memory_node *to_memory(struct blk_node *n)
{
	return container_of(n, struct memory_node, node);
}

/* Range and op were checked by the dispatcher, which refuses every change of a read-only node. */
static void memory_submit(struct blk_node *n, struct blk_req *req)
{
	if (req->op == BLK_READ)
		blk_iov_write(req->iov, req->niov, 0, to_memory(n)->data + req->at, req->len);
	else if (req->op == BLK_STATUS)
		*req->status = (struct blk_status){ .flags = BLK_STATUS_DATA | BLK_STATUS_ALLOCATED,
						    .len = req->len };
	blk_finish(req, 0);
}

static int memory_close(struct blk_node *n)
{
	struct memory_node *m = to_memory(n);
	explicit_bzero(m->data, n->size); /* it may hold a key */
	free(m->data);
	blk_node_free(n);
	return 0;
}

static uint64_t memory_allocated(struct blk_node *n)
{
	(void)n;
	return 0;
}

static const struct blk_ops memory_ops = {
	.format = "memory",
	.submit = memory_submit,
	.close = memory_close,
	.allocated = memory_allocated,
};

int blk_memory(struct loop *l, const char *name, void *data, size_t len_bytes,
	       struct blk_node **out)
{
	struct blk_ctx *ctx;
	if (!len_bytes || len_bytes % BLK_SECTOR_BYTES)
		return -EINVAL;
	int err = blk_ctx_get(l, &ctx);
	if (err)
		return err;
	struct memory_node *m = calloc(1, sizeof(*m));
	err = m ? blk_node_init(&m->node, &memory_ops, ctx, name) : -ENOMEM;
	blk_ctx_put(ctx); /* the node has its own reference */
	if (err) {
		free(m);
		return err;
	}
	m->data = data;
	m->node.size = len_bytes;
	m->node.read_only = true;
	*out = &m->node;
	return 0;
}
