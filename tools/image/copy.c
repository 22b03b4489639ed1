/* SPDX-License-Identifier: Apache-2.0 */
/* Copying the contents of one image into another. */
/*
 * How it works. A scanner asks the source what is stored where (BLK_STATUS), one extent after the other; holes
 * are stepped over, however long they are. Extents with data are cut into chunks for a ring of
 * slots. A slot reads its chunk, looks for zeroes in it, writes what is none, and is
 * free for the next chunk; slots know nothing of each other, so reads and writes (and, on worker
 * threads, compression) overlap. Memory is the ring, whatever the size of the image.
 *
 * Extents begin and end at clusters of the target: every cluster is written once and whole, as
 * compression needs it.
 *
 * After an error or a signal no more is started; the copy ends when nothing is in flight.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tools/image/common.h"
#include "tools/image/copy_int.h"
#include "tools/image/output.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

enum {
	RAW_UNIT_BYTES = 4096,
	/* In a target with contents zeroes are worth a request of their own from here on. */
	ZERO_RUN_BYTES = 64 << 10,
	COMPRESS_CHUNK_BYTES = 256 << 10, /* small: threads finish together */
};

void copy_fail(struct copier *c, const struct blk_node *n, const char *what, uint64_t off, int err)
{
	if (!c->err)
		log_error("%s: cannot be %s at 0x%llx: %s", blk_name(n), what,
			  (unsigned long long)off, strerror(-err));
	c->err = c->err ? c->err : err;
}

void copy_count(struct copier *c, uint64_t bytes)
{
	c->copied += bytes;
	if (c->what.progress)
		image_progress(c->what.progress, c->copied);
}

/* ---- the scanner ---- */

static void on_zeroed(struct blk_req *req, int err)
{
	struct copier *c = req->opaque;
	c->scanning = false;
	if (err)
		copy_fail(c, c->what.to, "written", req->off, err);
	c->scan_off += req->len;
	copy_count(c, req->len);
	copy_step(c);
}

/* [scan_off, @end) reads as zeroes, and the target must, too. */
static void write_zeroes(struct copier *c, uint64_t end)
{
	c->scan = (struct blk_req){ .op = BLK_WRITE_ZEROES,
				    .flags = BLK_REQ_UNMAP,
				    .off = c->scan_off,
				    .len = end - c->scan_off,
				    .done = on_zeroed,
				    .opaque = c };
	blk_submit(c->what.to, &c->scan);
}

/* Whether the source's extent is none of those that are copied. */
static bool is_left_out(const struct copier *c)
{
	bool allocated = c->status.flags & BLK_STATUS_ALLOCATED;
	return (c->what.which == COPY_ALLOCATED && !allocated) ||
	       (c->what.which == COPY_UNALLOCATED && allocated);
}

static void take_extent(struct copier *c, uint64_t end, bool pass, bool zero)
{
	uint64_t last = end == c->size ? end : align_down(end, c->align);
	if (pass && last > c->scan_off && zero) {
		write_zeroes(c, last);
		return;
	}
	c->scanning = false;
	if (pass && last > c->scan_off) {
		copy_count(c, last - c->scan_off);
		c->scan_off = last;
	} else {
		if (pass)
			end = c->scan_off + 1; /* not a whole cluster: with what follows, data */
		c->extent_end = MIN(align_up(end, c->align), c->size);
	}
	copy_step(c);
}

static void on_than_status(struct blk_req *req, int err)
{
	struct copier *c = req->opaque;
	if (err) {
		copy_fail(c, c->what.than, "read", req->off, err);
		c->scanning = false;
		copy_step(c);
		return;
	}
	take_extent(c, c->scan_off + c->than.len, c->than.flags & BLK_STATUS_ZERO, false);
}

/* Zeroes in the source: what differs from them in the other one? */
static void scan_than(struct copier *c)
{
	uint64_t size = blk_size(c->what.than), end = c->scan_off + c->status.len;
	if (c->scan_off >= size) {
		take_extent(c, end, true, false);
		return;
	}
	c->scan = (struct blk_req){ .op = BLK_STATUS,
				    .off = c->scan_off,
				    .len = MIN(end, size) - c->scan_off,
				    .status = &c->than,
				    .done = on_than_status,
				    .opaque = c };
	blk_submit(c->what.than, &c->scan);
}

static void on_status(struct blk_req *req, int err)
{
	struct copier *c = req->opaque;
	if (err) {
		copy_fail(c, c->what.from, "read", req->off, err);
		c->scanning = false;
		copy_step(c);
		return;
	}
	uint64_t end = c->scan_off + c->status.len;
	bool zero = (c->status.flags & BLK_STATUS_ZERO) && !c->what.dense;
	if (is_left_out(c))
		take_extent(c, end, true, false);
	else if (zero && c->what.than)
		scan_than(c);
	else
		take_extent(c, end, zero, !c->what.fresh);
}

static void start_scan(struct copier *c)
{
	c->scanning = true;
	c->scan = (struct blk_req){ .op = BLK_STATUS,
				    .off = c->scan_off,
				    .len = c->size - c->scan_off,
				    .status = &c->status,
				    .done = on_status,
				    .opaque = c };
	blk_submit(c->what.from, &c->scan);
}

/* ---- the whole ---- */

static struct copy_slot *free_slot(struct copier *c)
{
	for (unsigned int i = 0; i < c->n_slots; i++)
		if (!c->slots[i].busy)
			return &c->slots[i];
	return NULL;
}

void copy_step(struct copier *c)
{
	if (!c->err && output_interrupted())
		c->err = -EINTR;
	struct copy_slot *s;
	while (!c->err && !c->scanning && c->scan_off < c->size) {
		if (c->scan_off >= c->extent_end)
			start_scan(c);
		else if ((s = free_slot(c)))
			copy_start_chunk(s);
		else
			break;
	}
	if (!c->n_busy && !c->scanning && (c->err || c->scan_off == c->size))
		c->done = true;
}

static void set_sizes(struct copier *c)
{
	const struct image_copy *w = &c->what;
	uint64_t unit = w->sparse_bytes ? w->sparse_bytes : RAW_UNIT_BYTES;
	c->size = blk_size(w->from);
	c->align = w->cluster_bytes ? w->cluster_bytes : BLK_SECTOR_BYTES;
	if (!w->fresh && !w->than)
		unit = MAX(unit, (uint64_t)ZERO_RUN_BYTES);
	for (c->unit = c->align; c->unit < unit;)
		c->unit *= 2;
	c->chunk = align_up(w->compress ? COMPRESS_CHUNK_BYTES : IMAGE_CHUNK_BYTES, c->unit);
	unsigned int slots = w->compress ? 2 * w->threads : 0;
	slots = MAX(slots, (unsigned int)COPY_SLOTS_MIN);
	c->n_slots = MIN(slots, (unsigned int)COPY_SLOTS_MAX);
}

static int make_slots(struct copier *c)
{
	for (unsigned int i = 0; i < c->n_slots; i++) {
		struct copy_slot *s = &c->slots[i];
		s->c = c;
		s->buf = image_buffer(c->chunk);
		s->than = c->what.than ? image_buffer(c->chunk) : NULL;
		if (!s->buf || (c->what.than && !s->than))
			return -ENOMEM;
	}
	return 0;
}

int image_copy(struct loop *l, const struct image_copy *what)
{
	struct copier *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->what = *what;
	set_sizes(c);
	if (what->compress && what->threads)
		blk_set_workers(what->to, what->threads);
	c->err = make_slots(c);
	copy_step(c);
	int err = loop_run_until(l, &c->done);
	err = err ? err : c->err;
	for (unsigned int i = 0; i < c->n_slots; i++) {
		free(c->slots[i].buf);
		free(c->slots[i].than);
	}
	free(c);
	return err;
}
