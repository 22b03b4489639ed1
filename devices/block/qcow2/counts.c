/* SPDX-License-Identifier: Apache-2.0 */
/* Refcounts of a whole image, in memory. */
/*
 * How it works. Four bytes for each cluster that a refcount block counts, as far as blocks have anything to count; 256 MiB
 * at the most. The highest bit says that the old state uses the cluster. A block of 64 KiB counts 32,768 clusters, of which
 * most images have fewer: so its counts are mapped, and only what was ever set is looked at.
 */
#include "devices/block/qcow2/counts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "devices/block/qcow2/refcount_bits.h"
#include "devices/block/qcow2/shadow.h"
#include "vmm/base/endian.h"
#include "vmm/base/zero.h"

enum { COUNT_WAS_USED = 1u << 31, MAPPED_BYTES_MIN = 65536 };
#define COUNTS_BYTES_MAX (256 * MIB)

/* ---- memory ---- */

static uint64_t block_entries(const struct q_counts *c)
{
	return UINT64_C(1) << c->q->rb_bits;
}

static uint64_t block_bytes(const struct q_counts *c)
{
	return block_entries(c) * sizeof(uint32_t);
}

/* calloc(3) may clear memory that it has had before, page by page. */
static uint32_t *counts_new(uint64_t bytes)
{
	if (bytes < MAPPED_BYTES_MIN)
		return calloc(1, bytes);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void counts_delete(uint32_t *counts, uint64_t bytes)
{
	if (bytes < MAPPED_BYTES_MIN)
		free(counts);
	else if (counts)
		munmap(counts, bytes);
}

static int grow(struct q_counts *c, uint64_t n)
{
	if (n <= c->n_blocks)
		return 0;
	if (n > QCOW2_RT_BYTES_MAX / 8)
		return -EFBIG;
	struct q_count_block *blocks = realloc(c->blocks, n * sizeof(*blocks));
	if (!blocks)
		return -ENOMEM;
	memset(blocks + c->n_blocks, 0, (n - c->n_blocks) * sizeof(*blocks));
	c->blocks = blocks;
	c->n_blocks = n;
	return 0;
}

static int fill(struct q_counts *c, uint64_t i)
{
	uint64_t bytes = block_bytes(c);
	int err = grow(c, i + 1);
	if (err || c->blocks[i].counts)
		return err;
	if (c->bytes + bytes > COUNTS_BYTES_MAX)
		return -EFBIG;
	c->blocks[i].counts = counts_new(bytes);
	if (!c->blocks[i].counts)
		return -ENOMEM;
	c->bytes += bytes;
	return 0;
}

void q_counts_free(struct q_counts *c)
{
	for (uint64_t i = 0; i < c->n_blocks; i++)
		counts_delete(c->blocks[i].counts, block_bytes(c));
	free(c->blocks);
	*c = (struct q_counts){ 0 };
}

/* ---- one cluster ---- */

/* The block that counts @cluster, with memory for it, and room to count the @n from @cluster on that are in it. */
static int block_of(struct q_counts *c, uint64_t cluster, uint64_t n, struct q_count_block **out)
{
	uint64_t i = cluster >> c->q->rb_bits;
	int err = i < c->n_blocks && c->blocks[i].counts ? 0 : fill(c, i);
	if (err)
		return err;
	struct q_count_block *b = &c->blocks[i];
	uint64_t end = (cluster & (block_entries(c) - 1)) + n;
	b->used = MAX(b->used, (uint32_t)MIN(end, block_entries(c)));
	*out = b;
	return 0;
}

static int set(struct q_counts *c, struct q_count_block *b, uint64_t k, uint64_t value)
{
	uint32_t old = b->counts[k];
	if (value > c->max)
		return -EOVERFLOW;
	b->dirty |= (old & ~COUNT_WAS_USED) != value;
	b->counts[k] = (old & COUNT_WAS_USED) | (uint32_t)value;
	return 0;
}

/* With its mark. */
static uint32_t raw_count(const struct q_counts *c, uint64_t cluster)
{
	uint64_t i = cluster >> c->q->rb_bits, k = cluster & (block_entries(c) - 1);
	return i < c->n_blocks && k < c->blocks[i].used ? c->blocks[i].counts[k] : 0;
}

uint64_t q_counts_get(const struct q_counts *c, uint64_t cluster)
{
	return raw_count(c, cluster) & ~COUNT_WAS_USED;
}

uint64_t q_counts_in_block(const struct q_count_block *b, uint64_t i)
{
	return i < b->used ? b->counts[i] & ~COUNT_WAS_USED : 0;
}

int q_counts_add(struct q_counts *c, uint64_t cluster, uint64_t n, int delta)
{
	uint64_t mask = block_entries(c) - 1, end = cluster + n;
	struct q_count_block *b;
	int err = 0;
	while (cluster < end && !err) {
		err = block_of(c, cluster, end - cluster, &b);
		for (uint64_t k = cluster & mask; k <= mask && cluster < end && !err;
		     k++, cluster++) {
			uint64_t v = b->counts[k] & ~COUNT_WAS_USED;
			if (delta < 0 && !v)
				return q_corrupt(c->q, "a cluster in use had no refcount, cluster",
						 cluster);
			err = set(c, b, k, delta > 0 ? v + 1 : v - 1);
		}
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

/* ---- all of them ---- */

void q_counts_keep(struct q_counts *c)
{
	for (struct q_count_block *b = c->blocks; b < c->blocks + c->n_blocks; b++)
		for (uint32_t k = 0; k < b->used; k++)
			if (b->counts[k])
				b->counts[k] |= COUNT_WAS_USED;
}

void q_counts_compare(const struct q_counts *a, const struct q_counts *b,
		      void (*differs)(void *opaque, uint64_t cluster, uint64_t a, uint64_t b),
		      void *opaque)
{
	static const struct q_count_block none;
	uint64_t n = MAX(a->n_blocks, b->n_blocks);
	for (uint64_t i = 0; i < n; i++) {
		const struct q_count_block *x = i < a->n_blocks ? &a->blocks[i] : &none;
		const struct q_count_block *y = i < b->n_blocks ? &b->blocks[i] : &none;
		uint32_t used = MAX(x->used, y->used);
		if (!used || (x->used == y->used &&
			      memcmp(x->counts, y->counts, used * sizeof(*x->counts)) == 0))
			continue; /* as good as always */
		for (uint64_t k = 0; k < used; k++) {
			uint64_t in_x = q_counts_in_block(x, k), in_y = q_counts_in_block(y, k);
			if (in_x != in_y)
				differs(opaque, (i << a->q->rb_bits) + k, in_x, in_y);
		}
	}
}

int q_counts_alloc(struct q_counts *c, uint64_t n, uint64_t *cluster)
{
	uint64_t first = c->cursor, run = 0;
	while (run < n) {
		/* Free in both states; the first cluster is the header's. */
		if (first + run && !raw_count(c, first + run)) {
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
	q_used_fresh(c->q, first, n);
	*cluster = first;
	return 0;
}

/* ---- reading ---- */

int q_co_each_refcount_block(struct qcow2 *q, int (*fn)(void *opaque, uint64_t i, uint64_t off),
			     void *opaque)
{
	uint64_t per_cluster = q->cluster_bytes / 8;
	uint8_t *buf = q_buf_get(q), *end = buf + q->cluster_bytes, *at;
	int err = buf ? 0 : -ENOMEM;
	for (uint64_t i = 0; i < q->h.rt_clusters && !err; i++) {
		err = q_co_read_cluster(q, q->h.rt_off + (i << q->cluster_bits), buf);
		for (at = buf; !err && (at = mem_skip_zero(at, end, Q_SKIP_BYTES)) < end; at += 8) {
			uint64_t off = get_be64(at);
			if (off)
				err = fn(opaque, i * per_cluster + (uint64_t)(at - buf) / 8, off);
		}
	}
	q_buf_put(q, buf);
	return err;
}

int q_counts_take_block(struct q_counts *c, uint64_t i, const uint8_t *rb, bool *absurd)
{
	struct q_count_block *b;
	*absurd = false;
	int err = mem_is_zero(rb, c->q->cluster_bytes) ? 0 : block_of(c, i << c->q->rb_bits, 0, &b);
	for (uint64_t k = 0; k < block_entries(c) && !err; k++) {
		uint64_t v = q_rb_get(rb, k, c->q->h.refcount_order);
		if (!v)
			continue;
		*absurd |= v > INT32_MAX;
		b->counts[k] = (uint32_t)MIN(v, (uint64_t)INT32_MAX);
		b->used = (uint32_t)k + 1;
	}
	return err;
}

struct load {
	struct q_counts *counts;
	uint8_t *buf;
};

static int load_block(void *opaque, uint64_t i, uint64_t off)
{
	const struct load *l = opaque;
	struct q_counts *c = l->counts;
	struct qcow2 *q = c->q;
	bool absurd;
	if ((off & (q->cluster_bytes - 1)) || off >= q->node.file->size)
		return q_corrupt(q, "bad refcount table entry", off);
	int err = grow(c, i + 1);
	if (!err)
		err = q_co_read_cluster(q, off, l->buf);
	if (!err)
		err = q_counts_take_block(c, i, l->buf, &absurd);
	if (err)
		return err;
	c->blocks[i].off = off;
	return absurd ? q_corrupt(q, "absurd refcounts in block", off) : 0;
}

int q_co_counts_load(struct qcow2 *q, struct q_counts *c, bool empty)
{
	*c = (struct q_counts){ .q = q,
				.max = MIN(q_refcount_max(q), (uint64_t)COUNT_WAS_USED - 1) };
	c->end = q->alloc_end;
	if (empty)
		return 0;
	struct load l = { c, q_buf_get(q) };
	int err = l.buf ? q_co_each_refcount_block(q, load_block, &l) : -ENOMEM;
	q_buf_put(q, l.buf);
	if (!err)
		q_counts_keep(c);
	return err;
}
