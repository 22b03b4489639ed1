/* SPDX-License-Identifier: Apache-2.0 */
/* The qcow2 node: opening, closing, the header while it is open. */
/*
 * How it works, file by file, in the order in which a request meets them:
 *
 *   req.c       fast path, busy clusters, epochs, freeze
 *   read.c, write.c, zero.c, compress.c (with codec.c): the slow path
 *   map.c       L1 and L2: what is where
 *   refcount.c  taking clusters
 *   drop.c      dropping them, and when they may be taken again
 *   cache.c     metadata pages in memory
 *   commit.c    metadata back to the file: THE RULES OF ORDER ARE THERE
 *   header.c, header_write.c   the header as bytes (pure functions)
 *   shadow.c    changes of many tables as one: what snapshot*.c, vmstate.c, check.c, bitmap.c and
 *               create.c build on
 *   counts.c    the refcounts of the whole image in memory, for shadow.c and check.c
 *
 * Opening reads the first cluster and no tables: the cost does not depend on the size of the image.
 * Nothing is written before the first change (q_co_begin_write()).
 *
 * A bad entry met at run time (q_corrupt()) is logged once, makes every later write fail with -EIO,
 * and sets the corrupt bit of a version 3 header; reads of other places go on.
 */
#include "devices/block/qcow2/qcow2.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/check.h"
#include "devices/block/qcow2/int.h"
#include "vmm/base/endian.h"
#include "vmm/core/loop.h"

/* ---- the header while open ---- */

int q_co_update_header(struct qcow2 *q, uint32_t at, const void *bytes, uint32_t len)
{
	void *sector;
	if (posix_memalign(&sector, sizeof(q->head), sizeof(q->head)))
		return -ENOMEM;
	co_mutex_lock(q_co(q), &q->header_lock);
	uint8_t old[sizeof(q->head)];
	assert(len <= sizeof(old) && at + len <= sizeof(q->head));
	memcpy(old, q->head + at, len);
	memcpy(q->head + at, bytes, len);
	memcpy(sector, q->head, sizeof(q->head));
	int err = blk_co_write(q->node.file, sector, sizeof(q->head), 0);
	if (!err)
		err = blk_co_flush(q->node.file);
	if (err)
		memcpy(q->head + at, old, len);
	co_mutex_unlock(&q->header_lock);
	free(sector);
	return err;
}

static int update_u64(struct qcow2 *q, uint32_t at, uint64_t v)
{
	uint8_t b[8];
	put_be64(b, v);
	return q_co_update_header(q, at, b, sizeof(b));
}

static int begin_write_locked(struct qcow2 *q)
{
	uint64_t keep = q->h.autoclear & QCOW2_AUTOCLEAR_KNOWN;
	int err = 0;
	if (q->h.version >= 3 && keep != q->h.autoclear)
		err = update_u64(q, QCOW2_AT_AUTOCLEAR, keep);
	if (err)
		return err;
	q->h.autoclear = keep;
	err = q_co_bitmaps_begin_write(q);
	if (!err)
		q->writable_begun = true;
	return err;
}

int q_co_begin_write(struct qcow2 *q)
{
	if (q->corrupt)
		return -EIO;
	if (q->writable_begun)
		return 0;
	co_mutex_lock(q_co(q), &q->alloc_lock);
	int err = q->writable_begun ? 0 : begin_write_locked(q);
	co_mutex_unlock(&q->alloc_lock);
	return err;
}

static void co_mark_corrupt(void *arg)
{
	struct qcow2 *q = arg;
	q->h.incompat |= QCOW2_INCOMPAT_CORRUPT;
	update_u64(q, QCOW2_AT_INCOMPAT, q->h.incompat);
	q_active_end(q);
}

int q_corrupt(struct qcow2 *q, const char *what, uint64_t value)
{
	if (q->corrupt)
		return -EIO;
	q->corrupt = true;
	log_error("%s: damaged image: %s 0x%" PRIx64 "; it is not written to any more: "
		  "charmvm image check says more",
		  q->node.name, what, value);
	if (q->node.read_only || q->h.version < 3 || (q->h.incompat & QCOW2_INCOMPAT_CORRUPT))
		return -EIO;
	q_active_begin(q);
	if (co_spawn(q_co(q), co_mark_corrupt, q))
		q_active_end(q);
	return -EIO;
}

/* ---- opening ---- */

static int note_range(struct qcow2 *q, uint64_t off, uint64_t bytes)
{
	uint64_t first = off >> q->cluster_bits;
	uint64_t n = div_round_up(bytes, q->cluster_bytes);
	int err = 0;
	for (uint64_t i = 0; i < n && !err; i++)
		err = q_set_add(&q->meta, first + i);
	return err;
}

int q_note_tables(struct qcow2 *q)
{
	q_set_clear(&q->meta);
	int err = q_set_add(&q->meta, 0);
	if (!err && q->h.l1_entries)
		err = note_range(q, q->h.l1_off, (uint64_t)q->h.l1_entries * 8);
	if (!err)
		err = note_range(q, q->h.rt_off, (uint64_t)q->h.rt_clusters << q->cluster_bits);
	if (!err && q->h.n_snapshots)
		err = note_range(q, q->h.snapshots_off, 1);
	return err;
}

static void set_geometry(struct qcow2 *q)
{
	q->ext_l2 = q->h.incompat & QCOW2_INCOMPAT_EXT_L2;
	q->cluster_bits = q->h.cluster_bits;
	q->cluster_bytes = 1u << q->cluster_bits;
	q->l2_entry_bytes = q->ext_l2 ? 16 : 8;
	q->l2_bits = q->cluster_bits - (q->ext_l2 ? 4 : 3);
	q->sub_bits = q->cluster_bits - (q->ext_l2 ? 5 : 0);
	q->page_bytes = MIN(q->cluster_bytes, (uint32_t)Q_PAGE_BYTES_MAX);
	q->span_bits = q->cluster_bits + (uint32_t)__builtin_ctz(q_page_entries(q));
	q->rb_bits = q->cluster_bits + 3 - q->h.refcount_order;
	q->node.size = q->h.size;
	q->node.discard_granularity = q->cluster_bytes;
	q->node.read_only = q->node.file->read_only;
	q->alloc_end = q->fresh_from = div_round_up(q->node.file->size, q->cluster_bytes);
}

/* Reads the first cluster, as far as there is one. */
static int read_header(struct qcow2 *q, unsigned int flags)
{
	struct blk_node *file = q->node.file;
	uint8_t *buf = NULL;
	int err = blk_co_read(file, q->head, sizeof(q->head), 0);
	if (err)
		return err;
	uint32_t cluster = qcow2_header_cluster_bytes(q->head);
	size_t bytes = MAX(cluster, (uint32_t)sizeof(q->head));
	if (posix_memalign((void **)&buf, Q_PAGE_BYTES_MAX, bytes))
		return -ENOMEM;
	err = blk_co_read(file, buf, bytes, 0);
	if (!err)
		err = qcow2_header_parse(buf, bytes, file->size, q->node.name,
					 flags & BLK_OPEN_CHECK, &q->h);
	if (!err && bytes == 1u << q->h.cluster_bits)
		q_buf_put(q, buf); /* whoever needs one next has it without touching fresh pages */
	else
		free(buf);
	return err;
}

static int check_marks(struct qcow2 *q, unsigned int flags)
{
	bool write = !q->node.read_only;
	if (!(q->h.incompat & QCOW2_INCOMPAT_CORRUPT) || !write || (flags & BLK_OPEN_CHECK))
		return 0;
	log_error("%s: the image is marked as damaged and is not written to: repair it with "
		  "charmvm image check -r all",
		  q->node.name);
	return -EINVAL;
}

static void init_lists(struct qcow2 *q)
{
	co_mutex_init(&q->header_lock);
	co_mutex_init(&q->alloc_lock);
	co_queue_init(&q->reap_done);
	co_queue_init(&q->commit_done);
	co_queue_init(&q->busy_done);
	co_queue_init(&q->io_drained);
	co_queue_init(&q->idle);
	list_init(&q->busy);
	list_init(&q->held);
	list_init(&q->bufs);
}

static void free_parts(struct qcow2 *q)
{
	q_compress_free(q);
	q_cache_free(q);
	q_set_clear(&q->meta);
	free(q->frees.v);
	free(q->frees_durable.v);
	free(q->zeroes);
	while (q->n_bufs)
		free(q_buf_get(q));
}

/* ---- closing ---- */

/* What the file has grown by beyond the last cluster in use goes back. */
static void trim_tail(struct qcow2 *q)
{
	uint64_t end = q->alloc_end << q->cluster_bits;
	if (q->node.file->size > end)
		blk_truncate(q->node.file, end);
}

static int qcow2_close(struct blk_node *n)
{
	struct qcow2 *q = q_node(n);
	q_co_freeze(q);
	int err = 0;
	if (!n->read_only && q->writable_begun && !q->corrupt) {
		err = q_co_settle(q);
		if (!err)
			trim_tail(q);
	}
	q_co_reap_wait(q);
	while (q->active) /* the corrupt bit is being written */
		co_queue_wait(q_co(q), &q->idle);
	int err2 = blk_co_close(q->data_file);
	free_parts(q);
	blk_node_free(n);
	return err ? err : err2;
}

static const struct blk_ops qcow2_ops = {
	.format = "qcow2",
	.submit = qcow2_submit,
	.finished = qcow2_finished,
	.close = qcow2_close,
};

bool blk_is_qcow2(const struct blk_node *n)
{
	return n->ops == &qcow2_ops;
}

int qcow2_co_open(struct blk_node *file, unsigned int flags, struct blk_node **out)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	int err = blk_node_init(&q->node, &qcow2_ops, file->ctx, file->name);
	if (err) {
		free(q);
		return err;
	}
	init_lists(q);
	q->node.file = file;
	q->data = file;
	err = read_header(q, flags);
	if (!err) {
		set_geometry(q);
		err = check_marks(q, flags);
	}
	if (!err)
		err = q_cache_init(q);
	if (!err)
		err = q_note_tables(q);
	if (err) {
		free_parts(q);
		blk_node_free(&q->node);
		return err;
	}
	*out = &q->node;
	return 0;
}

const char *qcow2_backing_name(const struct blk_node *n)
{
	return blk_is_qcow2(n) ? q_node(n)->h.backing : "";
}

const char *qcow2_backing_format(const struct blk_node *n)
{
	return blk_is_qcow2(n) ? q_node(n)->h.backing_format : "";
}

const char *qcow2_data_file_name(const struct blk_node *n)
{
	const struct qcow2 *q = blk_is_qcow2(n) ? q_node(n) : NULL;
	return q && (q->h.incompat & QCOW2_INCOMPAT_DATA_FILE) ? q->h.data_file : "";
}

void qcow2_set_backing(struct blk_node *n, struct blk_node *backing)
{
	n->backing = backing;
}

void qcow2_set_data_file(struct blk_node *n, struct blk_node *data_file)
{
	struct qcow2 *q = q_node(n);
	q->data_file = data_file;
	q->data = data_file;
}

/* ---- coroutines for those outside ---- */

struct run_job {
	struct blk_node *node;
	int (*fn)(struct blk_node *n, void *arg);
	void *arg;
	void (*done)(void *opaque, int err);
	void *opaque;
};

static void co_run_job(void *arg)
{
	struct run_job job = *(struct run_job *)arg;
	free(arg);
	job.done(job.opaque, job.fn(job.node, job.arg));
}

int qcow2_spawn(struct blk_node *n, int (*fn)(struct blk_node *n, void *arg), void *arg,
		void (*done)(void *opaque, int err), void *opaque)
{
	struct run_job *job = malloc(sizeof(*job));
	if (!job)
		return -ENOMEM;
	*job = (struct run_job){ n, fn, arg, done, opaque };
	int err = co_spawn(n->ctx->co, co_run_job, job);
	if (err)
		free(job);
	return err;
}

struct run_result {
	int err;
	bool done;
};

static void on_run_done(void *opaque, int err)
{
	struct run_result *r = opaque;
	r->err = err;
	r->done = true;
}

int qcow2_run(struct blk_node *n, int (*fn)(struct blk_node *n, void *arg), void *arg)
{
	struct run_result r = { 0 };
	int err = qcow2_spawn(n, fn, arg, on_run_done, &r);
	if (!err)
		err = loop_run_until(n->ctx->loop, &r.done);
	return err ? err : r.err;
}

int qcow2_co_after_open(struct blk_node *n)
{
	struct qcow2 *q = q_node(n);
	if (n->read_only || !(q->h.incompat & QCOW2_INCOMPAT_DIRTY))
		return 0;
	struct qcow2_check r;
	int err = qcow2_co_check(n, QCOW2_FIX_ALL, &r);
	if (err)
		log_error("%s: it was not closed, and repairing its refcounts failed: %s", n->name,
			  strerror(-err));
	else
		log_info("%s: it was not closed; its refcounts are repaired", n->name);
	return err;
}
