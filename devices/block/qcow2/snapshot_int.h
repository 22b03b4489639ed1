/* SPDX-License-Identifier: Apache-2.0 */
/* What the files about snapshots share; for snapshot*.c and vmstate.c only. */
#ifndef BLOCK_QCOW2_SNAPSHOT_INT_H
#define BLOCK_QCOW2_SNAPSHOT_INT_H

#include "devices/block/qcow2/shadow.h"
#include "devices/block/qcow2/snapshot.h"

enum {
	ENTRY_BYTES = 40,
	EXTRA_KNOWN_BYTES = 24,
	EXTRA_OURS_BYTES = 8 + QCOW2_PARENT_MAX + 1,
	EXTRA_MAX = 1024,
};
#define TABLE_BYTES_MAX (64 * MIB)

/* Begins our part of the extra data. */
#define q_snapshot_magic "charmvm1"

/* The snapshot table as it is in the file. */
struct q_snapshot_table {
	uint8_t *mem;
	uint64_t bytes; /* of whole entries */
	uint32_t n;
};

/* Reads it; t->mem to free, on an error, too. */
int q_co_snapshot_table(struct qcow2 *q, struct q_snapshot_table *t);
/* The length of the entry at @p, if all of it is within @have bytes. -> 0: not; -1: nonsense. */
int64_t q_snapshot_entry_len(const uint8_t *p, uint64_t have);
/* Takes the table apart; @v to free with qcow2_snapshots_free(). */
int q_snapshot_parse(const struct qcow2 *q, const struct q_snapshot_table *t,
		     struct qcow2_snapshot **v);
/* Its L1 table may be read: where and how long it is makes sense. */
int q_snapshot_check(struct qcow2 *q, const struct qcow2_snapshot *s);
/* -> its number, or -ENOENT. An id is preferred to a name. */
int64_t q_snapshot_find(const struct qcow2_snapshot *v, uint32_t n, const char *what);

/* An operation: the image is frozen, the table and the counts are at hand. Functions that take it -> 0 or -errno. */
struct q_snapshot_op {
	struct qcow2 *q;
	struct q_snapshot_table table;
	struct qcow2_snapshot *v;
	struct q_counts counts;
	struct qcow2_header next;
	uint8_t *l2; /* a cluster buffer */
};

/* ---- snapshot_tree.c ---- */

/* Reads the L2 table that an L1 entry refers to into @l2, a cluster buffer. */
int q_co_snapshot_l2(struct qcow2 *q, uint64_t l1_entry, uint8_t *l2);
/* Writes o->l2 to a new cluster. *entry: the L1 entry for it. */
int q_co_snapshot_place_l2(struct q_snapshot_op *o, uint64_t *entry);
/* Copies the tables that the @n L1 entries @from name for the disk to go on with; what they refer to has one user more. */
int q_co_snapshot_copy_tables(struct q_snapshot_op *o, const uint8_t *from, uint32_t n,
			      uint8_t *to);
/* Drops a whole tree: data, L2 tables and the L1 table of @n entries at @l1_off itself. */
int q_co_snapshot_drop_tree(struct q_snapshot_op *o, const uint8_t *l1, uint32_t n,
			    uint64_t l1_off);
/* Sets COPIED of the disk's tables by the counts, which fell. */
int q_co_snapshot_fix_active(struct q_snapshot_op *o);

/* ---- snapshot_table.c: the table of the next state ---- */

int q_co_snapshot_append_entry(struct q_snapshot_op *o, const struct qcow2_snapshot_new *s,
			       uint64_t l1_off, uint32_t l1_entries);
int q_co_snapshot_remove_entry(struct q_snapshot_op *o, uint32_t i);
int q_co_snapshot_rename_entry(struct q_snapshot_op *o, uint32_t i, const char *name);

/* ---- vmstate.c: VM state that is in the file already ---- */

bool q_snapshot_extents_fine(const struct qcow2 *q, const struct qcow2_snapshot_new *s);
/* All of them first: then no table is placed on top of a reserved one. */
int q_snapshot_count_extents(struct q_snapshot_op *o, const struct qcow2_snapshot_new *s);
/* An L1 table for the snapshot that maps the VM state, too. The L2 tables of the disk stay. */
int q_co_snapshot_place_vm_l1(struct q_snapshot_op *o, const struct qcow2_snapshot_new *s,
			      const uint8_t *l1, uint64_t *off, uint32_t *entries);

#endif
