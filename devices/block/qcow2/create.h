/* SPDX-License-Identifier: Apache-2.0 */
/* Making qcow2 images, and changing what their header says. */
#ifndef BLOCK_QCOW2_CREATE_H
#define BLOCK_QCOW2_CREATE_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/block/qcow2/header.h"

struct blk_node;

struct qcow2_create {
	uint64_t size;		/* bytes, a multiple of 512 */
	uint32_t version;	/* 2 or 3; 0: 3 */
	uint32_t cluster_bytes; /* 0: 64 KiB */
	uint32_t refcount_bits; /* 0: 16 */
	bool lazy_refcounts, ext_l2;
	uint8_t compression;	    /* QCOW2_COMPRESSION_* */
	const char *backing;	    /* or NULL */
	const char *backing_format; /* or NULL */
	const char *data_file;	    /* or NULL; made by the caller */
	bool data_file_raw;
};

/*
 * Writes an image without contents to the empty file open as @fd; nothing is synced. Blocks, for
 * tools. -> 0; -EINVAL: options that do not go together, after one log line that names them;
 * -EFBIG: too large for this cluster size; -errno.
 */
int qcow2_create(int fd, const struct qcow2_create *o);

/* The header of an open qcow2 node, for info. */
const struct qcow2_header *qcow2_header_of(const struct blk_node *n);

/* In a coroutine: allocates every cluster without writing data (preallocation=metadata). */
int qcow2_co_preallocate(struct blk_node *n);
/* In a coroutine: another virtual size. What is cut off is discarded, what is added reads as zeroes.
 * -EBUSY: smaller than a snapshot allows; -EFBIG. */
int qcow2_co_resize(struct blk_node *n, uint64_t size);
/* In a coroutine: what the file has behind its last cluster in use goes when the node is closed. */
int qcow2_co_drop_tail(struct blk_node *n);
/* In a coroutine: records another backing file (NULL: none), without touching any data. */
int qcow2_co_set_backing_name(struct blk_node *n, const char *name, const char *format);

#endif
