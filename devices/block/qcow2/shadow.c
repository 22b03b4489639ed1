/* SPDX-License-Identifier: Apache-2.0 */
/* Atomic changes of a whole image, by shadow tables and one write of the header. */
/*
 * How it works. A snapshot changes the refcount of every cluster and the COPIED flag of every L2 entry
 * at once; done in place, a crash in the middle leaves flags and refcounts that contradict each
 * other, in whatever order they are written. But the first sector of the file names both the L1
 * table and the refcount table (and the snapshot table), and one sector is written whole or not at
 * all. So nothing in use is changed in place:
 *
 *  1. The refcounts are loaded; increments, drops and new clusters are counted in memory.
 *  2. A cluster is taken only if it is free in the old state and in the new one.
 *  3. New L1, L2 and snapshot tables are written to such clusters, then a new copy of every refcount
 *     block that changed, then a new refcount table. Nothing refers to them yet.
 *  4. Flush. One write of the first sector. Flush. Only now are old tables free.
 *
 * A crash before the write of 4 leaves the old image, to the bit, with a longer file; after it the
 * new one. There is no state in between, and no leak.
 *
 * Counting is in counts.c.
 */
#include "devices/block/qcow2/shadow.h"
#include "devices/block/qcow2/refcount_bits.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/endian.h"

static uint8_t *alloc_dirty(uint64_t bytes)
{
	void *p;
	return posix_memalign(&p, Q_PAGE_BYTES_MAX, MAX(bytes, UINT64_C(512))) ? NULL : p;
}

uint8_t *q_alloc_aligned(uint64_t bytes)
{
	uint8_t *p = alloc_dirty(bytes);
	if (p)
		memset(p, 0, MAX(bytes, UINT64_C(512)));
	return p;
}

int q_co_read_cluster(struct qcow2 *q, uint64_t off, uint8_t *buf)
{
	return blk_co_read(q->node.file, buf, q->cluster_bytes, off);
}

int q_co_write_cluster(struct qcow2 *q, uint64_t off, const uint8_t *buf)
{
	return blk_co_write(q->node.file, buf, q->cluster_bytes, off);
}

int q_co_read_table(struct qcow2 *q, uint64_t off, uint64_t bytes, uint8_t **out)
{
	uint64_t whole = align_up(bytes, 512);
	*out = alloc_dirty(whole);
	if (!*out)
		return -ENOMEM;
	int err = whole ? blk_co_read(q->node.file, *out, whole, off) : 0;
	if (err) {
		free(*out);
		*out = NULL;
	}
	return err;
}

/* ---- tables ---- */

int q_co_write_table(struct q_counts *c, const void *data, uint64_t bytes, uint64_t *off)
{
	struct qcow2 *q = c->q;
	uint64_t n = div_round_up(MAX(bytes, UINT64_C(1)), q->cluster_bytes), first = 0, at = 0;
	uint8_t *buf = q_buf_get(q);
	int err = buf ? q_counts_alloc(c, n, &first) : -ENOMEM;
	if (!err)
		err = q_file_reach(q, c->end);
	for (uint64_t i = 0; i < n && !err; i++) {
		uint64_t part = MIN(bytes - at, (uint64_t)q->cluster_bytes);
		memcpy(buf, (const uint8_t *)data + at, part);
		memset(buf + part, 0, q->cluster_bytes - part);
		err = q_co_write_cluster(q, (first + i) << q->cluster_bits, buf);
		at += part;
	}
	q_buf_put(q, buf);
	if (!err)
		*off = first << q->cluster_bits;
	return err;
}

int q_co_place_cluster(struct q_counts *c, const uint8_t *buf, uint64_t *off)
{
	uint64_t cluster;
	int err = q_counts_alloc(c, 1, &cluster);
	if (!err)
		err = q_file_reach(c->q, c->end);
	*off = err ? 0 : cluster << c->q->cluster_bits;
	return err ? err : q_co_write_cluster(c->q, *off, buf);
}

/* New places for the table and for every changed block, until no new place changes another block. */
static int place_blocks(struct q_counts *c, uint64_t *rt, uint64_t *rt_clusters)
{
	struct qcow2 *q = c->q;
	/* Room for the table to describe what is allocated for it, too. */
	*rt_clusters =
		MAX((uint64_t)q->h.rt_clusters, (c->n_blocks + 2) * 8 / q->cluster_bytes + 1);
	int err = q_counts_alloc(c, *rt_clusters, rt);
	bool again = true;
	while (again && !err) {
		again = false;
		for (uint64_t i = 0; i < c->n_blocks && !err; i++) {
			if (i >= *rt_clusters * (q->cluster_bytes / 8))
				return -EFBIG;
			uint64_t old = c->blocks[i].off, cluster;
			if (!c->blocks[i].dirty || c->blocks[i].new_off)
				continue;
			err = q_counts_alloc(c, 1, &cluster);
			if (!err && old)
				err = q_counts_add(c, old >> q->cluster_bits, 1, -1);
			if (!err)
				c->blocks[i].new_off = cluster << q->cluster_bits;
			again = true;
		}
	}
	return err;
}

static int write_block(struct q_counts *c, const struct q_count_block *b, uint8_t *buf)
{
	struct qcow2 *q = c->q;
	memset(buf, 0, q->cluster_bytes);
	for (uint32_t k = 0; k < b->used; k++)
		q_rb_set(buf, k, q->h.refcount_order, q_counts_in_block(b, k));
	return q_co_write_cluster(q, b->new_off, buf);
}

/* The cluster of the refcount table that has the blocks from @first on. */
static void fill_table(const struct q_counts *c, uint64_t first, uint8_t *buf)
{
	memset(buf, 0, c->q->cluster_bytes);
	for (uint64_t i = first; i < c->n_blocks && i < first + c->q->cluster_bytes / 8; i++) {
		const struct q_count_block *b = &c->blocks[i];
		put_be64(buf + (i - first) * 8, b->new_off ? b->new_off : b->off);
	}
}

static int write_blocks(struct q_counts *c, uint64_t rt, uint64_t rt_clusters)
{
	struct qcow2 *q = c->q;
	uint8_t *buf = q_buf_get(q);
	int err = buf ? q_file_reach(q, c->end) : -ENOMEM;
	for (uint64_t i = 0; i < c->n_blocks && !err; i++)
		if (c->blocks[i].new_off)
			err = write_block(c, &c->blocks[i], buf);
	for (uint64_t i = 0; i < rt_clusters && !err; i++) {
		fill_table(c, i * (q->cluster_bytes / 8), buf);
		err = q_co_write_cluster(q, (rt + i) << q->cluster_bits, buf);
	}
	q_buf_put(q, buf);
	return err;
}

/* ---- the switch ---- */

/* The node goes on with the tables of q->h. */
static int take_over(struct q_counts *c)
{
	struct qcow2 *q = c->q;
	q_cache_drop(q);
	q->cursor = 0;
	q->alloc_end = MAX(q->alloc_end, c->end);
	q->node.size = q->h.size;
	q_inflated_forget(q, q->inflated ? 1 : 0);
	q_compress_free(q);
	q->inflated = NULL;
	q->packer = NULL;
	return q_note_tables(q);
}

int q_co_switch(struct q_counts *c, const struct qcow2_header *h)
{
	struct qcow2 *q = c->q;
	struct qcow2_header next = *h;
	uint64_t rt, rt_clusters;
	int err = q_counts_add(c, q->h.rt_off >> q->cluster_bits, q->h.rt_clusters, -1);
	if (!err)
		err = place_blocks(c, &rt, &rt_clusters);
	if (!err)
		err = write_blocks(c, rt, rt_clusters);
	if (!err)
		err = blk_co_flush(q->node.file);
	if (err)
		return err;
	next.rt_off = rt << q->cluster_bits;
	next.rt_clusters = (uint32_t)rt_clusters;
	uint8_t head[sizeof(q->head)];
	memcpy(head, q->head, sizeof(head));
	qcow2_header_put_tables(&next, head);
	err = q_co_update_header(q, 0, head, sizeof(head));
	if (err) { /* which of the two states the file is in, nobody knows */
		log_error("%s: its header could not be written: it is not written to any more",
			  q->node.name);
		q->corrupt = true;
		return err;
	}
	q->h = next;
	return take_over(c);
}
