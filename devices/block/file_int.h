/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the file node, for file*.c only: file.c says how it works. */
#ifndef BLOCK_FILE_INT_H
#define BLOCK_FILE_INT_H

#include "devices/block/aio.h"
#include "devices/block/node.h"
#include "vmm/base/checked.h"
#include "vmm/core/workers.h"

enum { FILE_ALIGN = 4096 }; /* of bounce buffers */

enum file_mode { FILE_DIRECT, FILE_MEMORY, FILE_BUFFERED };

struct file_node {
	struct blk_node node;
	int fd;
	enum file_mode mode;
	bool block_device;
	uint32_t mem_align; /* of buffers, for O_DIRECT */
	uint64_t end;	    /* length in bytes */
	bool no_nowait;	    /* learnt: RWF_NOWAIT is unsupported */
	bool no_fdsync;	    /* learnt: IOCB_CMD_FDSYNC is */
	bool no_zero_range;

	bool dirty; /* written since the last flush began */
	bool flushing;
	int flush_err; /* sticky */
	struct list flush_now;
	struct list flush_next;
	struct aio_op flush_aio;
	struct work flush_work;

	struct list op_pool;
	struct list bounce_pool;
	unsigned int n_bounce;
};

struct file_op {
	struct aio_op aio;
	struct work work;
	struct file_node *f;
	struct blk_req *req;
	uint64_t done_bytes;
	uint64_t step_bytes;
	void *bounce;
	struct iovec bounce_iov;
	bool nowait;
	long res;
};

static inline struct file_node *to_file(const struct blk_node *n)
{
	return container_of(n, struct file_node, node);
}

/* ---- file_rw.c: operations on the file, reads and writes ---- */

/* From the pool. NULL: out of memory. */
struct file_op *file_op_get(struct file_node *f, struct blk_req *req);
/* Answers its request and puts it back. */
void file_op_finish(struct file_op *op, int err);
/* Its work runs on another thread. */
void file_to_worker(struct file_op *op);
void file_pools_free(struct file_node *f);
void file_submit_rw(struct file_node *f, struct blk_req *req);

/* ---- file_range.c: discard, zeroes, status ---- */

void file_submit_range(struct file_node *f, struct blk_req *req);
void file_submit_status(struct file_node *f, struct blk_req *req);

/* ---- file_flush.c ---- */

void file_flush_init(struct file_node *f);
void file_submit_flush(struct file_node *f, struct blk_req *req);

/* ---- file.c ---- */

int file_truncate(struct blk_node *n, uint64_t size);

#endif
