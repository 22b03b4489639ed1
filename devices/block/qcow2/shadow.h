/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of a whole qcow2 image that a crash either undoes or completes: snapshots, repair, resize.
 * For qcow2*.c only. All of it in a coroutine, while the image is frozen and settled.
 */
#ifndef BLOCK_QCOW2_SHADOW_H
#define BLOCK_QCOW2_SHADOW_H

#include "devices/block/qcow2/int.h"

/* The refcounts of the image as they will be. Zeroed but for what q_co_counts_load() fills in. */
struct q_counts {
	struct qcow2 *q;
	uint32_t **chunks; /* one for each refcount block; NULL: all zero */
	uint8_t *dirty;	   /* for each: differs from the file */
	uint64_t *rb_off;  /* for each: where its block is now, 0: nowhere */
	uint64_t n_chunks;
	uint64_t cursor;
	uint64_t bytes; /* taken for chunks */
	uint64_t max;	/* what the image's refcounts can hold */
	uint64_t end;	/* one behind the last cluster ever allocated here */
};

/* @empty: do not read the refcounts there are (they are to be replaced whole). */
int q_co_counts_load(struct qcow2 *q, struct q_counts *c, bool empty);
void q_counts_free(struct q_counts *c);
uint64_t q_counts_get(const struct q_counts *c, uint64_t cluster);
/* -EOVERFLOW: the image's refcounts are too narrow; -EIO: dropped below zero. */
int q_counts_add(struct q_counts *c, uint64_t cluster, uint64_t n, int delta);
/* Sets a count to what it must be. */
int q_counts_set(struct q_counts *c, uint64_t cluster, uint64_t value);
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

/*
 * Writes the new refcount blocks and table to clusters that were free, flushes, and then switches
 * the header to @h in one sector: before that write the old state holds, after it the new one. On
 * success the node works on the new state; on failure on the old one.
 */
int q_co_switch(struct q_counts *c, const struct qcow2_header *h);

/* Whole-cluster I/O with a buffer of the cluster's size. */
int q_co_read_cluster(struct qcow2 *q, uint64_t off, uint8_t *buf);
int q_co_write_cluster(struct qcow2 *q, uint64_t off, const uint8_t *buf);
/* A table of @bytes, rounded up to clusters, at new clusters. */
int q_co_write_table(struct q_counts *c, const void *data, uint64_t bytes, uint64_t *off);
/* A cluster that q_buf_get() gave, at a new place: without a copy of it. */
int q_co_place_cluster(struct q_counts *c, const uint8_t *buf, uint64_t *off);
/* Reads @bytes (any number) at @off into memory to free; room for the last sector is there. */
int q_co_read_table(struct qcow2 *q, uint64_t off, uint64_t bytes, uint8_t **out);
/* Memory for O_DIRECT, zeroed. */
uint8_t *q_alloc_aligned(uint64_t bytes);

#endif
