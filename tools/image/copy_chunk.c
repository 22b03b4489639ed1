/* SPDX-License-Identifier: Apache-2.0 */
/* One chunk of a copy: read, looked at, written. */
/*
 * How it works. The chunk is read from the source (and, where only differences count, from the image
 * that it is compared with). Then it is cut into runs of units that meet the same fate: left
 * out, written as zeroes, written. Runs are written one after the other; other chunks are under
 * way meanwhile.
 */
#include "tools/image/copy_int.h"

#include <string.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/zero.h"

enum fate { FATE_LEAVE, FATE_ZERO, FATE_WRITE };

static void chunk_done(struct copy_slot *s)
{
	struct copier *c = s->c;
	s->busy = false;
	c->n_busy--;
	copy_count(c, s->len);
	copy_step(c);
}

static uint64_t unit_bytes(const struct copy_slot *s, uint64_t at)
{
	return MIN(s->c->unit, s->len - at);
}

static enum fate fate_of(const struct copy_slot *s, uint64_t at)
{
	const struct image_copy *w = &s->c->what;
	uint64_t bytes = unit_bytes(s, at);
	if (s->than && !memcmp(s->buf + at, s->than + at, bytes))
		return FATE_LEAVE;
	if (w->dense || !mem_is_zero(s->buf + at, bytes))
		return FATE_WRITE;
	return w->fresh && !s->than ? FATE_LEAVE : FATE_ZERO;
}

static void on_written(struct blk_req *req, int err);

static void write_run(struct copy_slot *s, enum fate fate)
{
	bool data = fate == FATE_WRITE;
	uint32_t flags = s->c->what.compress ? BLK_REQ_COMPRESS : 0;
	s->iov = (struct iovec){ s->buf + s->at, s->next - s->at };
	s->req = (struct blk_req){ .op = data ? BLK_WRITE : BLK_WRITE_ZEROES,
				   .flags = data ? flags : BLK_REQ_UNMAP,
				   .off = s->off + s->at,
				   .len = s->next - s->at,
				   .iov = data ? &s->iov : NULL,
				   .niov = data,
				   .done = on_written,
				   .opaque = s };
	blk_submit(s->c->what.to, &s->req);
}

static void write_next(struct copy_slot *s)
{
	enum fate fate = FATE_LEAVE;
	while (s->at < s->len && (fate = fate_of(s, s->at)) == FATE_LEAVE)
		s->at += unit_bytes(s, s->at);
	if (s->at == s->len || s->c->err) {
		chunk_done(s);
		return;
	}
	s->next = s->at;
	do
		s->next += unit_bytes(s, s->next);
	while (s->next < s->len && fate_of(s, s->next) == fate);
	write_run(s, fate);
}

static void on_written(struct blk_req *req, int err)
{
	struct copy_slot *s = req->opaque;
	if (err)
		copy_fail(s->c, s->c->what.to, "written", req->off, err);
	s->at = s->next;
	write_next(s);
}

static void on_than_read(struct blk_req *req, int err)
{
	struct copy_slot *s = req->opaque;
	if (err)
		copy_fail(s->c, s->c->what.than, "read", req->off, err);
	write_next(s);
}

/* What is compared with may be shorter: it reads as zeroes behind its end. */
static void read_than(struct copy_slot *s)
{
	struct blk_node *n = s->c->what.than;
	uint64_t size = blk_size(n), len = s->off < size ? MIN(s->len, size - s->off) : 0;
	memset(s->than + len, 0, s->len - len);
	if (!len) {
		write_next(s);
		return;
	}
	s->iov = (struct iovec){ s->than, len };
	s->req = (struct blk_req){ .op = BLK_READ,
				   .off = s->off,
				   .len = len,
				   .iov = &s->iov,
				   .niov = 1,
				   .done = on_than_read,
				   .opaque = s };
	blk_submit(n, &s->req);
}

static void on_read(struct blk_req *req, int err)
{
	struct copy_slot *s = req->opaque;
	if (err)
		copy_fail(s->c, s->c->what.from, "read", req->off, err);
	if (s->than && !err)
		read_than(s);
	else
		write_next(s);
}

void copy_start_chunk(struct copy_slot *s)
{
	struct copier *c = s->c;
	s->busy = true;
	c->n_busy++;
	s->off = c->scan_off;
	s->len = MIN(c->extent_end - s->off, c->chunk);
	s->at = 0;
	c->scan_off += s->len;
	s->iov = (struct iovec){ s->buf, s->len };
	s->req = (struct blk_req){ .op = BLK_READ,
				   .off = s->off,
				   .len = s->len,
				   .iov = &s->iov,
				   .niov = 1,
				   .done = on_read,
				   .opaque = s };
	blk_submit(c->what.from, &s->req);
}
