/* SPDX-License-Identifier: Apache-2.0 */
/* The raw format: what is in the file is what is on the disk. */
/*
 * How it works. Requests go straight through to the file. One thing is ours: when the format was not
 * given but probed, the guest could write the header of another format into its first sector, and
 * the next start would take the disk for an image with, say, a backing file of the guest's choice.
 * So such a node refuses to write a known magic there (-EPERM), looking at a copy that the guest
 * cannot change any more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/node.h"
#include "devices/block/probe.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

struct raw_node {
	struct blk_node node;
	bool probed;
	struct log_limit limit;
};

struct guarded {
	struct blk_child *child;
	struct blk_req *req;
	uint8_t *sector;
	struct iovec iov[];
};

static void on_guarded_done(struct blk_req *child, int err)
{
	struct guarded *g = child->opaque;
	struct blk_req *req = g->req;
	blk_child_put(req->node->ctx, g->child);
	free(g->sector);
	free(g);
	blk_finish(req, err);
}

/* Writes a copy of the first sector and the rest as it is. */
static void write_guarded(struct raw_node *r, struct blk_req *req)
{
	uint8_t *sector;
	if (posix_memalign((void **)&sector, BLK_SECTOR_BYTES, BLK_SECTOR_BYTES)) {
		blk_finish(req, -ENOMEM);
		return;
	}
	blk_iov_read(req->iov, req->niov, 0, sector, BLK_SECTOR_BYTES);
	struct guarded *g = NULL;
	int err = -EPERM;
	if (probe_format(sector, BLK_SECTOR_BYTES)) {
		log_guest(&r->limit,
			  "%s: the guest tried to write the header of a disk image into sector 0; "
			  "start with the format given (raw) if that is meant",
			  r->node.name);
		goto out_fail;
	}
	err = -ENOMEM;
	g = malloc(sizeof(*g) + (req->niov + 1) * sizeof(g->iov[0]));
	if (!g)
		goto out_fail;
	g->iov[0] = (struct iovec){ sector, BLK_SECTOR_BYTES };
	unsigned int n = 0;
	if (req->len > BLK_SECTOR_BYTES)
		n = blk_iov_slice(req->iov, req->niov, BLK_SECTOR_BYTES,
				  req->len - BLK_SECTOR_BYTES, g->iov + 1, req->niov);
	g->req = req;
	g->sector = sector;
	g->child = blk_child_get(r->node.ctx);
	g->child->req = (struct blk_req){ .op = BLK_WRITE,
					  .off = 0,
					  .len = req->len,
					  .iov = g->iov,
					  .niov = n + 1,
					  .done = on_guarded_done,
					  .opaque = g };
	blk_submit(r->node.file, &g->child->req);
	return;
out_fail:
	free(sector);
	blk_finish(req, err);
}

static void raw_submit(struct blk_node *n, struct blk_req *req)
{
	struct raw_node *r = container_of(n, struct raw_node, node);
	if (r->probed && req->op == BLK_WRITE && req->at == 0)
		write_guarded(r, req);
	else
		blk_pass(req, n->file, req->at);
}

static int raw_close(struct blk_node *n)
{
	blk_node_free(n); /* nothing is cached here; the file flushes itself */
	return 0;
}

static const struct blk_ops raw_ops = {
	.format = "raw",
	.submit = raw_submit,
	.close = raw_close,
};

int raw_open(struct blk_node *file, bool probed, struct blk_node **out)
{
	struct raw_node *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	int err = blk_node_init(&r->node, &raw_ops, file->ctx, file->name);
	if (err) {
		free(r);
		return err;
	}
	r->probed = probed;
	r->node.size = file->size;
	r->node.read_only = file->read_only;
	r->node.discard_granularity = file->discard_granularity;
	r->node.file = file;
	*out = &r->node;
	return 0;
}
