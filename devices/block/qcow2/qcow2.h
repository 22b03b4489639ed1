/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a qcow2 image can do beyond reading and writing. Functions named qcow2_co_* run in a coroutine
 * of the node's loop (tools: qcow2_run()); errors are logged once unless said otherwise.
 *
 * What an image tool needs, and where it is:
 *   open, read, write, sizes, chain      block.h (blk_open_with, blk_backing, blk_allocated_bytes)
 *   map, compare, sparse convert         block.h BLK_STATUS (zero, data, depth, host offset)
 *   compressed convert                   block.h BLK_REQ_COMPRESS, blk_set_workers()
 *   a snapshot as a source               block.h blk_open_opts.snapshot
 *   create, resize, rebase -u, info      create.h (qcow2_header_of() has every field)
 *   check -r                             check.h, opened with BLK_OPEN_CHECK
 *   snapshot -l -c -a -d, VM state       snapshot.h
 *   throw-away overlay, fault injector   overlay.h, fault.h
 */
#ifndef BLOCK_QCOW2_H
#define BLOCK_QCOW2_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/block/block.h"

struct blk_ctx;

/* ---- for open.c ---- */

/*
 * A qcow2 node on @file, which it owns on success. In a coroutine. Its backing and data files are not
 * opened: qcow2_backing_name(), qcow2_data_file_name() name them ("" for none).
 */
int qcow2_co_open(struct blk_node *file, unsigned int flags, struct blk_node **out);
const char *qcow2_backing_name(const struct blk_node *n);
const char *qcow2_backing_format(const struct blk_node *n);
const char *qcow2_data_file_name(const struct blk_node *n);
void qcow2_set_backing(struct blk_node *n, struct blk_node *backing);
void qcow2_set_data_file(struct blk_node *n, struct blk_node *data_file);
/* Repairs what a crash left (dirty bit), when it was opened for writing. After the files are set. */
int qcow2_co_after_open(struct blk_node *n);

/*
 * Runs @fn(@n, @arg) in a coroutine: qcow2_run() from start to end, for tools, where no loop runs; -> what
 * @fn returned. qcow2_spawn() in a running loop, which goes on: @done gets what @fn returned.
 */
int qcow2_run(struct blk_node *n, int (*fn)(struct blk_node *n, void *arg), void *arg);
int qcow2_spawn(struct blk_node *n, int (*fn)(struct blk_node *n, void *arg), void *arg,
		void (*done)(void *opaque, int err), void *opaque);

/* Whether @n is a qcow2 node. */
bool blk_is_qcow2(const struct blk_node *n);

#endif
