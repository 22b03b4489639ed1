/* SPDX-License-Identifier: Apache-2.0 */
/* The throw-away overlay's table, and what is read, written and given up through it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/overlay_int.h"
#include "vmm/base/checked.h"

/* ---- the table ---- */

static uint32_t entry(const struct overlay *o, uint64_t block)
{
	const uint32_t *t = o->tables[block >> TABLE_BITS];
	return t ? t[block & ((1u << TABLE_BITS) - 1)] : SLOT_BASE;
}

bool overlay_push(struct slots *s, uint32_t v)
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
		overlay_push(&o->given_up, *at);
	*at = v;
	return 0;
}

static uint32_t take_slot(struct overlay *o)
{
	if (o->free.n)
		return o->free.v[--o->free.n];
	return o->next_slot == UINT32_MAX ? SLOT_BASE : o->next_slot++;
}

uint64_t overlay_slot_off(uint32_t v)
{
	return (uint64_t)(v - SLOT_FIRST) << BLOCK_BITS;
}

/* Bytes from @off on, at most @len, that are stored alike and in a row. -> the first block's entry. */
uint32_t overlay_extent(const struct overlay *o, uint64_t off, uint64_t len, uint64_t *same)
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
	uint64_t at = base ? off : overlay_slot_off(e) + (off & (BLOCK_BYTES - 1));
	int err = blk_co_rwv(base ? o->node.backing : o->node.file, BLK_READ, part, n, len, at, 0);
	free(part);
	return err;
}

int overlay_co_read(struct overlay *o, uint64_t off, uint64_t len, const struct iovec *iov,
		    unsigned int niov)
{
	int err = 0;
	for (uint64_t done = 0; done < len && !err;) {
		uint64_t same;
		overlay_extent(o, off + done, len - done, &same);
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
				   (size_t)run * BLOCK_BYTES, overlay_slot_off(slot));
		for (uint32_t k = 0; k < run; k++) {
			if (!err)
				err = set_entry(o, first + i + k, slot + k);
			else
				overlay_push(&o->given_up, slot + k);
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
	return overlay_co_read(o, off, len, &iov, 1);
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
	uint64_t at = overlay_slot_off(entry(o, off >> BLOCK_BITS)) + (off & (BLOCK_BYTES - 1));
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

int overlay_co_write(struct overlay *o, uint64_t off, uint64_t len, const struct iovec *iov,
		     unsigned int niov)
{
	int err = 0;
	for (uint64_t done = 0; done < len && !err;) {
		uint64_t at = off + done, part = MIN(len - done, STRIPE_BYTES - at % STRIPE_BYTES);
		struct co_mutex *stripe = stripe_of(o, at);
		co_mutex_lock(o->node.ctx->co, stripe);
		if (entry(o, at >> BLOCK_BITS) >= SLOT_FIRST) {
			co_mutex_unlock(stripe);
			overlay_extent(o, at, part, &part);
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
int overlay_co_zero(struct overlay *o, uint64_t off, uint64_t len, bool discard)
{
	uint64_t end = off + len;
	uint64_t from = MIN(align_up(off, BLOCK_BYTES), end);
	uint64_t to = end == o->node.size ? end : MAX(from, align_down(end, BLOCK_BYTES));
	int err = 0;
	if (!discard && from > off)
		err = overlay_co_write(o, off, from - off, NULL, 0);
	for (uint64_t at = from, next; at < to && !err; at = next) {
		next = MIN(to, align_down(at, STRIPE_BYTES) + STRIPE_BYTES);
		err = zero_blocks(o, at, next);
	}
	if (!err && !discard && end > to)
		err = overlay_co_write(o, to, end - to, NULL, 0);
	return err;
}
