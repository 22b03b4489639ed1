/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of a check share: check_count.c counts, check.c compares and repairs; for these two only. */
#ifndef BLOCK_QCOW2_CHECK_INT_H
#define BLOCK_QCOW2_CHECK_INT_H

#include "devices/block/qcow2/check.h"
#include "devices/block/qcow2/counts.h"

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

/* An error at a place in the file, or an entry: counted, and told if it is among the first. */
void q_check_found(struct check *c, enum finding kind, const char *what, uint64_t at);
/* The error found last is one no more. */
void q_check_mended(struct check *c);

/* Can there be a table or a block at @off? */
static inline bool q_check_is_place(const struct check *c, uint64_t off)
{
	return off && !(off & (c->q->cluster_bytes - 1)) &&
	       off >> c->q->cluster_bits < c->file_clusters;
}

/*
 * Walks all there is: c->want is what should be counted, c->have what the file's blocks say; c->l2 stays for who repairs. With
 * QCOW2_FIX_ALL, entries that make no sense are cleared in the file. In a coroutine. -> 0, -errno.
 */
int q_co_check_count(struct check *c);
/* Flags of one table of the disk, by the refcounts that hold: counted ones when they are repaired. -> whether some were changed. */
bool q_check_flags(struct check *c, uint8_t *table, uint32_t n, uint32_t entry_bytes);

#endif
