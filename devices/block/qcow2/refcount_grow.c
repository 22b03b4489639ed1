/* SPDX-License-Identifier: Apache-2.0 */
/* Refcount blocks and a larger refcount table, where there was no room to count. */
/*
 * How it works. A new RB always is the first cluster of the range it describes, and counts itself. When the RT
 * is full, a new one of at least twice the size is laid out behind everything the old one could
 * describe, with the RBs that describe it, and the header is switched to it in one sector.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/int.h"
#include "devices/block/qcow2/refcount_bits.h"
#include "vmm/base/endian.h"

int q_co_zero_cluster(struct qcow2 *q, uint64_t cluster)
{
	const uint8_t *zero = q_zeroes(q);
	if (!zero)
		return -ENOMEM;
	return blk_co_write(q->node.file, zero, q->cluster_bytes, cluster << q->cluster_bits);
}

/* ---- a larger refcount table ---- */

struct new_rt {
	uint64_t first; /* cluster of the table; its RBs follow it */
	uint64_t rt_clusters;
	uint64_t rb_clusters;
	uint8_t *rt; /* the table, then its RBs */
};

static int rt_layout(struct qcow2 *q, uint64_t min_index, struct new_rt *n)
{
	uint64_t per_rt = q->cluster_bytes / 8, per_rb = UINT64_C(1) << q->rb_bits;
	n->first = q_rt_entries(q) << q->rb_bits;
	n->rt_clusters = MAX((uint64_t)q->h.rt_clusters * 2, min_index / per_rt + 2);
	n->rb_clusters = 1;
	while (n->rb_clusters * per_rb < n->rt_clusters + n->rb_clusters)
		n->rb_clusters++;
	uint64_t last = (n->first + n->rt_clusters + n->rb_clusters) >> q->rb_bits;
	n->rt_clusters = MAX(n->rt_clusters, last / per_rt + 1);
	if (n->rt_clusters << q->cluster_bits > QCOW2_RT_BYTES_MAX)
		return -EFBIG;
	while (n->rb_clusters * per_rb < n->rt_clusters + n->rb_clusters)
		n->rb_clusters++;
	return 0;
}

static int rt_fill(struct qcow2 *q, struct new_rt *n)
{
	for (uint64_t i = 0; i < q_rt_entries(q) * 8; i += q->page_bytes) {
		struct q_page *p;
		int err = q_co_cache_get(q, q->h.rt_off + i, Q_RT, &p);
		if (err)
			return err;
		memcpy(n->rt + i, p->data, q->page_bytes);
		q_cache_put(p);
	}
	uint8_t *rbs = n->rt + (n->rt_clusters << q->cluster_bits);
	for (uint64_t i = 0; i < n->rb_clusters; i++) {
		uint64_t cluster = n->first + n->rt_clusters + i;
		put_be64(n->rt + ((n->first >> q->rb_bits) + i) * 8, cluster << q->cluster_bits);
	}
	/* The blocks are one array of refcounts, from n->first on. */
	for (uint64_t i = 0; i < n->rt_clusters + n->rb_clusters; i++)
		q_rb_set(rbs, i, q->h.refcount_order, 1);
	return 0;
}

static int rt_switch(struct qcow2 *q, const struct new_rt *n)
{
	uint64_t bytes = (n->rt_clusters + n->rb_clusters) << q->cluster_bits;
	int err = q_file_reach(q, n->first + n->rt_clusters + n->rb_clusters);
	if (!err)
		err = blk_co_write(q->node.file, n->rt, bytes, n->first << q->cluster_bits);
	if (!err)
		err = blk_co_flush(q->node.file);
	uint8_t fields[12];
	put_be64(fields, n->first << q->cluster_bits);
	put_be32(fields + 8, (uint32_t)n->rt_clusters);
	if (!err)
		err = q_co_update_header(q, QCOW2_AT_RT_OFF, fields, sizeof(fields));
	return err;
}

static int grow_rt(struct qcow2 *q, uint64_t min_index)
{
	struct new_rt n;
	int err = rt_layout(q, min_index, &n);
	if (err)
		return err;
	uint64_t bytes = (n.rt_clusters + n.rb_clusters) << q->cluster_bits;
	if (posix_memalign((void **)&n.rt, Q_PAGE_BYTES_MAX, bytes))
		return -ENOMEM;
	memset(n.rt, 0, bytes);
	err = rt_fill(q, &n);
	q_used_fresh(q, n.first, n.rt_clusters + n.rb_clusters);
	if (!err)
		err = rt_switch(q, &n);
	free(n.rt);
	if (err)
		return err;
	for (uint64_t i = 0; i < n.rt_clusters + n.rb_clusters && !err; i++)
		err = q_set_add(&q->meta, n.first + i);
	uint64_t old = q->h.rt_off >> q->cluster_bits;
	uint32_t old_clusters = q->h.rt_clusters;
	q_cache_forget(q, q->h.rt_off, (uint64_t)old_clusters << q->cluster_bits);
	q->h.rt_off = n.first << q->cluster_bits;
	q->h.rt_clusters = (uint32_t)n.rt_clusters;
	return err ? err : q_drop(q, old, old_clusters, false);
}

/* ---- a new refcount block ---- */

int q_co_new_rb(struct qcow2 *q, uint64_t cluster)
{
	uint64_t rt_index = cluster >> q->rb_bits;
	if (rt_index >= q_rt_entries(q)) {
		int err = grow_rt(q, rt_index);
		uint64_t off = 0;
		if (!err)
			err = q_co_rb_offset(q, cluster, &off);
		if (err || off)
			return err;
	}
	uint64_t own = rt_index << q->rb_bits;
	if (!own || q_set_has(&q->meta, own))
		return q_corrupt(q, "metadata without a refcount, cluster", own);
	int err = q_file_reach(q, own + 1);
	if (!err && !q_used_fresh(q, own, 1))
		err = q_co_zero_cluster(q, own);
	if (!err)
		err = q_set_add(&q->meta, own);
	struct q_page *rt = NULL, *rb;
	if (!err)
		err = q_co_cache_get(q, q->h.rt_off + rt_index * 8, Q_RT, &rt);
	if (err)
		return err;
	err = q_cache_new(q, own << q->cluster_bits, Q_RB, &rb);
	if (!err) {
		q_rb_set(rb->data, 0, q->h.refcount_order, 1);
		q_cache_put(rb);
		put_be64(rt->data + q_in_page(q, rt_index * 8), own << q->cluster_bits);
		q_cache_dirty(q, rt);
	}
	q_cache_put(rt);
	return err;
}
