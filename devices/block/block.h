/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block nodes: a file, a format on top of it, an overlay on top of that. All are the same thing
 * with the same asynchronous operations, stacked, not branched:
 *
 *     virtio-blk --> overlay --> qcow2 --> file          qcow2 --> (backing) raw --> file
 *
 * One dispatcher (block.c) checks range, alignment, state and contract for all implementers and counts
 * what is in flight. A node belongs to one loop; every function here is for that loop's thread.
 * Completions are always called from the loop, never from blk_submit().
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/base/list.h"

struct blk_node;
struct loop;

enum blk_op {
	BLK_READ,
	BLK_WRITE,
	BLK_FLUSH,   /* everything completed before is on stable storage; off, len, iov unused */
	BLK_DISCARD, /* contents become undefined or zeroes; space is given back where possible */
	BLK_WRITE_ZEROES, /* reads as zeroes after; BLK_REQ_UNMAP: space may be given back */
	BLK_STATUS,	  /* what is stored at off: fills in *status */
};

enum blk_req_flags {
	BLK_REQ_UNMAP = 1 << 0, /* WRITE_ZEROES: deallocate where it can be */
	BLK_REQ_FUA = 1 << 1,	/* WRITE, WRITE_ZEROES: on stable storage when it completes */
	BLK_REQ_COMPRESS =
		1 << 2, /* WRITE of one whole cluster: stored compressed where that is smaller */
};

/* What is stored at a place; the answer to BLK_STATUS. */
enum blk_status_flags {
	BLK_STATUS_DATA = 1 << 0,      /* stored data in this node or below */
	BLK_STATUS_ZERO = 1 << 1,      /* reads as zeroes */
	BLK_STATUS_ALLOCATED = 1 << 2, /* determined by this node and not by its backing file */
	BLK_STATUS_COMPRESSED = 1 << 3,
	BLK_STATUS_OFFSET = 1 << 4, /* host_off is where the data begins in the file below */
};

struct blk_status {
	uint32_t flags;
	uint64_t len; /* from off, the same throughout; > 0, within the request's len */
	uint64_t host_off;
	uint32_t depth; /* 0: stored here, 1: in the backing file, ... */
};

enum {
	BLK_SECTOR_BYTES = 512, /* off and len of every request are multiples of it */
	BLK_IOV_MAX = 1024,
};

/*
 * One request, memory of the caller's from submit to done; zero it, then fill in the first group.
 * Buffers may have any alignment and length (bounce is the file node's business); the sum of the
 * iov is len for READ and WRITE.
 */
struct blk_req {
	enum blk_op op;
	uint32_t flags;
	uint64_t off; /* bytes */
	uint64_t len; /* bytes */
	const struct iovec *iov;
	unsigned int niov;
	struct blk_status *status; /* BLK_STATUS */
	/* @err 0 or -errno (-EIO, -ENOSPC, ...). On the loop's thread; may submit, may free the request. */
	void (*done)(struct blk_req *req, int err);
	void *opaque;

	/* The engine's. */
	struct blk_node *node; /* it was submitted to */
	uint64_t at;	       /* off, or where it is in the file that a format passed it on to */
	uint32_t tag;	       /* the format's */
	enum blk_op fua_op;    /* the op whose FUA flush is under way */
	bool fua_flushing;
	int err;
	struct list link;
};

/*
 * Queues it. Always succeeds: whatever is wrong, a range outside the node included (-EINVAL), is told by
 * done(). Concurrent overlapping requests may be served in any order, as on a disk.
 */
void blk_submit(struct blk_node *n, struct blk_req *req);

/* Size in bytes, a multiple of BLK_SECTOR_BYTES (a raw file's odd tail
 * reads as zeroes up to the next one). */
uint64_t blk_size(const struct blk_node *n);
bool blk_read_only(const struct blk_node *n);
/* "raw", "qcow2", ... and the path or description, for messages. */
const char *blk_format(const struct blk_node *n);
const char *blk_name(const struct blk_node *n);
/* The granularity at which discard gives space back, in bytes (a cluster; a file system block). */
uint32_t blk_discard_granularity(const struct blk_node *n);
/* Bytes it takes up on the host (st_blocks of its file). */
uint64_t blk_allocated_bytes(struct blk_node *n);
/* The node that shows through where this one stores nothing, or NULL. */
struct blk_node *blk_backing(const struct blk_node *n);
/* For tools: as many threads for compression and buffered I/O on this node's loop (2 unless told). */
void blk_set_workers(struct blk_node *n, unsigned int max);
/* Requests submitted and not done. */
unsigned int blk_in_flight(const struct blk_node *n);

/* Opening. */
enum blk_open_flags {
	BLK_OPEN_RDWR = 1 << 0,
	BLK_OPEN_NO_LOCK = 1 << 1,    /* tools: info of an image in use */
	BLK_OPEN_BUFFERED = 1 << 2,   /* no O_DIRECT */
	BLK_OPEN_NO_BACKING = 1 << 3, /* tools: only the file itself */
	/* Backing files anywhere and of probed format, as qemu-img follows them; without it only those of a
	 * recorded format and beside the image (or below its directory), or named in struct blk_open_opts. */
	BLK_OPEN_ANY_BACKING = 1 << 4,
	BLK_OPEN_CHECK =
		1
		<< 5, /* tools: to repair a qcow2: it may be marked corrupt; one that was not closed
			   is not repaired by opening it */
	BLK_OPEN_EMPTY = 1 << 6, /* tools: a raw file of no bytes is an image, too */
};

/* What else an opening may say; zeroed for none. Only read during the call. */
struct blk_open_opts {
	const char *const
		*allow_backing; /* paths a backing file may have wherever it is; NULL-terminated */
	const char *snapshot;	/* a qcow2's internal snapshot, id or name: opened read-only */
	const char *shown; /* what messages call the top image, once it is open; NULL: its path */
	struct blk_node *
		*fault; /* tests: puts a fault injector (fault.h) on the image's file, told here */
};

/*
 * Opens @path with all it stands on. @format "raw", "qcow2" or NULL to probe (a probed raw image may
 * never become another format by what the guest writes in its first sector: block.c says how).
 * Locked as QEMU locks it (OFD locks on the same bytes). Each failure is logged once.
 * -> 0 and *out, -ENOENT, -EACCES, -EISDIR, -EBUSY (in use), -EINVAL (not an image, damaged),
 * -ENOTSUP (a feature we lack), -ELOOP (backing files), -errno.
 */
int blk_open(struct loop *l, const char *path, const char *format, unsigned int flags,
	     struct blk_node **out);
int blk_open_with(struct loop *l, const char *path, const char *format, unsigned int flags,
		  const struct blk_open_opts *opts, struct blk_node **out);

/*
 * Flushes what is cached, closes and unlocks it and all below. Nothing is in flight. NULL is fine.
 * For start-up and shut-down only: it runs the loop itself (loop_run_until). -> 0 or the first
 * error of the last flush, after which the node is gone all the same.
 */
int blk_close(struct blk_node *n);

/*
 * One request from start to end, for start-up and tools, where no loop is running (asserted): it runs the
 * loop until the request is done. -> 0 or -errno.
 */
int blk_pread(struct blk_node *n, void *buf, size_t len_bytes, uint64_t off);
int blk_pwrite(struct blk_node *n, const void *buf, size_t len_bytes, uint64_t off);
int blk_flush(struct blk_node *n);

#endif
