/* SPDX-License-Identifier: Apache-2.0 */
/* Checking and repairing a qcow2 image. */
/*
 * How it works. What every cluster should be referred to is counted by walking all there is: header,
 * refcount table and blocks, snapshot table, bitmaps, and for the disk and each snapshot L1, L2 and
 * data. Then the counts are compared with the refcounts in the file: more there than counted is a
 * leak, less is damage. Then the COPIED flags of the disk's tables.
 *
 * A repair writes the counted refcounts as a shadow (shadow.c): a whole new table and blocks,
 * then the header. Flags that are wrong are corrected in the tables before the switch; whichever
 * comes first, the next check repairs the rest. Bad entries are not guessed at: with
 * QCOW2_FIX_ALL an entry of L1 or L2 that points nowhere is cleared, since what it meant is lost. A
 * table that is not in the file stays an error (and the corrupt bit set), except the refcount table,
 * which is made anew.
 *
 * Memory and time are bounded by what the tables in the file can refer to (256 MiB of counts).
 */
#include "devices/block/qcow2/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/shadow.h"
#include "devices/block/qcow2/snapshot.h"
#include "vmm/base/endian.h"
#include "vmm/base/zero.h"

enum { MESSAGES_MAX = 20 };

struct check {
	struct qcow2 *q;
	enum qcow2_fix fix;
	struct qcow2_check *out;
	struct q_counts want; /* counted */
	struct q_counts have; /* in the file */
	uint64_t file_clusters;
	uint64_t next_host;  /* of the cluster that would not be a fragment */
	uint64_t miscounted; /* of the damage: what new refcounts repair */
	unsigned int messages;
	uint8_t *l2, *rb;
	uint64_t run_off, run_end; /* clusters still to be counted; 0: none */
};

enum finding { LEAK, MISCOUNT, DAMAGE };

static void found(struct check *c, enum finding kind, const char *what, uint64_t at)
{
	if (kind == LEAK)
		c->out->leaks++;
	else
		c->out->corruptions++;
	c->miscounted += kind == MISCOUNT;
	if (c->messages++ < MESSAGES_MAX)
		log_info("%s: %s: %s 0x%" PRIx64, c->q->node.name,
			 kind == LEAK ? "leaked" : "ERROR", what, at);
}

/* The error found last is one no more. */
static void mended(struct check *c)
{
	c->out->corruptions--;
	c->out->corruptions_fixed++;
}

/* @e, an entry of a table, makes no sense. -> whether it was cleared, for the caller to write. */
static bool bad_entry(struct check *c, const char *what, uint8_t *e, uint32_t bytes)
{
	found(c, DAMAGE, what, get_be64(e));
	if (c->fix != QCOW2_FIX_ALL)
		return false;
	memset(e, 0, bytes);
	mended(c);
	return true;
}

/* ---- counting ---- */

/* [off, off + bytes) is in use. What is outside the file is damage and not counted. */
static int use(struct check *c, uint64_t off, uint64_t bytes, const char *what)
{
	uint32_t bits = c->q->cluster_bits;
	uint64_t first = off >> bits,
		 n = div_round_up((off & (c->q->cluster_bytes - 1)) + bytes, c->q->cluster_bytes);
	if (!ck_range(first, n, c->file_clusters)) {
		found(c, DAMAGE, what, off);
		return 0;
	}
	c->out->image_end = MAX(c->out->image_end, (first + n) << bits);
	return q_counts_add(&c->want, first, n, 1);
}

static bool is_place(const struct check *c, uint64_t off)
{
	return off && !(off & (c->q->cluster_bytes - 1)) &&
	       off >> c->q->cluster_bits < c->file_clusters;
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
	       (host && !q->data_file && !is_place(c, host));
	if (*bad || (!host && !(q->data_file && (e & Q_COPIED))))
		return 0;
	count_cluster(c, host, disk);
	return q->data_file ? 0 : use_cluster(c, host);
}

/* Flags of one table of the disk, by the refcounts that hold: counted ones when they are repaired. */
static bool check_flags(struct check *c, uint8_t *table, uint32_t n, uint32_t entry_bytes)
{
	const struct q_counts *counts = c->fix == QCOW2_FIX_NONE ? &c->have : &c->want;
	bool changed = false;
	uint8_t *at = table, *end = at + (uint64_t)n * entry_bytes;
	for (; (at = mem_skip_zero(at, end, Q_SKIP_BYTES)) < end; at += entry_bytes) {
		uint64_t e = get_be64(at), host = e & Q_OFF_MASK;
		if (!host || (e & Q_COMPRESSED) || !is_place(c, host))
			continue;
		bool sole = q_counts_get(counts, host >> c->q->cluster_bits) == 1;
		if (sole == !!(e & Q_COPIED))
			continue;
		found(c, DAMAGE, "COPIED flag is wrong in entry", e);
		if (c->fix != QCOW2_FIX_ALL)
			continue;
		put_be64(at, sole ? e | Q_COPIED : e & ~Q_COPIED);
		mended(c);
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
		check_flags(c, c->l2, 1u << q->l2_bits, q->l2_entry_bytes);
	return !err && changed ? q_co_write_cluster(q, off, c->l2) : err;
}

static int use_tree(struct check *c, uint64_t l1_off, uint32_t n, bool disk)
{
	struct qcow2 *q = c->q;
	uint64_t bytes = (uint64_t)n * 8;
	if (!n)
		return 0;
	if (!is_place(c, l1_off) || !ck_range(l1_off, bytes, q->node.file->size) ||
	    bytes > QCOW2_L1_BYTES_MAX) {
		found(c, DAMAGE, "L1 table at", l1_off);
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
		if ((e & Q_L1_RESERVED) || (off && !is_place(c, off)))
			changed |= bad_entry(c, "bad L1 entry", at, 8);
		else if (off)
			err = use_l2(c, off, disk);
	}
	if (disk && c->fix == QCOW2_FIX_NONE && !q->data_file)
		check_flags(c, l1, n, 8);
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
	if (!is_place(c, table) || bytes > QCOW2_L1_BYTES_MAX) {
		found(c, DAMAGE, "bitmap table at", table);
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
	if (!is_place(c, off)) {
		found(c, MISCOUNT, "bad refcount table entry", off);
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
		found(c, MISCOUNT, "refcount table is not in the file, clusters", 0);
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

static int count_all(struct check *c)
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

/* ---- comparing ---- */

static void differs(void *opaque, uint64_t cluster, uint64_t want, uint64_t have)
{
	if (have > want)
		found(opaque, LEAK, "refcount too high, cluster", cluster);
	else
		found(opaque, MISCOUNT, "refcount too low, cluster", cluster);
}

/* Once all is counted, for a repair; else they are checked on the way. */
static int repair_flags(struct check *c)
{
	struct qcow2 *q = c->q;
	uint64_t bytes = (uint64_t)q->h.l1_entries * 8;
	if (q->data_file || !q->h.l1_entries)
		return 0;
	uint8_t *l1;
	int err = q_co_read_table(q, q->h.l1_off, bytes, &l1);
	if (err)
		return err;
	for (uint32_t i = 0; i < q->h.l1_entries && !err; i++) {
		uint64_t off = get_be64(l1 + (uint64_t)i * 8) & Q_OFF_MASK;
		if (!is_place(c, off))
			continue;
		err = q_co_read_cluster(q, off, c->l2);
		if (!err && check_flags(c, c->l2, 1u << q->l2_bits, q->l2_entry_bytes))
			err = q_co_write_cluster(q, off, c->l2);
	}
	if (!err && check_flags(c, l1, q->h.l1_entries, 8))
		err = blk_co_write(q->node.file, l1, align_up(bytes, 512), q->h.l1_off);
	free(l1);
	return err;
}

/* ---- repairing ---- */

/* The old blocks are counted as used; they go with the switch. */
static int drop_block(void *opaque, uint64_t i, uint64_t off)
{
	(void)i;
	struct check *c = opaque;
	uint64_t cluster = off >> c->q->cluster_bits;
	return is_place(c, off) && q_counts_get(&c->want, cluster)
		       ? q_counts_add(&c->want, cluster, 1, -1)
		       : 0;
}

/*
 * The counted refcounts become the file's. With FIX_LEAKS only where nothing is too low: a wrong
 * count is never made lower than what the file says then.
 */
static int write_counts(struct check *c)
{
	struct qcow2 *q = c->q;
	struct qcow2_check *out = c->out;
	struct qcow2_header next = q->h;
	q_counts_keep(&c->want);
	for (uint64_t i = 0; i < c->want.n_blocks; i++)
		c->want.blocks[i].dirty = true;
	int err = q_co_each_refcount_block(q, drop_block, c);
	bool sound = out->corruptions == c->miscounted;
	next.incompat &= ~(QCOW2_INCOMPAT_DIRTY | (sound ? QCOW2_INCOMPAT_CORRUPT : 0));
	q->corrupt = false;
	if (!err)
		err = q_co_switch(&c->want, &next);
	if (err)
		return err;
	q->corrupt = !sound;
	out->leaks_fixed += out->leaks;
	out->leaks = 0;
	out->corruptions_fixed += c->miscounted;
	out->corruptions -= c->miscounted;
	return 0;
}

static int repair(struct check *c)
{
	struct qcow2_check *out = c->out;
	if (c->fix == QCOW2_FIX_LEAKS && out->corruptions)
		return 0; /* leaks beside damage: what looks leaked may be the only copy */
	bool marked = c->q->h.incompat & (QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
	bool wrong = c->miscounted || out->leaks || out->corruptions_fixed;
	return wrong || (marked && !out->corruptions) ? write_counts(c) : 0;
}

static int run(struct check *c)
{
	struct qcow2 *q = c->q;
	int err = q_co_counts_load(q, &c->want, true);
	if (!err)
		err = q_co_counts_load(q, &c->have, true);
	if (!err)
		err = count_all(c);
	if (!err)
		q_counts_compare(&c->want, &c->have, differs, c);
	if (!err && c->fix != QCOW2_FIX_NONE) {
		err = repair_flags(c);
		err = err ? err : repair(c);
	}
	q_buf_put(q, c->l2);
	q_counts_free(&c->want);
	q_counts_free(&c->have);
	return err;
}

int qcow2_co_check(struct blk_node *n, enum qcow2_fix fix, struct qcow2_check *out)
{
	struct qcow2 *q = q_node(n);
	*out = (struct qcow2_check){ .total_clusters = div_round_up(q->h.size, q->cluster_bytes) };
	if (fix != QCOW2_FIX_NONE && n->read_only)
		return -EROFS;
	q_co_freeze(q);
	bool was_corrupt = q->corrupt;
	int err = fix == QCOW2_FIX_NONE || was_corrupt ? 0 : q_co_begin_write(q);
	if (!err && !n->read_only && q->writable_begun && !was_corrupt)
		err = q_co_settle(q);
	struct check c = { .q = q,
			   .fix = fix,
			   .out = out,
			   .file_clusters = div_round_up(n->file->size, q->cluster_bytes) };
	if (!err)
		err = run(&c);
	q_thaw(q);
	return err;
}
