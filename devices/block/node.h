/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What block nodes are made of; for files of devices/block/ only.
 *
 * A node implements struct blk_ops. The dispatcher (block.c) has checked range, alignment and
 * state before ops->submit() sees a request, and a node answers each with exactly one blk_finish(),
 * at once or later: blk_finish() sees to it that done() is never called from inside blk_submit().
 */
#ifndef BLOCK_NODE_H
#define BLOCK_NODE_H

#include "devices/block/block.h"
#include "vmm/core/co.h"

struct aio;
struct workers;

/* What all nodes of one loop share. */
struct blk_ctx {
	struct loop *loop;
	struct co_sched *co;
	struct aio *aio;
	struct workers *workers;
	struct list finished; /* requests whose done() is due */
	struct loop_task *finish_task;
	unsigned int in_submit; /* depth of blk_submit() */
	struct list child_pool; /* of struct blk_child */
	unsigned int refs;
};

struct blk_ops {
	const char *format;
	void (*submit)(struct blk_node *n, struct blk_req *req);
	/* A request that submit() got is about to be answered. NULL: nothing is to be done then. */
	void (*finished)(struct blk_node *n, struct blk_req *req);
	/*
	 * Flushes what is cached, frees what is the node's own, not its children. In a coroutine.
	 * -> 0 or the error of the flush.
	 */
	int (*close)(struct blk_node *n);
	/* Sets the length: a file under a format, never the guest's disk. At once. NULL: it cannot. */
	int (*truncate)(struct blk_node *n, uint64_t size);
	/* Space taken on the host, in bytes. NULL: the file's. */
	uint64_t (*allocated)(struct blk_node *n);
};

struct blk_node {
	const struct blk_ops *ops;
	struct blk_ctx *ctx;
	char *name;    /* owned; for messages */
	uint64_t size; /* bytes, a multiple of 512 */
	uint32_t discard_granularity;
	bool read_only;
	bool grows; /* requests beyond size are fine: reads give zeroes, writes extend it */
	unsigned int in_flight;
	struct blk_node *file;	  /* what it is stored in, or NULL; owned */
	struct blk_node *backing; /* what shows through, or NULL; owned */
};

/* ---- block.c ---- */

/* The loop's context, with one more reference. -> 0 or -errno. */
int blk_ctx_get(struct loop *l, struct blk_ctx **out);
void blk_ctx_put(struct blk_ctx *ctx);

/* Fills in the common part; @name is copied. -> 0 or -ENOMEM. Holds a reference on the context. */
int blk_node_init(struct blk_node *n, const struct blk_ops *ops, struct blk_ctx *ctx,
		  const char *name);
/* The end of every node that was initialised; the memory it lives in is freed. */
void blk_node_free(struct blk_node *n);
/* Closes children first to last; in a coroutine. NULL is fine. -> 0 or the first error. */
int blk_co_close(struct blk_node *n);

/* The answer to a request. From anywhere on the loop's thread. */
void blk_finish(struct blk_req *req, int err);
/* From submit(): @req, all of it, is served by @to, the node's own file, at byte @at. */
static inline void blk_pass(struct blk_req *req, struct blk_node *to, uint64_t at)
{
	req->at = at;
	to->ops->submit(to, req);
}

int blk_truncate(struct blk_node *n, uint64_t size);

/* A request of a node's to another, from the pool. */
struct blk_child {
	struct blk_req req;
	void *a; /* the sender's own */
	void *b;
	uint64_t c;
	struct iovec iov;
};

/* Never NULL: the pool grows by what the load needs, and charmvm ends when 4 KiB cannot be had. */
struct blk_child *blk_child_get(struct blk_ctx *ctx);
void blk_child_put(struct blk_ctx *ctx, struct blk_child *c);

/* ---- block_wait.c: in a coroutine, submit and wait. -> 0 or -errno ---- */

int blk_co_rw(struct blk_node *n, enum blk_op op, void *buf, size_t len, uint64_t off);
int blk_co_rwv(struct blk_node *n, enum blk_op op, const struct iovec *iov, unsigned int niov,
	       uint64_t len, uint64_t off, uint32_t flags);
int blk_co_flush(struct blk_node *n);
int blk_co_status(struct blk_node *n, uint64_t off, uint64_t len, struct blk_status *out);

static inline int blk_co_read(struct blk_node *n, void *buf, size_t len, uint64_t off)
{
	return blk_co_rw(n, BLK_READ, buf, len, off);
}

/* @buf is only read. */
static inline int blk_co_write(struct blk_node *n, const void *buf, size_t len, uint64_t off)
{
	return blk_co_rw(n, BLK_WRITE, (void *)(uintptr_t)buf, len, off);
}

/* Runs @fn(@arg) on a worker thread while the coroutine waits. */
void blk_co_work(struct blk_ctx *ctx, void (*fn)(void *arg), void *arg);

/* ---- block_iov.c ---- */

/*
 * The part [@skip, @skip + @len) of @iov, written to @out, which has room for @max. -> entries used;
 * 0 if it needs more than @max.
 */
unsigned int blk_iov_slice(const struct iovec *iov, unsigned int niov, uint64_t skip, uint64_t len,
			   struct iovec *out, unsigned int max);
/* The same, but cut off after @max entries instead of refused. */
unsigned int blk_iov_slice_some(const struct iovec *iov, unsigned int niov, uint64_t skip,
				uint64_t len, struct iovec *out, unsigned int max);
/* Zeroes / copies from / copies to that part. */
void blk_iov_zero(const struct iovec *iov, unsigned int niov, uint64_t skip, uint64_t len);
void blk_iov_read(const struct iovec *iov, unsigned int niov, uint64_t skip, void *buf,
		  uint64_t len);
void blk_iov_write(const struct iovec *iov, unsigned int niov, uint64_t skip, const void *buf,
		   uint64_t len);

/* ---- the nodes ---- */

/*
 * Opens a regular file or block device with its locks. @grows: it belongs to a format. Never creates.
 * -> 0, or -errno after one log line.
 */
int file_open(struct blk_ctx *ctx, const char *path, unsigned int flags, bool grows,
	      struct blk_node **out);
/* The file's descriptor, for tools and snapshots; NULL when it is not a file node. */
int file_fd(const struct blk_node *n);

/* Raw on top of @file, which it owns on success. @probed: guards the first sector. */
int raw_open(struct blk_node *file, bool probed, struct blk_node **out);

#endif
