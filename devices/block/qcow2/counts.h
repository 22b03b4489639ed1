/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The refcounts of a whole image, counted in memory: of what it will be (shadow.c), and of what it should be (check.c).
 * For qcow2/ only; all of it in a coroutine, while the image is frozen and settled.
 */
#ifndef BLOCK_QCOW2_COUNTS_H
#define BLOCK_QCOW2_COUNTS_H

#include "devices/block/qcow2/int.h"

/* What one refcount block counts. */
struct q_count_block {
	uint32_t *counts; /* NULL: all zero */
	uint32_t used;	  /* of those: one behind the last that was ever set */
	bool dirty;	  /* differs from the file */
	uint64_t off;	  /* where the block is in the file now, 0: nowhere */
	uint64_t new_off; /* where it will be, for shadow.c */
};

/* Zeroed but for what q_co_counts_load() fills in. */
struct q_counts {
	struct qcow2 *q;
	struct q_count_block *blocks;
	uint64_t n_blocks;
	uint64_t cursor;
	uint64_t bytes; /* taken for counts */
	uint64_t max;	/* what the image's refcounts can hold */
	uint64_t end;	/* one behind the last cluster ever allocated here */
};

/* Calls @fn for each entry of the refcount table that is not zero, in order, until it returns an error. */
int q_co_each_refcount_block(struct qcow2 *q, int (*fn)(void *opaque, uint64_t i, uint64_t off),
			     void *opaque);
/* @empty: do not read the refcounts there are (they are to be replaced whole). */
int q_co_counts_load(struct qcow2 *q, struct q_counts *c, bool empty);
void q_counts_free(struct q_counts *c);
uint64_t q_counts_get(const struct q_counts *c, uint64_t cluster);
/* -EOVERFLOW: the image's refcounts are too narrow; -EIO: dropped below zero. */
int q_counts_add(struct q_counts *c, uint64_t cluster, uint64_t n, int delta);
/* Takes over what the file's block @i says, in @rb. *absurd: some are more than INT32_MAX, which they are taken for. */
int q_counts_take_block(struct q_counts *c, uint64_t i, const uint8_t *rb, bool *absurd);
/* Calls @differs for each cluster that @a and @b count differently, in ascending order. */
void q_counts_compare(const struct q_counts *a, const struct q_counts *b,
		      void (*differs)(void *opaque, uint64_t cluster, uint64_t a, uint64_t b),
		      void *opaque);
/* What is counted now is in use in the old state: not to be taken even if its count falls to zero. */
void q_counts_keep(struct q_counts *c);
/* @n clusters in a row that neither the old state nor the new one uses; counted once. */
int q_counts_alloc(struct q_counts *c, uint64_t n, uint64_t *cluster);
/* Counts what an L2 entry refers to, by @delta. */
int q_counts_entry(struct q_counts *c, uint64_t entry, int delta);

/* The count of the @i-th cluster of a block that is in memory. */
uint64_t q_counts_in_block(const struct q_count_block *b, uint64_t i);

#endif
