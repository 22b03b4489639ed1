/* SPDX-License-Identifier: Apache-2.0 */
/* Refcounts: who uses a cluster, and which is free. */
/*
 * How it works. A refcount is found in two steps: refcount table (RT) -> refcount block (RB) -> entry
 * of 1 to 64 bits. Both go through the metadata cache. Allocation is first fit from `cursor`, and
 * takes a run of clusters at once, in memory only.
 *
 * Taking a reference is done in memory at once; when it reaches the disk is commit.c's. Dropping one is drop.c's, and
 * a block or a table where there was none is refcount_grow.c's.
 */
#include <errno.h>
#include <string.h>

#include "devices/block/qcow2/int.h"
#include "devices/block/qcow2/refcount_bits.h"
#include "vmm/base/endian.h"

uint64_t q_refcount_max(const struct qcow2 *q)
{
	uint32_t bits = 1u << q->h.refcount_order;
	return bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

/* ---- finding a block ---- */

uint64_t q_rt_entries(const struct qcow2 *q)
{
	return (uint64_t)q->h.rt_clusters << (q->cluster_bits - 3);
}

/* Entries of a refcount block in one page. */
static uint64_t per_page(const struct qcow2 *q)
{
	return ((uint64_t)q->page_bytes * 8) >> q->h.refcount_order;
}

int q_co_rb_offset(struct qcow2 *q, uint64_t cluster, uint64_t *off)
{
	uint64_t i = cluster >> q->rb_bits;
	*off = 0;
	if (i >= q_rt_entries(q))
		return 0;
	struct q_page *rt;
	int err = q_co_cache_get(q, q->h.rt_off + i * 8, Q_RT, &rt);
	if (err)
		return err;
	uint64_t e = get_be64(rt->data + q_in_page(q, i * 8));
	q_cache_put(rt);
	if ((e & (q->cluster_bytes - 1)) || e >= Q_HOST_MAX || (e && e >= q->node.file->size))
		return q_corrupt(q, "bad refcount table entry", e);
	*off = e;
	return 0;
}

/* The page with the refcount of @cluster, pinned; *page NULL: it has none. */
static int rb_page(struct qcow2 *q, uint64_t cluster, struct q_page **page, uint64_t *index)
{
	uint64_t off;
	int err = q_co_rb_offset(q, cluster, &off);
	*page = NULL;
	if (err || !off)
		return err;
	uint64_t in_block = cluster & ((UINT64_C(1) << q->rb_bits) - 1);
	*index = in_block % per_page(q);
	return q_co_cache_get(q, off + in_block / per_page(q) * q->page_bytes, Q_RB, page);
}

int q_co_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *out)
{
	struct q_page *p;
	uint64_t i;
	int err = rb_page(q, cluster, &p, &i);
	*out = 0;
	if (err || !p)
		return err;
	*out = q_rb_get(p->data, i, q->h.refcount_order);
	q_cache_put(p);
	return 0;
}

/* ---- room in the file ---- */

int q_file_reach(struct qcow2 *q, uint64_t end)
{
	struct blk_node *file = q->node.file;
	uint64_t need = end << q->cluster_bits;
	q->alloc_end = MAX(q->alloc_end, end);
	if (need <= file->size)
		return 0;
	uint64_t step = MAX((uint64_t)Q_GROW_BYTES, MIN(file->size / 8, 64 * MIB));
	return blk_truncate(file, align_up(MAX(need, file->size + step), q->cluster_bytes));
}

bool q_used_fresh(struct qcow2 *q, uint64_t first, uint64_t n)
{
	bool fresh = first >= q->fresh_from;
	q->fresh_from = MAX(q->fresh_from, first + n);
	return fresh;
}

/* ---- taking ---- */

/* As rb_page(), but there is one after it. With alloc_lock held. */
static int rb_page_made(struct qcow2 *q, uint64_t cluster, struct q_page **page, uint64_t *index)
{
	int err = rb_page(q, cluster, page, index);
	if (err || *page)
		return err;
	err = q_co_new_rb(q, cluster);
	return err ? err : rb_page(q, cluster, page, index);
}

/* Free clusters from index @i of the page on, up to @want. */
static uint64_t free_run(const struct qcow2 *q, const struct q_page *p, uint64_t i, uint64_t want)
{
	uint64_t n = 0;
	while (n < want && i + n < per_page(q) && !q_rb_get(p->data, i + n, q->h.refcount_order))
		n++;
	return n;
}

static int take_run(struct qcow2 *q, struct q_page *p, uint64_t i, uint64_t first, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++)
		if (!(first + k) || q_set_has(&q->meta, first + k))
			return q_corrupt(q, "metadata without a refcount, cluster", first + k);
	int err = q_file_reach(q, first + n);
	if (err)
		return err;
	for (uint64_t k = 0; k < n; k++)
		q_rb_set(p->data, i + k, q->h.refcount_order, 1);
	q_cache_dirty(q, p);
	return 0;
}

/* The first free run at or behind the cursor. Moves the cursor behind it. */
static int find_and_take(struct qcow2 *q, uint64_t want, uint64_t *cluster, uint64_t *got)
{
	for (;;) {
		if (q->cursor - q->reserved_from < q->reserved_n)
			q->cursor = q->reserved_from + q->reserved_n;
		uint64_t at = q->cursor;
		if (at >= Q_HOST_MAX >> q->cluster_bits)
			return -EFBIG;
		struct q_page *p;
		uint64_t i;
		int err = rb_page_made(q, at, &p, &i);
		if (err)
			return err;
		if (at != q->cursor) { /* something was freed below while we waited */
			q_cache_put(p);
			continue;
		}
		while (i < per_page(q) && q_rb_get(p->data, i, q->h.refcount_order)) {
			i++;
			at++;
		}
		if (at - q->reserved_from < q->reserved_n) { /* it begins here: not ours */
			q_cache_put(p);
			q->cursor = at;
			continue;
		}
		uint64_t limit =
			at < q->reserved_from && q->reserved_n ? q->reserved_from - at : want;
		uint64_t n = free_run(q, p, i, MIN(want, limit));
		if (n)
			err = take_run(q, p, i, at, n);
		q_cache_put(p);
		if (err)
			return err;
		q->cursor = at + n;
		if (n) {
			*cluster = at;
			*got = n;
			return 0;
		}
	}
}

int q_co_alloc_locked(struct qcow2 *q, uint64_t want, uint64_t *cluster, uint64_t *got, bool *fresh)
{
	int err = find_and_take(q, want, cluster, got);
	if (!err)
		*fresh = q_used_fresh(q, *cluster, *got);
	return err;
}

int q_co_alloc(struct qcow2 *q, uint64_t want, uint64_t *cluster, uint64_t *got, bool *fresh)
{
	co_mutex_lock(q_co(q), &q->alloc_lock);
	int err = q_co_alloc_locked(q, want, cluster, got, fresh);
	co_mutex_unlock(&q->alloc_lock);
	return err;
}

int q_co_alloc_exact(struct qcow2 *q, uint64_t n, uint64_t *cluster)
{
	uint64_t first = 0, have = 0, low = UINT64_MAX;
	int err = 0;
	while (have < n && !err) {
		uint64_t next, more;
		bool fresh;
		err = q_co_alloc_locked(q, n - have, &next, &more, &fresh);
		if (err)
			break;
		if (have && next != first + have) { /* a gap: give back, go on behind it */
			low = MIN(low, first);
			err = q_co_refcount_add(q, first, have, -1);
			q->cursor = next + more;
			have = 0;
		}
		if (!have)
			first = next;
		have += more;
	}
	q->cursor = MIN(low, q->cursor);
	*cluster = first;
	return err;
}

/* ---- adding ---- */

static int add_one(struct qcow2 *q, uint64_t cluster, int delta)
{
	struct q_page *p;
	uint64_t i;
	int err = delta > 0 ? rb_page_made(q, cluster, &p, &i) : rb_page(q, cluster, &p, &i);
	if (err)
		return err;
	uint64_t v = p ? q_rb_get(p->data, i, q->h.refcount_order) : 0;
	if (delta < 0 && !v)
		err = q_corrupt(q, "a cluster in use had no refcount, cluster", cluster);
	else if (delta > 0 && v == q_refcount_max(q))
		err = -EOVERFLOW;
	if (!err) {
		v = delta > 0 ? v + 1 : v - 1;
		q_rb_set(p->data, i, q->h.refcount_order, v);
		q_cache_dirty(q, p);
	}
	if (p)
		q_cache_put(p);
	if (!err && !v) {
		q->cursor = MIN(q->cursor, cluster);
		q_set_remove(&q->meta, cluster);
		q_packer_forget(q, cluster);
	}
	return err;
}

int q_co_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t count, int delta)
{
	int err = 0;
	for (uint64_t i = 0; i < count && !err; i++)
		err = add_one(q, cluster + i, delta);
	return err;
}
