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

/* Reads the L2 table that an L1 entry refers to into @l2, a cluster buffer. */
int q_co_snapshot_l2(struct qcow2 *q, uint64_t l1_entry, uint8_t *l2);

#endif
