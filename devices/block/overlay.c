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
 */
#include "devices/block/overlay.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/node.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

enum {
	BLOCK_BITS = 12,
	BLOCK_BYTES = 1 << BLOCK_BITS,
	TABLE_BITS = 10, /* blocks of one table: 4 MiB */
	SLOT_BASE = 0,	 /* what a table entry may be; else slot + 2 */
	SLOT_ZERO = 1,
	SLOT_FIRST = 2,
	STRIPE_BYTES = 1 << 20,
	STRIPES = 64,
};

struct slots {
	uint32_t *v;
	uint32_t n, room;
};

struct overlay {
	struct blk_node node;
	uint32_t **tables;
	uint64_t n_tables;
	uint32_t next_slot;
	struct slots free;
	struct slots given_up; /* since somebody was active */
	unsigned int active;
	struct co_mutex stripes[STRIPES];
};

static struct overlay *to_overlay(const struct blk_node *n)
{
	return container_of(n, struct overlay, node);
}

/* ---- the table ---- */

static uint32_t entry(const struct overlay *o, uint64_t block)
{
	const uint32_t *t = o->tables[block >> TABLE_BITS];
	return t ? t[block & ((1u << TABLE_BITS) - 1)] : SLOT_BASE;
}

static bool push(struct slots *s, uint32_t v)
{
	if (s->n == s->room) {
		uint32_t room = s->room ? s->room * 2 : 64;
		uint32_t *more = realloc(s->v, room * sizeof(*more));
		if (!more)
			return false; /* the slot stays unused */
		s->v = more;
		s->room = room;
	}
	s->v[s->n++] = v;
	return true;
}

static int set_entry(struct overlay *o, uint64_t block, uint32_t v)
{
	uint32_t **t = &o->tables[block >> TABLE_BITS];
	if (!*t && !(*t = calloc(1u << TABLE_BITS, sizeof(**t))))
		return -ENOMEM;
	uint32_t *at = &(*t)[block & ((1u << TABLE_BITS) - 1)];
	if (*at >= SLOT_FIRST && *at != v)
		push(&o->given_up, *at);
	*at = v;
	return 0;
}

static uint32_t take_slot(struct overlay *o)
{
	if (o->free.n)
		return o->free.v[--o->free.n];
	return o->next_slot == UINT32_MAX ? SLOT_BASE : o->next_slot++;
}

static uint64_t slot_off(uint32_t v)
{
	return (uint64_t)(v - SLOT_FIRST) << BLOCK_BITS;
}

/* Bytes from @off on, at most @len, that are stored alike and in a row. -> the first block's entry. */
static uint32_t extent(const struct overlay *o, uint64_t off, uint64_t len, uint64_t *same)
{
	uint64_t block = off >> BLOCK_BITS, end = off + len;
	uint32_t first = entry(o, block), n = 1;
	while ((block + n) << BLOCK_BITS < end) {
		uint32_t e = entry(o, block + n);
		if (e != (first >= SLOT_FIRST ? first + n : first))
			break;
		n++;
	}
	*same = MIN(end, (block + n) << BLOCK_BITS) - off;
	return first;
}

/* ---- reading ---- */

static int read_part(struct overlay *o, const struct iovec *iov, unsigned int niov, uint64_t skip,
		     uint64_t off, uint64_t len)
{
	uint32_t e = entry(o, off >> BLOCK_BITS);
	if (e == SLOT_ZERO) {
		blk_iov_zero(iov, niov, skip, len);
		return 0;
	}
	struct iovec *part = malloc((niov + 1) * sizeof(*part));
	if (!part)
		return -ENOMEM;
	unsigned int n = blk_iov_slice(iov, niov, skip, len, part, niov);
	bool base = e == SLOT_BASE;
	uint64_t at = base ? off : slot_off(e) + (off & (BLOCK_BYTES - 1));
	int err = blk_co_rwv(base ? o->node.backing : o->node.file, BLK_READ, part, n, len, at, 0);
	free(part);
	return err;
}

static int co_read(struct overlay *o, uint64_t off, uint64_t len, const struct iovec *iov,
		   unsigned int niov)
{
	int err = 0;
	for (uint64_t done = 0; done < len && !err;) {
		uint64_t same;
		extent(o, off + done, len - done, &same);
		err = read_part(o, iov, niov, done, off + done, same);
		done += same;
	}
	return err;
}

/* ---- writing ---- */

/* Blocks [first, first + n) with new contents at @buf, in slots that are in a row if they can be. */
static int store_blocks(struct overlay *o, uint64_t first, uint32_t n, uint8_t *buf)
{
	int err = 0;
	for (uint32_t i = 0; i < n && !err;) {
		uint32_t slot = take_slot(o), run = 1;
		if (slot == SLOT_BASE)
			return -ENOSPC;
		while (i + run < n && !o->free.n && o->next_slot == slot + run)
			run += take_slot(o) != SLOT_BASE;
		err = blk_co_write(o->node.file, buf + (uint64_t)i * BLOCK_BYTES,
				   (size_t)run * BLOCK_BYTES, slot_off(slot));
		for (uint32_t k = 0; k < run; k++) {
			if (!err)
				err = set_entry(o, first + i + k, slot + k);
			else
				push(&o->given_up, slot + k);
		}
		i += run;
	}
	return err;
}

static int read_block(struct overlay *o, uint64_t block, uint8_t *buf)
{
	uint64_t off = block << BLOCK_BITS, len = MIN((uint64_t)BLOCK_BYTES, o->node.size - off);
	struct iovec iov = { buf, len };
	memset(buf + len, 0, BLOCK_BYTES - len);
	return co_read(o, off, len, &iov, 1);
}

/* Blocks without a slot get one. [off, off + len) lies in blocks that have none, in one stripe. */
static int write_new(struct overlay *o, uint64_t off, uint64_t len, const struct iovec *iov,
		     unsigned int niov, uint64_t skip)
{
	uint64_t first = off >> BLOCK_BITS, last = (off + len - 1) >> BLOCK_BITS;
	uint32_t n = (uint32_t)(last - first + 1);
	uint64_t head = off & (BLOCK_BYTES - 1), tail = (off + len) & (BLOCK_BYTES - 1);
	uint8_t *buf;
	if (posix_memalign((void **)&buf, BLOCK_BYTES, (size_t)n * BLOCK_BYTES))
		return -ENOMEM;
	int err = head ? read_block(o, first, buf) : 0;
	if (!err && tail && (last != first || !head))
		err = read_block(o, last, buf + (uint64_t)(n - 1) * BLOCK_BYTES);
	if (!err) {
		if (iov)
			blk_iov_read(iov, niov, skip, buf + head, len);
		else
			memset(buf + head, 0, len);
		err = store_blocks(o, first, n, buf);
	}
	free(buf);
	return err;
}

/* A part that has its slots, in a row. */
static int write_in_place(struct overlay *o, uint64_t off, uint64_t len, const struct iovec *iov,
			  unsigned int niov, uint64_t skip)
{
	uint64_t at = slot_off(entry(o, off >> BLOCK_BITS)) + (off & (BLOCK_BYTES - 1));
	if (!iov)
		return blk_co_rwv(o->node.file, BLK_WRITE_ZEROES, NULL, 0, len, at, 0);
	struct iovec *part = malloc(niov * sizeof(*part));
	if (!part)
		return -ENOMEM;
	unsigned int n = blk_iov_slice(iov, niov, skip, len, part, niov);
	int err = blk_co_rwv(o->node.file, BLK_WRITE, part, n, len, at, 0);
	free(part);
	return err;
}

static struct co_mutex *stripe_of(struct overlay *o, uint64_t off)
{
	return &o->stripes[(off / STRIPE_BYTES) % STRIPES];
}

/* Bytes from @off on whose blocks have no slot either. */
static uint64_t without_slot(const struct overlay *o, uint64_t off, uint64_t len)
{
	uint64_t block = off >> BLOCK_BITS, end = off + len;
	while (block << BLOCK_BITS < end && entry(o, block) < SLOT_FIRST)
		block++;
	return MIN(end, block << BLOCK_BITS) - off;
}

static int co_write(struct overlay *o, uint64_t off, uint64_t len, const struct iovec *iov,
		    unsigned int niov)
{
	int err = 0;
	for (uint64_t done = 0; done < len && !err;) {
		uint64_t at = off + done, part = MIN(len - done, STRIPE_BYTES - at % STRIPE_BYTES);
		struct co_mutex *stripe = stripe_of(o, at);
		co_mutex_lock(o->node.ctx->co, stripe);
		if (entry(o, at >> BLOCK_BITS) >= SLOT_FIRST) {
			co_mutex_unlock(stripe);
			extent(o, at, part, &part);
			err = write_in_place(o, at, part, iov, niov, done);
		} else {
			part = without_slot(o, at, part);
			err = write_new(o, at, part, iov, niov, done);
			co_mutex_unlock(stripe);
		}
		done += part;
	}
	return err;
}

/* Whole blocks, in one stripe. */
static int zero_blocks(struct overlay *o, uint64_t from, uint64_t to)
{
	int err = 0;
	struct co_mutex *stripe = stripe_of(o, from);
	co_mutex_lock(o->node.ctx->co, stripe);
	for (uint64_t at = from; at < to && !err; at += BLOCK_BYTES)
		err = set_entry(o, at >> BLOCK_BITS, SLOT_ZERO);
	co_mutex_unlock(stripe);
	return err;
}

/* Whole blocks become zeroes in the table; the edges are written, or left alone by a discard. */
static int co_zero(struct overlay *o, uint64_t off, uint64_t len, bool discard)
{
	uint64_t end = off + len;
	uint64_t from = MIN(align_up(off, BLOCK_BYTES), end);
	uint64_t to = end == o->node.size ? end : MAX(from, align_down(end, BLOCK_BYTES));
	int err = 0;
	if (!discard && from > off)
		err = co_write(o, off, from - off, NULL, 0);
	for (uint64_t at = from, next; at < to && !err; at = next) {
		next = MIN(to, align_down(at, STRIPE_BYTES) + STRIPE_BYTES);
		err = zero_blocks(o, at, next);
	}
	if (!err && !discard && end > to)
		err = co_write(o, to, end - to, NULL, 0);
	return err;
}

/* ---- requests ---- */

static int status(struct overlay *o, struct blk_req *req)
{
	struct blk_status *st = req->status;
	uint64_t same;
	uint32_t e = extent(o, req->off, req->len, &same);
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
	case BLK_READ: return co_read(o, req->off, req->len, req->iov, req->niov);
	case BLK_WRITE: return co_write(o, req->off, req->len, req->iov, req->niov);
	case BLK_WRITE_ZEROES: return co_zero(o, req->off, req->len, false);
	case BLK_DISCARD: return co_zero(o, req->off, req->len, true);
	case BLK_STATUS: return status(o, req);
	case BLK_FLUSH: return 0;
	}
	return -EINVAL;
}

static void request_done(struct overlay *o, struct blk_req *req, int err)
{
	if (!--o->active) {
		while (o->given_up.n && push(&o->free, o->given_up.v[o->given_up.n - 1]))
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
	uint32_t e = extent(o, req->off, req->len, &same);
	bool base = e == SLOT_BASE;
	if (same < req->len || e == SLOT_ZERO || (base && req->op == BLK_WRITE))
		return false;
	struct blk_child *c = blk_child_get(o->node.ctx);
	c->a = req;
	c->b = o;
	c->req = (struct blk_req){ .op = req->op,
				   .off = base ? req->off
					       : slot_off(e) + (req->off & (BLOCK_BYTES - 1)),
				   .len = req->len,
				   .iov = req->iov,
				   .niov = req->niov,
				   .done = on_forwarded };
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
