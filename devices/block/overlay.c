/* SPDX-License-Identifier: Apache-2.0 */
/* The throw-away overlay node. */
/*
 * How it works. The disk is cut into blocks of 4 KiB. A two-level table in memory says for each block:
 * the base's, zeroes, or a slot of the file; tables are made when something in their 4 MiB is first
 * written. The file is one array of slots, unlinked from the start. Nothing is persistent, so a flush
 * has nothing to do, and a crash leaves nothing behind.
 *
 * Reads whose blocks are all alike and in a row are passed on without a coroutine. A write takes slots
 * for the blocks that have none, fills the edges of a block it covers in part from what was there,
 * and points the table at a slot only when the data is in it. That is done under the lock of the
 * MiB it is in, so two writes that share a block do not lose each other's half; what has its slot
 * already is written in place without a lock.
 *
 * A slot that is given up may still be the target of I/O in flight, so it is reused only after a
 * moment in which no request was active.
 *
 * Requests and the node's life are here, the table and what is behind it in overlay_data.c.
 */
#include "devices/block/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/overlay_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

static struct overlay *to_overlay(const struct blk_node *n)
{
	return container_of(n, struct overlay, node);
}

/* ---- requests ---- */

static int status(struct overlay *o, struct blk_req *req)
{
	struct blk_status *st = req->status;
	uint64_t same;
	uint32_t e = overlay_extent(o, req->off, req->len, &same);
	if (e == SLOT_BASE) {
		int err = blk_co_status(o->node.backing, req->off, same, st);
		st->flags &= ~(uint32_t)BLK_STATUS_ALLOCATED;
		st->depth++;
		return err;
	}
	*st = (struct blk_status){ .len = same,
				   .flags = BLK_STATUS_ALLOCATED |
					    (e == SLOT_ZERO ? BLK_STATUS_ZERO : BLK_STATUS_DATA) };
	return 0;
}

static int serve(struct overlay *o, struct blk_req *req)
{
	switch (req->op) {
	case BLK_READ: return overlay_co_read(o, req->off, req->len, req->iov, req->niov);
	case BLK_WRITE: return overlay_co_write(o, req->off, req->len, req->iov, req->niov);
	case BLK_WRITE_ZEROES: return overlay_co_zero(o, req->off, req->len, false);
	case BLK_DISCARD: return overlay_co_zero(o, req->off, req->len, true);
	case BLK_STATUS: return status(o, req);
	case BLK_FLUSH: return 0;
	}
	return -EINVAL;
}

static void request_done(struct overlay *o, struct blk_req *req, int err)
{
	if (!--o->active) {
		while (o->given_up.n && overlay_push(&o->free, o->given_up.v[o->given_up.n - 1]))
			o->given_up.n--;
	}
	blk_finish(req, err);
}

static void co_request(void *arg)
{
	struct blk_req *req = arg;
	struct overlay *o = to_overlay(req->node);
	request_done(o, req, serve(o, req));
}

static void on_forwarded(struct blk_req *child, int err)
{
	struct blk_child *c = container_of(child, struct blk_child, req);
	struct overlay *o = c->b;
	struct blk_req *req = c->a;
	blk_child_put(o->node.ctx, c);
	request_done(o, req, err);
}

/* A request all of whose blocks are in one place. -> whether it was passed on. */
static bool forward(struct overlay *o, struct blk_req *req)
{
	if (req->op != BLK_READ && req->op != BLK_WRITE)
		return false;
	uint64_t same;
	uint32_t e = overlay_extent(o, req->off, req->len, &same);
	bool base = e == SLOT_BASE;
	if (same < req->len || e == SLOT_ZERO || (base && req->op == BLK_WRITE))
		return false;
	struct blk_child *c = blk_child_get(o->node.ctx);
	c->a = req;
	c->b = o;
	c->req = (struct blk_req){
		.op = req->op,
		.off = base ? req->off : overlay_slot_off(e) + (req->off & (BLOCK_BYTES - 1)),
		.len = req->len,
		.iov = req->iov,
		.niov = req->niov,
		.done = on_forwarded
	};
	blk_submit(base ? o->node.backing : o->node.file, &c->req);
	return true;
}

static void overlay_submit(struct blk_node *n, struct blk_req *req)
{
	struct overlay *o = to_overlay(n);
	o->active++;
	if (forward(o, req))
		return;
	int err = co_spawn(n->ctx->co, co_request, req);
	if (err)
		request_done(o, req, err);
}

/* ---- life ---- */

static int overlay_close(struct blk_node *n)
{
	struct overlay *o = to_overlay(n);
	for (uint64_t i = 0; i < o->n_tables; i++)
		free(o->tables[i]);
	free(o->tables);
	free(o->free.v);
	free(o->given_up.v);
	blk_node_free(n);
	return 0;
}

static const struct blk_ops overlay_ops = {
	.format = "overlay",
	.submit = overlay_submit,
	.close = overlay_close,
};

/* The file without a name, as a node. */
static int open_store(struct blk_node *base, const char *dir, struct blk_node **out)
{
	if (!dir)
		dir = getenv("TMPDIR");
	if (!dir)
		dir = "/var/tmp";
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		int err = -errno;
		log_error("%s: no temporary file for an overlay can be made there: %s; set TMPDIR",
			  dir, strerror(-err));
		return err;
	}
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int err = file_open(base->ctx, path, BLK_OPEN_RDWR | BLK_OPEN_NO_LOCK, true, out);
	close(fd);
	return err;
}

int blk_overlay(struct blk_node *base, const char *dir, struct blk_node **out)
{
	struct overlay *o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->n_tables = div_round_up(base->size, (uint64_t)BLOCK_BYTES << TABLE_BITS);
	o->tables = calloc(o->n_tables + 1, sizeof(*o->tables));
	o->next_slot = SLOT_FIRST;
	for (int i = 0; i < STRIPES; i++)
		co_mutex_init(&o->stripes[i]);
	int err = o->tables ? open_store(base, dir, &o->node.file) : -ENOMEM;
	if (err)
		goto out_free;
	err = blk_node_init(&o->node, &overlay_ops, base->ctx, base->name);
	if (err) {
		blk_close(o->node.file);
		goto out_free;
	}
	o->node.size = base->size;
	o->node.discard_granularity = BLOCK_BYTES;
	o->node.backing = base;
	*out = &o->node;
	return 0;
out_free:
	free(o->tables);
	free(o);
	return err;
}
