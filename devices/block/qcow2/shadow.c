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
 * Memory: four bytes for each cluster of the file in blocks that exist, 256 MiB at the most.
 */
#include "devices/block/qcow2/shadow.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/endian.h"

enum { COUNT_WAS_USED = 1u << 31 };
#define COUNTS_BYTES_MAX (256 * MIB)

uint8_t *q_alloc_aligned(uint64_t bytes)
{
	void *p;
	if (posix_memalign(&p, Q_PAGE_BYTES_MAX, MAX(bytes, UINT64_C(512))))
		return NULL;
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
	*out = q_alloc_aligned(whole);
	if (!*out)
		return -ENOMEM;
	int err = whole ? blk_co_read(q->node.file, *out, whole, off) : 0;
	if (err) {
		free(*out);
		*out = NULL;
	}
	return err;
}

/* ---- counts ---- */

static uint64_t chunk_entries(const struct q_counts *c)
{
	return UINT64_C(1) << c->q->rb_bits;
}

static int grow_chunks(struct q_counts *c, uint64_t n)
{
	if (n <= c->n_chunks)
		return 0;
	if (n > QCOW2_RT_BYTES_MAX / 8)
		return -EFBIG;
	uint32_t **chunks = realloc(c->chunks, n * sizeof(*chunks));
	if (chunks)
		c->chunks = chunks;
	uint8_t *dirty = realloc(c->dirty, n);
	if (dirty)
		c->dirty = dirty;
	uint64_t *rb_off = realloc(c->rb_off, n * sizeof(*rb_off));
	if (rb_off)
		c->rb_off = rb_off;
	if (!chunks || !dirty || !rb_off)
		return -ENOMEM;
	for (uint64_t i = c->n_chunks; i < n; i++) {
		c->chunks[i] = NULL;
		c->dirty[i] = 0;
		c->rb_off[i] = 0;
	}
	c->n_chunks = n;
	return 0;
}

static int make_chunk(struct q_counts *c, uint64_t i)
{
	uint64_t bytes = chunk_entries(c) * sizeof(uint32_t);
	int err = grow_chunks(c, i + 1);
	if (err || c->chunks[i])
		return err;
	if (c->bytes + bytes > COUNTS_BYTES_MAX)
		return -EFBIG;
	c->chunks[i] = calloc(1, bytes);
	if (!c->chunks[i])
		return -ENOMEM;
	c->bytes += bytes;
	return 0;
}

/* The count of @cluster, with memory for it. */
static int count_at(struct q_counts *c, uint64_t cluster, uint32_t **at)
{
	uint64_t i = cluster >> c->q->rb_bits;
	int err = i < c->n_chunks && c->chunks[i] ? 0 : make_chunk(c, i);
	if (!err)
		*at = &c->chunks[i][cluster & (chunk_entries(c) - 1)];
	return err;
}

static int set_at(struct q_counts *c, uint64_t cluster, uint32_t *at, uint64_t value)
{
	if (value > c->max)
		return -EOVERFLOW;
	if ((*at & ~COUNT_WAS_USED) != value)
		c->dirty[cluster >> c->q->rb_bits] = 1;
	*at = (*at & COUNT_WAS_USED) | (uint32_t)value;
	return 0;
}

uint64_t q_counts_get(const struct q_counts *c, uint64_t cluster)
{
	uint64_t i = cluster >> c->q->rb_bits;
	if (i >= c->n_chunks || !c->chunks[i])
		return 0;
	return c->chunks[i][cluster & (chunk_entries(c) - 1)] & ~COUNT_WAS_USED;
}

int q_counts_set(struct q_counts *c, uint64_t cluster, uint64_t value)
{
	uint32_t *at;
	int err = count_at(c, cluster, &at);
	return err ? err : set_at(c, cluster, at, value);
}

int q_counts_add(struct q_counts *c, uint64_t cluster, uint64_t n, int delta)
{
	int err = 0;
	for (uint64_t i = 0; i < n && !err; i++) {
		uint32_t *at;
		err = count_at(c, cluster + i, &at);
		if (err)
			break;
		uint64_t v = *at & ~COUNT_WAS_USED;
		if (delta < 0 && !v)
			return q_corrupt(c->q, "a cluster in use had no refcount, cluster",
					 cluster + i);
		err = set_at(c, cluster + i, at, delta > 0 ? v + 1 : v - 1);
	}
	return err;
}

int q_counts_entry(struct q_counts *c, uint64_t entry, int delta)
{
	struct qcow2 *q = c->q;
	if (entry & Q_COMPRESSED) {
		uint64_t off, len;
		q_compressed_range(q, entry, &off, &len);
		uint64_t first = off >> q->cluster_bits;
		return q_counts_add(c, first, ((off + len - 1) >> q->cluster_bits) - first + 1,
				    delta);
	}
	uint64_t host = entry & Q_OFF_MASK;
	return host && !q->data_file ? q_counts_add(c, host >> q->cluster_bits, 1, delta) : 0;
}

void q_counts_keep(struct q_counts *c)
{
	for (uint64_t i = 0; i < c->n_chunks; i++)
		for (uint64_t k = 0; k < chunk_entries(c) && c->chunks[i]; k++)
			if (c->chunks[i][k])
				c->chunks[i][k] |= COUNT_WAS_USED;
}

void q_counts_compare(const struct q_counts *a, const struct q_counts *b,
		      void (*differs)(void *opaque, uint64_t cluster, uint64_t a, uint64_t b),
		      void *opaque)
{
	uint64_t entries = chunk_entries(a), n = MAX(a->n_chunks, b->n_chunks);
	for (uint64_t i = 0; i < n; i++) {
		const uint32_t *x = i < a->n_chunks ? a->chunks[i] : NULL;
		const uint32_t *y = i < b->n_chunks ? b->chunks[i] : NULL;
		if (x == y || (x && y && memcmp(x, y, entries * sizeof(*x)) == 0))
			continue; /* as good as always */
		for (uint64_t k = i * entries; k < (i + 1) * entries; k++)
			if (q_counts_get(a, k) != q_counts_get(b, k))
				differs(opaque, k, q_counts_get(a, k), q_counts_get(b, k));
	}
}

/* Free in both states. */
static bool is_free(const struct q_counts *c, uint64_t cluster)
{
	uint64_t i = cluster >> c->q->rb_bits;
	return i >= c->n_chunks || !c->chunks[i] || !c->chunks[i][cluster & (chunk_entries(c) - 1)];
}

int q_counts_alloc(struct q_counts *c, uint64_t n, uint64_t *cluster)
{
	uint64_t first = c->cursor, run = 0;
	while (run < n) {
		if (is_free(c, first + run) && first + run) {
			run++;
			continue;
		}
		first += run + 1;
		run = 0;
	}
	int err = q_counts_add(c, first, n, 1);
	if (err)
		return err;
	if (n == 1)
		c->cursor = first + 1;
	c->end = MAX(c->end, first + n);
	*cluster = first;
	return 0;
}

static int load_block(struct q_counts *c, uint64_t i, uint8_t *buf)
{
	struct qcow2 *q = c->q;
	int err = q_co_read_cluster(q, c->rb_off[i], buf);
	for (uint64_t k = 0; k < chunk_entries(c) && !err; k++) {
		uint64_t v = q_rb_get(buf, k, q->h.refcount_order);
		uint32_t *at;
		if (!v)
			continue;
		if (v >= COUNT_WAS_USED)
			return q_corrupt(q, "absurd refcount of cluster", (i << q->rb_bits) + k);
		err = count_at(c, (i << q->rb_bits) + k, &at);
		if (!err)
			*at = (uint32_t)v | COUNT_WAS_USED;
	}
	return err;
}

int q_co_counts_load(struct qcow2 *q, struct q_counts *c, bool empty)
{
	*c = (struct q_counts){ .q = q,
				.max = MIN(q_refcount_max(q), (uint64_t)COUNT_WAS_USED - 1) };
	c->end = div_round_up(q->node.file->size, q->cluster_bytes);
	if (empty)
		return 0;
	uint64_t n = (uint64_t)q->h.rt_clusters << (q->cluster_bits - 3);
	uint8_t *rt, *buf = q_buf_get(q);
	int err = buf ? q_co_read_table(q, q->h.rt_off, n * 8, &rt) : -ENOMEM;
	if (err) {
		q_buf_put(q, buf);
		return err;
	}
	while (n && !get_be64(rt + (n - 1) * 8))
		n--;
	err = grow_chunks(c, n);
	for (uint64_t i = 0; i < n && !err; i++) {
		uint64_t off = get_be64(rt + i * 8);
		if (!off)
			continue;
		if ((off & (q->cluster_bytes - 1)) || off >= q->node.file->size) {
			err = q_corrupt(q, "bad refcount table entry", off);
			break;
		}
		c->rb_off[i] = off;
		err = load_block(c, i, buf);
	}
	q_buf_put(q, buf);
	free(rt);
	return err;
}

void q_counts_free(struct q_counts *c)
{
	for (uint64_t i = 0; i < c->n_chunks; i++)
		free(c->chunks[i]);
	free(c->chunks);
	free(c->dirty);
	free(c->rb_off);
	*c = (struct q_counts){ 0 };
}

/* ---- tables ---- */

/* The file reaches to the end of what was allocated. */
static int reach_end(struct q_counts *c)
{
	struct qcow2 *q = c->q;
	uint64_t need = c->end << q->cluster_bits;
	return need > q->node.file->size ? blk_truncate(q->node.file, need) : 0;
}

int q_co_write_table(struct q_counts *c, const void *data, uint64_t bytes, uint64_t *off)
{
	struct qcow2 *q = c->q;
	uint64_t whole = align_up(MAX(bytes, UINT64_C(1)), q->cluster_bytes), cluster;
	uint8_t *buf = q_alloc_aligned(whole);
	if (!buf)
		return -ENOMEM;
	memcpy(buf, data, bytes);
	int err = q_counts_alloc(c, whole >> q->cluster_bits, &cluster);
	if (!err)
		err = reach_end(c);
	if (!err)
		err = blk_co_write(q->node.file, buf, whole, cluster << q->cluster_bits);
	free(buf);
	if (!err)
		*off = cluster << q->cluster_bits;
	return err;
}

int q_co_place_cluster(struct q_counts *c, const uint8_t *buf, uint64_t *off)
{
	uint64_t cluster;
	int err = q_counts_alloc(c, 1, &cluster);
	if (!err)
		err = reach_end(c);
	*off = err ? 0 : cluster << c->q->cluster_bits;
	return err ? err : q_co_write_cluster(c->q, *off, buf);
}

/* New places for the table and for every changed block, until no new place changes another block. */
static int place_blocks(struct q_counts *c, uint64_t **new_off, uint64_t *rt, uint64_t *rt_clusters)
{
	struct qcow2 *q = c->q;
	/* Room for the table to describe what is allocated for it, too. */
	*rt_clusters =
		MAX((uint64_t)q->h.rt_clusters, (c->n_chunks + 2) * 8 / q->cluster_bytes + 1);
	int err = q_counts_alloc(c, *rt_clusters, rt);
	uint64_t room = *rt_clusters * (q->cluster_bytes / 8);
	*new_off = calloc(room, sizeof(uint64_t));
	if (!*new_off)
		return -ENOMEM;
	bool again = true;
	while (again && !err) {
		again = false;
		for (uint64_t i = 0; i < c->n_chunks && !err; i++) {
			if (i >= room)
				return -EFBIG;
			if (!c->dirty[i] || (*new_off)[i])
				continue;
			uint64_t cluster;
			err = q_counts_alloc(c, 1, &cluster);
			if (!err && c->rb_off[i])
				err = q_counts_add(c, c->rb_off[i] >> q->cluster_bits, 1, -1);
			if (!err)
				(*new_off)[i] = cluster << q->cluster_bits;
			again = true;
		}
	}
	return err;
}

static int write_block(struct q_counts *c, uint64_t i, uint64_t off, uint8_t *buf)
{
	struct qcow2 *q = c->q;
	memset(buf, 0, q->cluster_bytes);
	for (uint64_t k = 0; k < chunk_entries(c) && c->chunks[i]; k++)
		q_rb_set(buf, k, q->h.refcount_order, c->chunks[i][k] & ~COUNT_WAS_USED);
	return q_co_write_cluster(q, off, buf);
}

static int write_blocks(struct q_counts *c, const uint64_t *new_off, uint64_t rt,
			uint64_t rt_clusters)
{
	struct qcow2 *q = c->q;
	uint8_t *table = q_alloc_aligned(rt_clusters << q->cluster_bits), *buf = q_buf_get(q);
	int err = table && buf ? reach_end(c) : -ENOMEM;
	for (uint64_t i = 0; i < c->n_chunks && !err; i++) {
		put_be64(table + i * 8, new_off[i] ? new_off[i] : c->rb_off[i]);
		if (new_off[i])
			err = write_block(c, i, new_off[i], buf);
	}
	if (!err)
		err = blk_co_write(q->node.file, table, rt_clusters << q->cluster_bits,
				   rt << q->cluster_bits);
	q_buf_put(q, buf);
	free(table);
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
	q->fresh_from = MAX(q->fresh_from, c->end);
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
	uint64_t *new_off = NULL, rt, rt_clusters;
	int err = q_counts_add(c, q->h.rt_off >> q->cluster_bits, q->h.rt_clusters, -1);
	if (!err)
		err = place_blocks(c, &new_off, &rt, &rt_clusters);
	if (!err)
		err = write_blocks(c, new_off, rt, rt_clusters);
	free(new_off);
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
