/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of a disk as snapshots share, copy and drop them. */
/*
 * How it works. All of it counts in memory (shadow.c) and writes to clusters that are free in the old state and
 * in the new one; the switch of the header makes it so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot_int.h"
#include "vmm/base/endian.h"
#include "vmm/base/zero.h"

int q_co_snapshot_l2(struct qcow2 *q, uint64_t l1_entry, uint8_t *l2)
{
	uint64_t off = l1_entry & Q_OFF_MASK;
	if ((l1_entry & Q_L1_RESERVED) || (off & (q->cluster_bytes - 1)) ||
	    off >= q->node.file->size)
		return q_corrupt(q, "bad L1 entry", l1_entry);
	return q_co_read_cluster(q, off, l2);
}

/* ---- the table in o->l2 ---- */

/* The entry at @p, or the next one that is in use; most are not, in a large table. */
static uint8_t *next_used(uint8_t *p, const uint8_t *end, uint32_t step)
{
	while (p < end && !get_be64(p)) {
		uint8_t *next = mem_skip_zero(p, end, Q_SKIP_BYTES);
		p = next > p ? next : p + step;
	}
	return p;
}

/* Clusters that are in a row in the file are counted together. */
struct run {
	uint64_t first, n;
};

static int count_run(struct q_snapshot_op *o, struct run *r, int delta)
{
	uint64_t n = r->n;
	r->n = 0;
	return n ? q_counts_add(&o->counts, r->first, n, delta) : 0;
}

static int count_entry(struct q_snapshot_op *o, struct run *r, uint64_t e, int delta)
{
	uint64_t host = e & Q_OFF_MASK, cluster = host >> o->q->cluster_bits;
	bool plain = host && !(e & Q_COMPRESSED) && !o->q->data_file;
	if (plain && r->n && cluster == r->first + r->n) {
		r->n++;
		return 0;
	}
	int err = count_run(o, r, delta);
	if (plain)
		*r = (struct run){ cluster, 1 };
	return err || plain ? err : q_counts_entry(&o->counts, e, delta);
}

static int count_l2(struct q_snapshot_op *o, int delta)
{
	uint8_t *end = o->l2 + o->q->cluster_bytes;
	uint32_t step = o->q->l2_entry_bytes;
	struct run r = { 0 };
	int err = 0;
	for (uint8_t *p = next_used(o->l2, end, step); p < end && !err;
	     p = next_used(p + step, end, step))
		err = count_entry(o, &r, get_be64(p), delta);
	return err ? err : count_run(o, &r, delta);
}

/* Nothing in it is owned by it alone. */
static void clear_copied(struct q_snapshot_op *o)
{
	uint8_t *end = o->l2 + o->q->cluster_bytes;
	uint32_t step = o->q->l2_entry_bytes;
	for (uint8_t *p = next_used(o->l2, end, step); p < end; p = next_used(p + step, end, step))
		*p &= (uint8_t) ~(Q_COPIED >> 56);
}

/* Writes o->l2 to a new cluster. -> the L1 entry for it. */
int q_co_snapshot_place_l2(struct q_snapshot_op *o, uint64_t *entry)
{
	uint64_t off;
	int err = q_co_place_cluster(&o->counts, o->l2, &off);
	*entry = off | Q_COPIED;
	return err;
}

/* Copies the tables of @from for the disk to go on with; what they refer to has one user more. */
int q_co_snapshot_copy_tables(struct q_snapshot_op *o, const uint8_t *from, uint32_t n, uint8_t *to)
{
	int err = 0;
	for (uint32_t i = 0; i < n && !err; i++) {
		uint64_t e = get_be64(from + (uint64_t)i * 8);
		if (!(e & Q_OFF_MASK))
			continue;
		err = q_co_snapshot_l2(o->q, e, o->l2);
		if (!err)
			err = count_l2(o, 1);
		if (err)
			break;
		clear_copied(o);
		err = q_co_snapshot_place_l2(o, &e);
		put_be64(to + (uint64_t)i * 8, e);
	}
	return err;
}

/* Drops a whole tree: data, L2 tables and the L1 table itself. */
int q_co_snapshot_drop_tree(struct q_snapshot_op *o, const uint8_t *l1, uint32_t n, uint64_t l1_off)
{
	struct qcow2 *q = o->q;
	int err = 0;
	for (uint32_t i = 0; i < n && !err; i++) {
		uint64_t e = get_be64(l1 + (uint64_t)i * 8);
		if (!(e & Q_OFF_MASK))
			continue;
		err = q_co_snapshot_l2(o->q, e, o->l2);
		if (!err)
			err = count_l2(o, -1);
		if (!err)
			err = q_counts_add(&o->counts, (e & Q_OFF_MASK) >> q->cluster_bits, 1, -1);
	}
	uint64_t clusters = div_round_up((uint64_t)n * 8, q->cluster_bytes);
	return err ? err : q_counts_add(&o->counts, l1_off >> q->cluster_bits, clusters, -1);
}

/* The disk's flags after counts fell: new copies of the tables whose flags are wrong. */
static int fix_l2_flags(struct q_snapshot_op *o, bool *changed)
{
	uint8_t *p = o->l2, *end = p + o->q->cluster_bytes;
	uint32_t step = o->q->l2_entry_bytes, bits = o->q->cluster_bits;
	*changed = false;
	for (; p < end; p += step) {
		uint64_t e = get_be64(p), host = e & Q_OFF_MASK;
		if (!host || (e & Q_COMPRESSED))
			continue;
		bool sole = q_counts_get(&o->counts, host >> bits) == 1;
		if (sole == !!(e & Q_COPIED))
			continue;
		put_be64(p, sole ? e | Q_COPIED : e & ~Q_COPIED);
		*changed = true;
	}
	return 0;
}

int q_co_snapshot_fix_active(struct q_snapshot_op *o)
{
	struct qcow2 *q = o->q;
	uint64_t bytes = (uint64_t)q->h.l1_entries * 8;
	uint8_t *l1;
	bool moved = false;
	int err = q_co_read_table(q, q->h.l1_off, bytes, &l1);
	for (uint32_t i = 0; i < q->h.l1_entries && !err; i++) {
		uint64_t e = get_be64(l1 + (uint64_t)i * 8), want = e;
		uint64_t cluster = (e & Q_OFF_MASK) >> q->cluster_bits;
		bool changed;
		if (!cluster)
			continue;
		err = q_co_snapshot_l2(o->q, e, o->l2);
		if (!err)
			err = fix_l2_flags(o, &changed);
		if (!err && changed) {
			err = q_co_snapshot_place_l2(o, &want);
			if (!err)
				err = q_counts_add(&o->counts, cluster, 1, -1);
		} else if (!err) {
			bool sole = q_counts_get(&o->counts, cluster) == 1;
			want = sole ? e | Q_COPIED : e & ~Q_COPIED;
		}
		put_be64(l1 + (uint64_t)i * 8, want);
		moved |= want != e;
	}
	if (!err && moved) {
		err = q_counts_add(&o->counts, q->h.l1_off >> q->cluster_bits,
				   div_round_up(bytes, q->cluster_bytes), -1);
		if (!err)
			err = q_co_write_table(&o->counts, l1, bytes, &o->next.l1_off);
	}
	free(l1);
	return err;
}
