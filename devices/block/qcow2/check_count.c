/* SPDX-License-Identifier: Apache-2.0 */
/* Checking a qcow2 image, the first half: what there is, counted by walking all of it. */
/*
 * How it works. Header, refcount table and blocks, snapshot table, bitmaps, and for the disk and each snapshot L1, L2 and
 * data. What points out of the file, or makes no sense, is told and left out.
 */
#include "devices/block/qcow2/check_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/shadow.h"
#include "devices/block/qcow2/snapshot.h"
#include "vmm/base/endian.h"
#include "vmm/base/zero.h"

/* @e, an entry of a table, makes no sense. -> whether it was cleared, for the caller to write. */
static bool bad_entry(struct check *c, const char *what, uint8_t *e, uint32_t bytes)
{
	q_check_found(c, DAMAGE, what, get_be64(e));
	if (c->fix != QCOW2_FIX_ALL)
		return false;
	memset(e, 0, bytes);
	q_check_mended(c);
	return true;
}

/* [off, off + bytes) is in use. What is outside the file is damage and not counted. */
static int use(struct check *c, uint64_t off, uint64_t bytes, const char *what)
{
	uint32_t bits = c->q->cluster_bits;
	uint64_t first = off >> bits,
		 n = div_round_up((off & (c->q->cluster_bytes - 1)) + bytes, c->q->cluster_bytes);
	if (!ck_range(first, n, c->file_clusters)) {
		q_check_found(c, DAMAGE, what, off);
		return 0;
	}
	c->out->image_end = MAX(c->out->image_end, (first + n) << bits);
	return q_counts_add(&c->want, first, n, 1);
}

/* Clusters that follow each other in the file, as those of a table mostly do, are counted at once. */
static int use_run(struct check *c)
{
	uint64_t from = c->run_off;
	c->run_off = 0;
	return from ? use(c, from, c->run_end - from, "cluster at") : 0;
}

static int use_cluster(struct check *c, uint64_t host)
{
	int err = c->run_off && host == c->run_end ? 0 : use_run(c);
	if (!c->run_off)
		c->run_off = host;
	c->run_end = host + c->q->cluster_bytes;
	return err;
}

static void count_cluster(struct check *c, uint64_t host, bool disk)
{
	if (!disk)
		return;
	c->out->allocated_clusters++;
	if (c->next_host && host != c->next_host)
		c->out->fragmented_clusters++;
	c->next_host = host + c->q->cluster_bytes;
}

/* One L2 entry. -> whether it makes no sense. */
static int use_entry(struct check *c, uint64_t e, bool disk, bool *bad)
{
	struct qcow2 *q = c->q;
	*bad = false;
	if (e & Q_COMPRESSED) {
		uint64_t off, len;
		q_compressed_range(q, e, &off, &len);
		uint64_t last = (off + len - 1) >> q->cluster_bits;
		*bad = last >= c->file_clusters || !(off >> q->cluster_bits) || q->data_file;
		if (*bad)
			return 0;
		if (disk) {
			c->out->compressed_clusters++;
			c->out->allocated_clusters++;
			c->out->fragmented_clusters++; /* each one, as qemu-img has it */
		}
		return use(c, off, len, "compressed cluster at");
	}
	uint64_t host = e & Q_OFF_MASK;
	*bad = (e & Q_L2_RESERVED) || ((e & Q_ZERO) && (q->h.version < 3 || q->ext_l2)) ||
	       (host && !q->data_file && !q_check_is_place(c, host));
	if (*bad || (!host && !(q->data_file && (e & Q_COPIED))))
		return 0;
	count_cluster(c, host, disk);
	return q->data_file ? 0 : use_cluster(c, host);
}

bool q_check_flags(struct check *c, uint8_t *table, uint32_t n, uint32_t entry_bytes)
{
	const struct q_counts *counts = c->fix == QCOW2_FIX_NONE ? &c->have : &c->want;
	bool changed = false;
	uint8_t *at = table, *end = at + (uint64_t)n * entry_bytes;
	for (; (at = mem_skip_zero(at, end, Q_SKIP_BYTES)) < end; at += entry_bytes) {
		uint64_t e = get_be64(at), host = e & Q_OFF_MASK;
		if (!host || (e & Q_COMPRESSED) || !q_check_is_place(c, host))
			continue;
		bool sole = q_counts_get(counts, host >> c->q->cluster_bits) == 1;
		if (sole == !!(e & Q_COPIED))
			continue;
		q_check_found(c, DAMAGE, "COPIED flag is wrong in entry", e);
		if (c->fix != QCOW2_FIX_ALL)
			continue;
		put_be64(at, sole ? e | Q_COPIED : e & ~Q_COPIED);
		q_check_mended(c);
		changed = true;
	}
	return changed;
}

static int use_l2(struct check *c, uint64_t off, bool disk)
{
	struct qcow2 *q = c->q;
	int err = use(c, off, q->cluster_bytes, "L2 table at");
	if (!err)
		err = q_co_read_cluster(q, off, c->l2);
	bool changed = false, bad;
	uint8_t *at = c->l2, *end = at + q->cluster_bytes;
	for (uint32_t step = q->l2_entry_bytes;
	     !err && (at = mem_skip_zero(at, end, Q_SKIP_BYTES)) < end; at += step) {
		uint64_t e = get_be64(at);
		if (!e)
			continue;
		err = use_entry(c, e, disk, &bad);
		if (bad)
			changed |= bad_entry(c, "bad L2 entry", at, step);
	}
	int last = use_run(c);
	err = err ? err : last;
	if (disk && c->fix == QCOW2_FIX_NONE && !q->data_file)
		q_check_flags(c, c->l2, 1u << q->l2_bits, q->l2_entry_bytes);
	return !err && changed ? q_co_write_cluster(q, off, c->l2) : err;
}

static int use_tree(struct check *c, uint64_t l1_off, uint32_t n, bool disk)
{
	struct qcow2 *q = c->q;
	uint64_t bytes = (uint64_t)n * 8;
	if (!n)
		return 0;
	if (!q_check_is_place(c, l1_off) || !ck_range(l1_off, bytes, q->node.file->size) ||
	    bytes > QCOW2_L1_BYTES_MAX) {
		q_check_found(c, DAMAGE, "L1 table at", l1_off);
		return 0;
	}
	uint8_t *l1;
	int err = use(c, l1_off, bytes, "L1 table at");
	if (!err)
		err = q_co_read_table(q, l1_off, bytes, &l1);
	if (err)
		return err;
	bool changed = false;
	for (uint32_t i = 0; i < n && !err; i++) {
		uint8_t *at = l1 + (uint64_t)i * 8;
		uint64_t e = get_be64(at), off = e & Q_OFF_MASK;
		if ((e & Q_L1_RESERVED) || (off && !q_check_is_place(c, off)))
			changed |= bad_entry(c, "bad L1 entry", at, 8);
		else if (off)
			err = use_l2(c, off, disk);
	}
	if (disk && c->fix == QCOW2_FIX_NONE && !q->data_file)
		q_check_flags(c, l1, n, 8);
	if (!err && changed)
		err = blk_co_write(q->node.file, l1, align_up(bytes, 512), l1_off);
	free(l1);
	return err;
}

static int use_snapshots(struct check *c)
{
	struct qcow2 *q = c->q;
	if (!q->h.n_snapshots)
		return 0;
	struct qcow2_snapshot *v;
	uint32_t n;
	uint64_t bytes;
	int err = qcow2_co_snapshots(&q->node, &v, &n);
	if (!err)
		err = qcow2_co_snapshot_table_bytes(&q->node, &bytes);
	if (!err)
		err = use(c, q->h.snapshots_off, bytes, "snapshot table at");
	for (uint32_t i = 0; i < n && !err; i++)
		err = use_tree(c, v[i].l1_off, v[i].l1_entries, false);
	qcow2_snapshots_free(v, n);
	return err;
}

static int use_bitmap(struct check *c, uint64_t table, uint32_t entries)
{
	struct qcow2 *q = c->q;
	uint64_t bytes = (uint64_t)entries * 8;
	if (!q_check_is_place(c, table) || bytes > QCOW2_L1_BYTES_MAX) {
		q_check_found(c, DAMAGE, "bitmap table at", table);
		return 0;
	}
	uint8_t *t;
	int err = use(c, table, bytes, "bitmap table at");
	if (!err)
		err = q_co_read_table(q, table, bytes, &t);
	for (uint32_t i = 0; i < entries && !err; i++) {
		uint64_t off = get_be64(t + (uint64_t)i * 8) & Q_OFF_MASK;
		if (off)
			err = use(c, off, q->cluster_bytes, "bitmap data at");
	}
	if (!err)
		free(t);
	return err;
}

static int use_bitmaps(struct check *c)
{
	struct qcow2 *q = c->q;
	if (!q->h.has_bitmaps)
		return 0;
	uint8_t *dir;
	uint64_t bytes = q->h.bitmap_dir_bytes, at = 0;
	int err = use(c, q->h.bitmap_dir_off, bytes, "bitmap directory at");
	if (!err)
		err = q_co_read_table(q, q->h.bitmap_dir_off, bytes, &dir);
	if (err)
		return err;
	for (uint32_t i = 0; i < q->h.n_bitmaps && !err && ck_range(at, 24, bytes); i++) {
		const uint8_t *e = dir + at;
		err = use_bitmap(c, get_be64(e), get_be32(e + 8));
		at += align_up(24 + (uint64_t)get_be16(e + 18) + get_be32(e + 20), 8);
	}
	free(dir);
	return err;
}

/* A refcount block, and what it says. */
static int use_block(void *opaque, uint64_t i, uint64_t off)
{
	struct check *c = opaque;
	struct qcow2 *q = c->q;
	if (!q_check_is_place(c, off)) {
		q_check_found(c, MISCOUNT, "bad refcount table entry", off);
		return 0;
	}
	int err = use(c, off, q->cluster_bytes, "refcount block at");
	if (!err)
		err = q_co_read_cluster(q, off, c->rb);
	bool absurd; /* and wrong all the same */
	return err ? err : q_counts_take_block(&c->have, i, c->rb, &absurd);
}

static int use_refcounts(struct check *c)
{
	struct qcow2 *q = c->q;
	if (!q->h.rt_clusters) {
		q_check_found(c, MISCOUNT, "refcount table is not in the file, clusters", 0);
		return 0;
	}
	int err = use(c, q->h.rt_off, (uint64_t)q->h.rt_clusters << q->cluster_bits,
		      "refcount table at");
	c->rb = q_buf_get(q);
	if (!err)
		err = c->rb ? q_co_each_refcount_block(q, use_block, c) : -ENOMEM;
	q_buf_put(q, c->rb);
	return err;
}

int q_co_check_count(struct check *c)
{
	struct qcow2 *q = c->q;
	int err = use(c, 0, q->cluster_bytes, "header at");
	if (!err)
		err = use_refcounts(c);
	if (!err && !(c->l2 = q_buf_get(q)))
		err = -ENOMEM;
	if (!err)
		err = use_tree(c, q->h.l1_off, q->h.l1_entries, true);
	if (!err)
		err = use_snapshots(c);
	return err ? err : use_bitmaps(c);
}
