/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of a whole qcow2 image that a crash either undoes or completes: snapshots, repair, resize.
 * For qcow2/ only. All of it in a coroutine, while the image is frozen and settled.
 */
#ifndef BLOCK_QCOW2_SHADOW_H
#define BLOCK_QCOW2_SHADOW_H

#include "devices/block/qcow2/counts.h"

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
