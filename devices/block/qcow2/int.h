/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The qcow2 node from the inside; for qcow2*.c only. Everything here runs on the loop's thread.
 * "co" in a name: in a coroutine, it may yield. Where nothing says so, it does not.
 */
#ifndef BLOCK_QCOW2_INT_H
#define BLOCK_QCOW2_INT_H

#include "devices/block/node.h"
#include "devices/block/qcow2/header.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

#define Q_OFF_MASK	UINT64_C(0x00fffffffffffe00)
#define Q_COPIED	(UINT64_C(1) << 63)
#define Q_COMPRESSED	(UINT64_C(1) << 62)
#define Q_ZERO		UINT64_C(1)
#define Q_L1_RESERVED	UINT64_C(0x7f000000000001ff)
#define Q_L2_RESERVED	UINT64_C(0x3f000000000001fe)
#define Q_SUB_ALL_ALLOC UINT64_C(0x00000000ffffffff)
#define Q_SUB_ALL_ZERO	UINT64_C(0xffffffff00000000)
#define Q_HOST_MAX	(UINT64_C(1) << 56)

enum {
	Q_PAGE_BYTES_MAX = 4096,
	Q_SUBCLUSTERS = 32,
	Q_SKIP_BYTES = 128,    /* what is looked at of a table at once, whether there is anything */
	Q_CACHE_PAGES = 2048,  /* 8 MiB of 4 KiB pages: the mapping of 64 GiB in 64 KiB clusters */
	Q_RECENT = 64,	       /* L2 pages found without their L1: 2 GiB in 64 KiB clusters */
	Q_DIRTY_PAGES = 1024,  /* above it, a commit starts by itself */
	Q_FREES_MAX = 16384,   /* pending frees above it, likewise */
	Q_GROW_BYTES = 4 << 20 /* the file grows by this at least */
};

/* ---- metadata pages: cache.c ---- */

enum q_kind { Q_L1, Q_L2, Q_RT, Q_RB };

/* A piece of a table in memory. */
struct q_page {
	uint64_t off; /* in the file, a multiple of the page size */
	uint8_t *data;
	enum q_kind kind;
	bool valid;    /* read, or made; false while it is being read */
	bool dirty;    /* differs from the file, and no commit has taken it yet */
	bool verified; /* L2: every entry is fit to be written through */
	bool used;     /* since the clock's hand came by */
	uint32_t pins;
	int err; /* of reading it */
	struct co_queue readers;
	struct q_page *hash_next;
	struct list link;	/* all pages, in the clock's order */
	struct list dirty_link; /* dirty ones */
};

struct q_cache {
	struct q_page **buckets;
	uint32_t n_buckets; /* a power of two */
	uint32_t n_pages;
	uint32_t n_dirty;
	struct list pages;
	struct list dirty;
	struct list spare; /* unused pages with their memory */
	uint64_t epoch;	   /* moves on when a page leaves, or an L1 entry changes */
};

/* A set of cluster numbers: what is known to be metadata. */
struct q_set {
	uint64_t *slots; /* cluster + 1; 0 is empty */
	uint32_t n_slots;
	uint32_t used;
};

/* ---- the mapping: map.c ---- */

enum q_type { Q_UNALLOCATED, Q_ZERO_PLAIN, Q_ZERO_ALLOC, Q_NORMAL, Q_COMPRESSED_CLUSTER };

/* Guest bytes that are stored the same way. */
struct q_extent {
	enum q_type type;
	bool copied;	/* refcount one: may be written in place */
	bool verified;	/* its page was checked for writing */
	uint64_t len;	/* bytes, > 0 */
	uint64_t host;	/* of the first byte, for NORMAL and ZERO_ALLOC */
	uint64_t entry; /* the first cluster's, for COMPRESSED */
};

/* The L2 page of some guest bytes, as found before; it holds while the cache is in that epoch. */
struct q_recent {
	uint64_t epoch; /* 0: none */
	uint64_t span;	/* which of the stretches of guest bytes that one page maps */
	struct q_page *page;
	bool copied; /* the table is this disk's alone */
};

/* Freed when the change that dropped it is durable and nobody reads it any more. */
struct q_free {
	uint64_t cluster;
	uint32_t count;
	bool punch;
};

struct q_frees {
	struct q_free *v;
	uint32_t n, room;
};

/* Guest clusters whose mapping a write is changing. */
struct q_busy {
	uint64_t first, last; /* clusters, inclusive */
	struct list link;
};

struct qcow2 {
	struct blk_node node;
	struct blk_node *data; /* where guest data is: node.file or data_file */
	struct blk_node *data_file;
	struct qcow2_header h;
	uint8_t head[512]; /* the first sector as it is on disk */
	struct co_mutex header_lock;
	struct log_limit limit;

	/* Geometry. */
	uint32_t cluster_bits, cluster_bytes;
	uint32_t l2_bits;	 /* log2 of entries in an L2 table */
	uint32_t l2_entry_bytes; /* 8 or 16 */
	uint32_t sub_bits;	 /* log2 of bytes in a subcluster; cluster_bits without them */
	uint32_t page_bytes;
	uint32_t span_bits; /* log2 of guest bytes that a page of L2 maps */
	uint32_t rb_bits;   /* log2 of entries in a refcount block */

	bool ext_l2;
	bool writable_begun; /* autoclear and such are done: writes may go ahead */
	bool corrupt;

	struct q_cache cache;
	struct q_recent recent[Q_RECENT]; /* by the span's low bits */
	struct q_set meta;

	/* Allocation; alloc_lock is held over whatever yields in it. */
	struct co_mutex alloc_lock;
	uint64_t cursor;     /* first cluster that may be free */
	uint64_t fresh_from; /* clusters from here on were never used: zeroes in the file */
	uint64_t alloc_end;  /* one behind the last cluster in use, as far as known */
	uint64_t reserved_from, reserved_n; /* clusters set aside in memory only */
	struct q_frees frees;		    /* dropped since the last commit began */
	struct q_frees frees_durable;	    /* dropped durably, to be applied by the reaper */
	bool reaping;
	struct co_queue reap_done;

	/* Commits: commit.c. */
	bool committing;
	uint64_t commits_begun, commits_ended;
	int commit_err;
	struct co_queue commit_done;

	/* Requests. */
	struct list busy; /* of struct q_busy */
	struct co_queue busy_done;
	unsigned int active; /* requests being served */
	unsigned int io_epoch;
	unsigned int io_count[2]; /* data I/O in flight, by the epoch it was mapped in */
	struct co_queue io_drained;
	bool frozen;
	struct list held; /* requests that wait for thaw */
	struct co_queue idle;
	struct list bufs; /* spare cluster buffers */
	unsigned int n_bufs;
	uint8_t *zeroes; /* a cluster of them, once needed */

	/* Compression: compress.c. */
	struct q_packer *packer;
	struct q_inflated *inflated;
	struct q_codecs *codecs;
	uint32_t drops; /* of compressed clusters, ever */
};

static inline struct qcow2 *q_node(const struct blk_node *n)
{
	return container_of(n, struct qcow2, node);
}

static inline struct co_sched *q_co(const struct qcow2 *q)
{
	return q->node.ctx->co;
}

/* ---- cache.c ---- */

int q_cache_init(struct qcow2 *q);
void q_cache_free(struct qcow2 *q);
/* The page at @off if it is there to be used, or NULL. Valid until the next yield. */
struct q_page *q_cache_peek(struct qcow2 *q, uint64_t off);
/* The page that holds byte @off, read if need be, pinned until q_cache_put(). -> 0 or -errno. */
int q_co_cache_get(struct qcow2 *q, uint64_t off, enum q_kind kind, struct q_page **out);
/* A page of zeroes that is not read, pinned and dirty. -> 0 or -ENOMEM. */
int q_cache_new(struct qcow2 *q, uint64_t off, enum q_kind kind, struct q_page **out);
void q_cache_put(struct q_page *p);
void q_cache_dirty(struct qcow2 *q, struct q_page *p);
/* Forgets everything; nothing is dirty or pinned. */
void q_cache_drop(struct qcow2 *q);
/* Forgets what is cached of a freed table, [off, off + len). */
void q_cache_forget(struct qcow2 *q, uint64_t off, uint64_t len);

int q_set_add(struct q_set *s, uint64_t cluster); /* -> 0 or -ENOMEM */
bool q_set_has(const struct q_set *s, uint64_t cluster);
void q_set_remove(struct q_set *s, uint64_t cluster);
void q_set_clear(struct q_set *s);

/* ---- refcount.c ---- */

/* The refcount of a cluster. -> 0 or -errno. */
int q_co_refcount(struct qcow2 *q, uint64_t cluster, uint64_t *out);
/* Adds @delta (negative: drops, at once, without waiting for anything: see q_drop()). */
int q_co_refcount_add(struct qcow2 *q, uint64_t cluster, uint64_t count, int delta);
uint64_t q_refcount_max(const struct qcow2 *q);
/*
 * Up to @want clusters in a row with refcount one; @got at least one. *fresh: they read as zeroes in
 * the file. Takes alloc_lock. -> 0, -ENOSPC, -EFBIG, -EIO (hostile refcounts).
 */
int q_co_alloc(struct qcow2 *q, uint64_t want, uint64_t *cluster, uint64_t *got, bool *fresh);
/* As q_co_alloc() with alloc_lock held. */
int q_co_alloc_locked(struct qcow2 *q, uint64_t want, uint64_t *cluster, uint64_t *got,
		      bool *fresh);
/* All of @n or nothing, for tables. With alloc_lock held. */
int q_co_alloc_exact(struct qcow2 *q, uint64_t n, uint64_t *cluster);
/*
 * Clusters [first, first + n) were taken, or set aside, and may be written to, even if nothing comes of it: whoever
 * has them next must not believe that they read as zeroes. -> whether they did until now.
 */
bool q_used_fresh(struct qcow2 *q, uint64_t first, uint64_t n);
/* How many blocks the refcount table has room for. */
uint64_t q_rt_entries(const struct qcow2 *q);
/* Where the refcount block of @cluster is, 0: it has none. -> 0 or -errno, -EIO for a hostile table. */
int q_co_rb_offset(struct qcow2 *q, uint64_t cluster, uint64_t *off);
/* The file reaches to the end of cluster @end - 1 at least; whatever is new in it reads as zeroes. -> 0 or -errno. */
int q_file_reach(struct qcow2 *q, uint64_t end);

/* ---- refcount_grow.c ---- */

/* Makes the refcount block of @cluster, and a larger table where it needs one. With alloc_lock held. -> 0 or -errno. */
int q_co_new_rb(struct qcow2 *q, uint64_t cluster);
/* Writes zeroes over a whole cluster of the file, for a table to begin with. -> 0 or -errno. */
int q_co_zero_cluster(struct qcow2 *q, uint64_t cluster);

/* ---- drop.c ---- */

/* Drops one reference to each, when the next commit is durable. */
int q_drop(struct qcow2 *q, uint64_t cluster, uint32_t count, bool punch);
/* Applies frees_durable after everybody who may still use them has finished. */
void q_reap_start(struct qcow2 *q);
void q_co_reap_wait(struct qcow2 *q);

/* ---- map.c ---- */

/* What is at guest byte @off, as far as it goes on the same way within @len and one page of L2.
 * Needs both pages in the cache: -EAGAIN if they are not. -EIO: a bad entry; the image is marked. */
int q_map(struct qcow2 *q, uint64_t off, uint64_t len, struct q_extent *out);
int q_co_map(struct qcow2 *q, uint64_t off, uint64_t len, struct q_extent *out);
/* The L2 page for guest byte @off, pinned, for reading; *page NULL where there is no table. */
int q_co_l2_page(struct qcow2 *q, uint64_t off, struct q_page **page, uint32_t *entry);
/* Checks every entry of an L2 page before the first write through it. */
int q_co_verify(struct qcow2 *q, uint64_t off);
uint64_t q_l2_entry(const struct qcow2 *q, const struct q_page *p, uint32_t i);
uint64_t q_l2_bitmap(const struct qcow2 *q, const struct q_page *p, uint32_t i);
void q_l2_set(struct qcow2 *q, struct q_page *p, uint32_t i, uint64_t entry, uint64_t bitmap);
/* Where a compressed cluster's data is: first byte, and bytes to read, whole sectors. */
void q_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *off, uint64_t *len);
/* The index of the L1 entry for guest byte @off. */
uint64_t q_l1_index(const struct qcow2 *q, uint64_t off);
/* -> 0, or -EIO: one that no L1 table may have; the image is marked. */
int q_check_l1_entry(struct qcow2 *q, uint64_t e);
/* Where the L2 entry for guest byte @off is, in the table at @table; both are bytes. */
uint64_t q_l2_entry_at(const struct qcow2 *q, uint64_t table, uint64_t off);
/* Drops what an L2 entry refers to. */
int q_drop_entry(struct qcow2 *q, uint64_t entry, bool punch);
/* Entries of one page of L2. (Divisions by what is a power of two are shifts: they are in every request's way.) */
static inline uint32_t q_page_entries(const struct qcow2 *q)
{
	return q->page_bytes >> (q->ext_l2 ? 4 : 3);
}
/* Where byte @off of the file is in its page, in bytes; the index of the L2 entry there. */
static inline uint32_t q_in_page(const struct qcow2 *q, uint64_t off)
{
	return (uint32_t)off & (q->page_bytes - 1);
}
static inline uint32_t q_l2_index(const struct qcow2 *q, uint64_t off)
{
	return q_in_page(q, off) >> (q->ext_l2 ? 4 : 3);
}

/* ---- l2_table.c ---- */

/*
 * The L2 page for guest byte @off, pinned, in a table that may be written (made or copied if need be).
 * With alloc_lock held. *entry: the index of its entry in the page.
 */
int q_co_l2_for_write(struct qcow2 *q, uint64_t off, struct q_page **page, uint32_t *entry);

/* ---- commit.c ---- */

/* Everything changed so far is durable when it returns 0. */
int q_co_commit(struct qcow2 *q);
/* Starts one in the background if too much is dirty. */
void q_commit_if_full(struct qcow2 *q);
/* Commits and reaps until nothing is left to do. */
int q_co_settle(struct qcow2 *q);

/* ---- req.c: requests, the fast path ---- */

void qcow2_submit(struct blk_node *n, struct blk_req *req);
void qcow2_finished(struct blk_node *n, struct blk_req *req);
/* Stops new requests and waits until none is active; they go on with q_thaw(). */
void q_co_freeze(struct qcow2 *q);
void q_thaw(struct qcow2 *q);
/* Something that a freeze waits for. */
void q_active_begin(struct qcow2 *q);
void q_active_end(struct qcow2 *q);

/* Data of this image is in use from begin to end (reaper rule 2). -> the epoch to end. */
unsigned int q_io_begin(struct qcow2 *q);
void q_io_end(struct qcow2 *q, unsigned int epoch);

/* Several I/Os at once for one coroutine. Zeroed but for q. */
struct q_fan {
	struct qcow2 *q;
	unsigned int pending;
	int err;
	struct co *waiter;
};

/* Data I/O on the part [skip, skip + len) of the iov; @own: on clusters of this image (reaper rule 2). */
void q_fan_submit(struct q_fan *f, struct blk_node *n, enum blk_op op, const struct iovec *iov,
		  unsigned int niov, uint64_t skip, uint64_t len, uint64_t off, bool own);
/* -> 0 or the first error, when all are done. */
int q_co_fan_wait(struct q_fan *f);

/* A cluster's worth of memory, aligned for O_DIRECT. -> NULL: none. */
uint8_t *q_buf_get(struct qcow2 *q);
void q_buf_put(struct qcow2 *q, uint8_t *buf);
/* A cluster of zeroes, or NULL. */
const uint8_t *q_zeroes(struct qcow2 *q);

/* Waits until no write is changing clusters [first, last]. -> whether it waited (look again). */
bool q_co_busy_wait(struct qcow2 *q, uint64_t first, uint64_t last);
void q_busy_begin(struct qcow2 *q, struct q_busy *b, uint64_t first, uint64_t last);
void q_busy_end(struct qcow2 *q, struct q_busy *b);

/* ---- read.c, write.c, zero.c ---- */

int q_co_read(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
	      unsigned int niov);
int q_co_status(struct qcow2 *q, uint64_t off, uint64_t len, struct blk_status *out);
/* @iov NULL: zeroes. */
int q_co_write(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
	       unsigned int niov);
int q_co_write_zeroes(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap);
/*
 * Sets the entry of one guest cluster, whose new contents are in place, and drops the old one. Makes
 * the table if need be. The cluster is busy.
 */
int q_co_set_entry(struct qcow2 *q, uint64_t off, uint64_t entry);
int q_co_discard(struct qcow2 *q, uint64_t off, uint64_t len);
/* Bytes from @off on, at most @len, that show the backing file; *out their number; 0: zeroes. */
uint64_t q_backing_bytes(const struct qcow2 *q, uint64_t off, uint64_t len);
/* ---- qcow2.c ---- */

/* Before the first change: autoclear bits, bitmaps. -> 0 or -errno. */
int q_co_begin_write(struct qcow2 *q);
/* Changes bytes of the first sector, on disk and durably. What it refers to is durable already. */
int q_co_update_header(struct qcow2 *q, uint32_t at, const void *bytes, uint32_t len);
/* A bad entry was met: refuses writes from now on, marks the file. -> -EIO */
int q_corrupt(struct qcow2 *q, const char *what, uint64_t value);
/* Where the tables are has changed: what is metadata is gathered anew. */
int q_note_tables(struct qcow2 *q);

/* ---- compress.c ---- */

/* One whole compressed cluster, inflated, into @out. */
int q_co_read_compressed(struct qcow2 *q, uint64_t entry, uint8_t *out);
/* Whole guest clusters (the last one of the disk may be cut short), compressed where it pays. */
int q_co_write_compressed(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
			  unsigned int niov);
/* Writes out what is gathered, before the mapping that refers to it. */
int q_co_packer_flush(struct qcow2 *q);
void q_compress_free(struct qcow2 *q);
/* A cluster became free: nothing more may be packed into it. */
void q_packer_forget(struct qcow2 *q, uint64_t cluster);
/* A compressed cluster was dropped: its place may hold other data soon. */
void q_inflated_forget(struct qcow2 *q, uint64_t entry);

/* ---- bitmap.c ---- */

/* Marks the bitmaps that follow the disk as no longer in step. */
int q_co_bitmaps_begin_write(struct qcow2 *q);

#endif
