/* SPDX-License-Identifier: Apache-2.0 */
/* Writing to a qcow2 image when the fast path cannot: allocation and copy on write. */
/*
 * How it works. A write is cut into pieces: a run of clusters that can be written in place, or a run
 * that needs clusters. For the latter, in this order (rule numbers of commit.c):
 *
 *   busy_begin -> L2 table of our own -> take clusters (or keep the preallocated ones)
 *      -> read what must be kept of the old contents -> write data -> [rule 1] set L2 entries
 *      -> drop the old clusters [rule 5] -> busy_end
 *
 * Head and tail of the run, where the request does not cover a whole cluster, are filled with the
 * old contents in the same write. Where those are zeroes and the clusters are fresh (never used: a
 * hole in the file), they are not written at all.
 *
 * With extended L2 entries the unit that must be filled is the subcluster, and a piece is one cluster.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/int.h"

enum { WRITE_IOV = 64, WRITE_CHUNK_MAX = 2 << 20 };

/* One piece that needs clusters. */
struct piece {
	struct qcow2 *q;
	uint64_t off, end;	     /* guest bytes to be written */
	uint64_t fill_off, fill_end; /* with head and tail */
	uint64_t first;		     /* guest cluster */
	uint64_t n;		     /* clusters */
	uint64_t host;		     /* of the first */
	bool taken;		     /* the clusters are new */
	bool fresh;
	bool old_is_zero;    /* head and tail */
	struct q_page *page; /* of L2, pinned */
	uint32_t entry;	     /* of the first, in it */
	struct q_busy busy;
	uint8_t *head, *tail;
};

/* ---- choosing ---- */

static uint64_t align_fill(const struct qcow2 *q, uint64_t v, bool up)
{
	uint64_t unit = UINT64_C(1) << q->sub_bits;
	return up ? align_up(v, unit) : align_down(v, unit);
}

/* Extended entries: whether the cluster has stored subclusters that are not ours to write. */
static bool must_copy_all(const struct piece *p, uint64_t entry, uint64_t bitmap)
{
	if (entry & Q_COMPRESSED)
		return true;
	return p->taken && (entry & Q_OFF_MASK) && (bitmap & Q_SUB_ALL_ALLOC);
}

static void choose_fill(struct piece *p)
{
	struct qcow2 *q = p->q;
	p->fill_off = p->first << q->cluster_bits;
	p->fill_end = (p->first + p->n) << q->cluster_bits;
	if (q->ext_l2 && !must_copy_all(p, q_l2_entry(q, p->page, p->entry),
					q_l2_bitmap(q, p->page, p->entry))) {
		p->fill_off = align_fill(q, p->off, false);
		p->fill_end = align_fill(q, p->end, true);
	}
}

/* The clusters' old contents are zeroes where the piece does not cover them. */
static bool reads_as_zero(const struct qcow2 *q, const struct q_extent *e, const struct piece *p)
{
	if (e->type == Q_ZERO_ALLOC || e->type == Q_ZERO_PLAIN)
		return !q->ext_l2;
	uint64_t start = p->first << q->cluster_bits;
	return e->type == Q_UNALLOCATED && !q->ext_l2 &&
	       !q_backing_bytes(q, start, p->n << q->cluster_bits);
}

/* With the table at hand and alloc_lock held: where the data goes. */
static int choose_clusters(struct piece *p, const struct q_extent *e)
{
	struct qcow2 *q = p->q;
	uint64_t entry = q_l2_entry(q, p->page, p->entry);
	p->n = MIN(p->n, (uint64_t)(q_page_entries(q) - p->entry));
	if (q->data_file) {
		p->host = p->first << q->cluster_bits;
		return 0;
	}
	bool owned = !(entry & Q_COMPRESSED) && (entry & Q_COPIED) && (entry & Q_OFF_MASK);
	if (owned && (q->ext_l2 || e->type == Q_ZERO_ALLOC)) {
		p->host = entry & Q_OFF_MASK; /* preallocated: ours, unused as yet */
		return 0;
	}
	uint64_t cluster;
	int err = q_co_alloc_locked(q, p->n, &cluster, &p->n, &p->fresh);
	if (err)
		return err;
	p->taken = true;
	p->host = cluster << q->cluster_bits;
	return 0;
}

static int prepare(struct piece *p, const struct q_extent *e)
{
	struct qcow2 *q = p->q;
	co_mutex_lock(q_co(q), &q->alloc_lock);
	int err = q_co_l2_for_write(q, p->off, &p->page, &p->entry);
	if (!err)
		err = choose_clusters(p, e);
	co_mutex_unlock(&q->alloc_lock);
	if (err)
		return err;
	p->end = MIN(p->end, (p->first + p->n) << q->cluster_bits);
	p->old_is_zero = reads_as_zero(q, e, p);
	choose_fill(p);
	return 0;
}

/* ---- old contents ---- */

static int read_old(struct qcow2 *q, uint64_t off, uint64_t end, uint8_t **out)
{
	*out = NULL;
	if (off == end)
		return 0;
	assert(end - off <= q->cluster_bytes);
	*out = q_buf_get(q);
	if (!*out)
		return -ENOMEM;
	struct iovec iov = { *out, end - off };
	return q_co_read(q, off, end - off, &iov, 1);
}

static int read_kept(struct piece *p)
{
	if (p->old_is_zero)
		return 0;
	int err = read_old(p->q, p->fill_off, p->off, &p->head);
	return err ? err : read_old(p->q, p->end, p->fill_end, &p->tail);
}

/* ---- data ---- */

static void put_iov(struct iovec *v, unsigned int *n, const uint8_t *base, uint64_t len)
{
	if (len)
		v[(*n)++] = (struct iovec){ (void *)(uintptr_t)base, len };
}

/* Zeroes in place of data: as many pieces of the zero cluster as it takes. */
static unsigned int put_zeroes(const struct qcow2 *q, struct iovec *v, uint64_t len)
{
	unsigned int n = 0;
	for (; len; n++) {
		v[n] = (struct iovec){ q->zeroes, MIN(len, (uint64_t)q->cluster_bytes) };
		len -= v[n].iov_len;
	}
	return n;
}

static int write_piece(struct piece *p, const struct iovec *iov, unsigned int niov, uint64_t skip)
{
	struct qcow2 *q = p->q;
	uint64_t len = p->end - p->off;
	bool whole = !(p->old_is_zero && p->fresh);
	if ((!iov || (whole && p->old_is_zero)) && !q_zeroes(q))
		return -ENOMEM;
	unsigned int room = (iov ? niov : (unsigned int)(len >> q->cluster_bits) + 2) + 2, n = 0;
	struct iovec few[WRITE_IOV], *v = few;
	if (room > WRITE_IOV && !(v = malloc(room * sizeof(*v))))
		return -ENOMEM;
	uint64_t from = whole ? p->fill_off : p->off, to = whole ? p->fill_end : p->end;
	if (whole)
		put_iov(v, &n, p->old_is_zero ? q->zeroes : p->head, p->off - from);
	n += iov ? blk_iov_slice(iov, niov, skip, len, v + n, room - n) : put_zeroes(q, v + n, len);
	if (whole)
		put_iov(v, &n, p->old_is_zero ? q->zeroes : p->tail, to - p->end);
	uint64_t at = p->host + (from - (p->first << q->cluster_bits));
	int err = blk_co_rwv(q->data, BLK_WRITE, v, n, to - from, at, 0);
	if (v != few)
		free(v);
	return err;
}

/* ---- the mapping ---- */

static uint64_t new_bitmap(const struct piece *p, uint64_t i, uint64_t entry, uint64_t bitmap)
{
	struct qcow2 *q = p->q;
	if (!q->ext_l2)
		return 0;
	uint64_t start = (p->first + i) << q->cluster_bits;
	unsigned int from = (unsigned int)((p->fill_off - start) >> q->sub_bits);
	unsigned int to = (unsigned int)((p->fill_end - start) >> q->sub_bits);
	uint64_t mask = ((UINT64_C(1) << (to - from)) - 1) << from;
	if (entry & Q_COMPRESSED)
		bitmap = 0;
	return (bitmap | mask) & ~(mask << 32);
}

/* Rules 1 and 5. */
static int set_entries(struct piece *p)
{
	struct qcow2 *q = p->q;
	int err = 0;
	for (uint64_t i = 0; i < p->n && !err; i++) {
		uint32_t at = p->entry + (uint32_t)i;
		uint64_t old = q_l2_entry(q, p->page, at), bits = q_l2_bitmap(q, p->page, at);
		uint64_t host = p->host + (i << q->cluster_bits);
		q_l2_set(q, p->page, at, host | Q_COPIED, new_bitmap(p, i, old, bits));
		if (p->taken)
			err = q_drop_entry(q, old, false);
	}
	return err;
}

int q_co_set_entry(struct qcow2 *q, uint64_t off, uint64_t entry)
{
	struct q_page *p = NULL;
	uint32_t i;
	co_mutex_lock(q_co(q), &q->alloc_lock);
	int err = q_co_l2_for_write(q, off, &p, &i);
	if (!err) {
		uint64_t old = q_l2_entry(q, p, i);
		q_l2_set(q, p, i, entry, 0);
		err = q_drop_entry(q, old, false);
		q_cache_put(p);
	}
	co_mutex_unlock(&q->alloc_lock);
	return err;
}

static int write_allocating(struct qcow2 *q, const struct q_extent *e, uint64_t off, uint64_t len,
			    const struct iovec *iov, unsigned int niov, uint64_t skip,
			    uint64_t *done)
{
	struct piece p = { .q = q, .off = off, .end = off + len, .first = off >> q->cluster_bits };
	p.n = ((p.end - 1) >> q->cluster_bits) - p.first + 1;
	q_busy_begin(q, &p.busy, p.first, p.first + p.n - 1);
	int err = prepare(&p, e);
	if (!err)
		err = read_kept(&p);
	if (!err)
		err = write_piece(&p, iov, niov, skip);
	if (!err)
		err = set_entries(&p);
	else if (p.taken) /* nothing has ever referred to them */
		q_co_refcount_add(q, p.host >> q->cluster_bits, p.n, -1);
	if (p.page)
		q_cache_put(p.page);
	q_buf_put(q, p.head);
	q_buf_put(q, p.tail);
	q_busy_end(q, &p.busy);
	*done = p.end - off;
	return err;
}

/* ---- pieces ---- */

/* How far one allocating piece may go. */
static uint64_t chunk_len(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t max =
		q->ext_l2 ? q->cluster_bytes : MAX((uint64_t)WRITE_CHUNK_MAX, q->cluster_bytes);
	return MIN(len, max - (off & (q->cluster_bytes - 1)));
}

/* The clusters that hold [off, off + len). */
static bool wait_for_others(struct qcow2 *q, uint64_t off, uint64_t len)
{
	return q_co_busy_wait(q, off >> q->cluster_bits, (off + len - 1) >> q->cluster_bits);
}

/* Too much is dirty and cannot be written: the guest must be told now, not when memory is gone. */
static int check_backlog(const struct qcow2 *q)
{
	return q->commit_err && q->cache.n_dirty > 2 * Q_DIRTY_PAGES ? q->commit_err : 0;
}

/* Zeroes over data that is ours, in place. */
static int zero_in_place(struct q_fan *f, const struct q_extent *e)
{
	struct qcow2 *q = f->q;
	struct iovec v = { (void *)(uintptr_t)q_zeroes(q), 0 };
	if (!v.iov_base)
		return -ENOMEM;
	for (uint64_t at = 0; at < e->len; at += v.iov_len) {
		v.iov_len = MIN(e->len - at, (uint64_t)q->cluster_bytes);
		q_fan_submit(f, q->data, BLK_WRITE, &v, 1, 0, v.iov_len, e->host + at, true);
	}
	return 0;
}

static int write_some(struct q_fan *f, uint64_t off, uint64_t len, const struct iovec *iov,
		      unsigned int niov, uint64_t skip, uint64_t *done)
{
	struct qcow2 *q = f->q;
	for (;;) {
		struct q_extent e;
		int err = q_co_map(q, off, len, &e);
		if (!err && !e.verified) {
			err = q_co_verify(q, off);
			if (!err)
				continue;
		}
		if (!err && q->corrupt)
			err = -EIO;
		if (!err)
			err = check_backlog(q);
		if (err)
			return err;
		bool in_place = e.type == Q_NORMAL && e.copied;
		uint64_t part = in_place ? e.len : chunk_len(q, off, e.len);
		if (wait_for_others(q, off, part))
			continue;
		*done = part;
		if (!in_place)
			return write_allocating(q, &e, off, part, iov, niov, skip, done);
		if (!iov)
			return zero_in_place(f, &e);
		q_fan_submit(f, q->data, BLK_WRITE, iov, niov, skip, part, e.host, true);
		return 0;
	}
}

int q_co_write(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
	       unsigned int niov)
{
	struct q_fan fan = { .q = q };
	int err = 0;
	for (uint64_t done = 0; done < len && !err;) {
		uint64_t part = 0;
		err = write_some(&fan, off + done, len - done, iov, niov, done, &part);
		done += part;
	}
	int err2 = q_co_fan_wait(&fan);
	return err ? err : err2;
}
