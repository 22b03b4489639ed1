/* SPDX-License-Identifier: Apache-2.0 */
/* Checking and repairing a qcow2 image: counts compared, and corrected. */
/*
 * How it works. How often every cluster is referred to is counted (check_count.c). Then the counts are compared with the refcounts in the file: more there than counted is a
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
#include "devices/block/qcow2/check_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/shadow.h"
#include "vmm/base/endian.h"

enum { MESSAGES_MAX = 20 };

void q_check_found(struct check *c, enum finding kind, const char *what, uint64_t at)
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

void q_check_mended(struct check *c)
{
	c->out->corruptions--;
	c->out->corruptions_fixed++;
}

/* ---- comparing ---- */

static void differs(void *opaque, uint64_t cluster, uint64_t want, uint64_t have)
{
	if (have > want)
		q_check_found(opaque, LEAK, "refcount too high, cluster", cluster);
	else
		q_check_found(opaque, MISCOUNT, "refcount too low, cluster", cluster);
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
		if (!q_check_is_place(c, off))
			continue;
		err = q_co_read_cluster(q, off, c->l2);
		if (!err && q_check_flags(c, c->l2, 1u << q->l2_bits, q->l2_entry_bytes))
			err = q_co_write_cluster(q, off, c->l2);
	}
	if (!err && q_check_flags(c, l1, q->h.l1_entries, 8))
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
	return q_check_is_place(c, off) && q_counts_get(&c->want, cluster)
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
		err = q_co_check_count(c);
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
