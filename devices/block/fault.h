/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault injector: a node on top of a file that fails requests by rule and keeps a log of what
 * would be lost in a power cut. For tests and `charmvm image io`.
 */
#ifndef BLOCK_FAULT_H
#define BLOCK_FAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/block/block.h"

/* Requests of this kind fail from the @nth one on (0: the next), @count of them. */
struct fault_rule {
	uint32_t ops; /* bits 1 << BLK_WRITE, ... */
	uint64_t nth;
	uint64_t count;
	int err;	/* -EIO, -ENOSPC */
	bool half_done; /* WRITE: the first half of it gets through (a short write) */
};

enum fault_log_kind {
	FAULT_LOG_WRITE,
	FAULT_LOG_ZERO, /* write-zeroes and discards: reads as zeroes after */
	FAULT_LOG_TRUNCATE,
	FAULT_LOG_FLUSH_BEGIN,
	FAULT_LOG_FLUSH_END, /* what was done before the matching begin is durable */
	FAULT_LOG_MARK,	     /* fault_mark() */
};

/* A thing that happened to the file, in order of submission (a flush's end: of completion). */
struct fault_log {
	enum fault_log_kind kind;
	bool done; /* a write: it completed before the next flush began */
	uint64_t off, len;
	uint8_t *data;	  /* WRITE */
	uint64_t id;	  /* FLUSH_*: which; MARK: its number */
	uint64_t done_at; /* entries in the log when it completed */
};

/* In a coroutine or not: wraps @file, which it owns on success. */
int fault_open(struct blk_node *file, struct blk_node **out);
/* NULL: none. Counting begins anew. */
void fault_set_rule(struct blk_node *n, const struct fault_rule *rule);
/* Requests seen that the rule's ops match, since it was set. */
uint64_t fault_matched(const struct blk_node *n);
void fault_start_log(struct blk_node *n);
void fault_mark(struct blk_node *n, uint64_t number);
/* The log; the node's. */
const struct fault_log *fault_get_log(const struct blk_node *n, uint64_t *count);

#endif
