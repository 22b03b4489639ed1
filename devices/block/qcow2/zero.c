/* SPDX-License-Identifier: Apache-2.0 */
/* Discard and write-zeroes on a qcow2 image: by changing the mapping wherever that is possible. */
/*
 * How it works. Whole clusters (with extended entries: subclusters, for zeroes) are changed in their
 * L2 entries only, one page of L2 at a time under alloc_lock, marked busy. What is left at the edges
 * of a write-zeroes is written as data, unless it reads as zeroes already; the edges of a discard
 * are left alone, as a disk may.
 *
 * What an entry becomes:
 *   write-zeroes   v3: the zero flag; the cluster is kept as a preallocation unless UNMAP is asked
 *                  for or it is shared. v2: unallocated if no backing file shows, else data.
 *   discard        without a backing file: unallocated. With one, v3: zero, since the old contents
 *                  of the backing file must not come back; v2: no change.
 * With an external data file both are passed to it; entries stay as they are.
 */
#include <errno.h>

#include "devices/block/qcow2/int.h"

struct change {
	struct qcow2 *q;
	bool discard;
	bool unmap;
};

/* Guest bytes from @off to the end of its page of L2. */
static uint64_t left_in_page(const struct qcow2 *q, uint64_t off)
{
	uint64_t span = (uint64_t)q_page_entries(q) << q->cluster_bits;
	return span - (off & (span - 1));
}

/* Whether an unallocated cluster at @off reads as zeroes. */
static bool nothing_shows(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	return !q_backing_bytes(q, off, len);
}

static int set_and_drop(struct qcow2 *q, struct q_page *p, uint32_t i, uint64_t entry,
			uint64_t bitmap)
{
	uint64_t old = q_l2_entry(q, p, i);
	if (old == entry && q_l2_bitmap(q, p, i) == bitmap)
		return 0;
	q_l2_set(q, p, i, entry, bitmap);
	return entry & Q_OFF_MASK ? 0 : q_drop_entry(q, old, true);
}

/* One whole cluster of a write-zeroes. */
static int zero_entry(const struct change *c, struct q_page *p, uint32_t i, uint64_t off)
{
	struct qcow2 *q = c->q;
	uint64_t old = q_l2_entry(q, p, i);
	if (!old && nothing_shows(q, off, q->cluster_bytes) && !q_l2_bitmap(q, p, i))
		return 0;
	if (q->h.version < 3)
		return set_and_drop(q, p, i, 0, 0);
	bool keep = !c->unmap && !(old & Q_COMPRESSED) && (old & Q_COPIED) && (old & Q_OFF_MASK);
	uint64_t entry = keep ? (old & Q_OFF_MASK) | Q_COPIED : 0;
	return set_and_drop(q, p, i, q->ext_l2 ? entry : entry | Q_ZERO,
			    q->ext_l2 ? Q_SUB_ALL_ZERO : 0);
}

/* One whole cluster of a discard. */
static int discard_entry(const struct change *c, struct q_page *p, uint32_t i, uint64_t off)
{
	struct qcow2 *q = c->q;
	uint64_t old = q_l2_entry(q, p, i), bits = q_l2_bitmap(q, p, i);
	bool bare = nothing_shows(q, off, q->cluster_bytes);
	if (!(old & Q_OFF_MASK) && !(old & Q_COMPRESSED) && !(bare && (old || bits)))
		return 0;
	if (bare)
		return set_and_drop(q, p, i, 0, 0);
	if (q->h.version < 3)
		return 0;
	return set_and_drop(q, p, i, q->ext_l2 ? 0 : Q_ZERO, q->ext_l2 ? Q_SUB_ALL_ZERO : 0);
}

/* Clusters of one page, [off, off + len). With alloc_lock held and the clusters busy. */
static int change_page(const struct change *c, uint64_t off, uint64_t len)
{
	struct qcow2 *q = c->q;
	struct q_page *p;
	uint32_t i;
	int err = q_co_l2_for_write(q, off, &p, &i);
	if (err)
		return err;
	for (uint64_t at = 0; at < len && !err; at += q->cluster_bytes, i++)
		err = c->discard ? discard_entry(c, p, i, off + at) : zero_entry(c, p, i, off + at);
	q_cache_put(p);
	return err;
}

/* -> whether there is nothing to change from @off on; *len how far that is so. */
static int already_so(const struct change *c, uint64_t off, uint64_t *len, bool *so)
{
	struct q_extent e;
	int err = q_co_map(c->q, off, *len, &e);
	*so = false;
	if (err)
		return err;
	if (e.type == Q_UNALLOCATED && (c->discard || nothing_shows(c->q, off, e.len))) {
		*so = true;
		*len = e.len;
	}
	return 0;
}

static int change_clusters(const struct change *c, uint64_t off, uint64_t end)
{
	struct qcow2 *q = c->q;
	while (off < end) {
		uint64_t len = end - off;
		bool so;
		int err = already_so(c, off, &len, &so);
		uint64_t skip = so ? align_down(len, q->cluster_bytes) : 0;
		if (!err && skip) {
			off += skip;
			continue;
		}
		len = MIN(end - off, left_in_page(q, off));
		if (!err)
			err = q_co_verify(q, off);
		if (!err && q->corrupt)
			err = -EIO;
		if (err)
			return err;
		uint64_t first = off >> q->cluster_bits;
		uint64_t last = (off + len - 1) >> q->cluster_bits;
		q_co_busy_wait(q, first, last);
		struct q_busy busy;
		q_busy_begin(q, &busy, first, last);
		co_mutex_lock(q_co(q), &q->alloc_lock);
		err = change_page(c, off, len);
		co_mutex_unlock(&q->alloc_lock);
		q_busy_end(q, &busy);
		if (err)
			return err;
		off += len;
	}
	return 0;
}

/* [off, off + len) to whole clusters; the disk's last cluster may be cut short. */
static void whole_clusters(const struct qcow2 *q, uint64_t off, uint64_t len, uint64_t *first,
			   uint64_t *end)
{
	*first = align_up(off, q->cluster_bytes);
	*end = off + len == q->node.size ? align_up(off + len, q->cluster_bytes)
					 : align_down(off + len, q->cluster_bytes);
	if (*end < *first)
		*end = *first;
}

int q_co_discard(struct qcow2 *q, uint64_t off, uint64_t len)
{
	if (q->data_file)
		return blk_co_rwv(q->data_file, BLK_DISCARD, NULL, 0, len, off, 0);
	struct change c = { .q = q, .discard = true };
	uint64_t first, end;
	whole_clusters(q, off, len, &first, &end);
	return change_clusters(&c, first, end);
}

/* ---- zeroes where the mapping cannot say so ---- */

static int write_zero_data(struct qcow2 *q, uint64_t off, uint64_t end)
{
	while (off < end) {
		struct q_extent e;
		int err = q_co_map(q, off, end - off, &e);
		if (err)
			return err;
		bool zero = e.type == Q_ZERO_ALLOC || e.type == Q_ZERO_PLAIN ||
			    (e.type == Q_UNALLOCATED && nothing_shows(q, off, e.len));
		if (!zero)
			err = q_co_write(q, off, e.len, NULL, 0);
		if (err)
			return err;
		off += e.len;
	}
	return 0;
}

int q_co_write_zeroes(struct qcow2 *q, uint64_t off, uint64_t len, bool unmap)
{
	struct change c = { .q = q, .unmap = unmap };
	uint64_t first, end;
	whole_clusters(q, off, len, &first, &end);
	bool by_mapping =
		!q->data_file && (q->h.version >= 3 || nothing_shows(q, first, end - first));
	if (!by_mapping || first >= end)
		return write_zero_data(q, off, off + len);
	int err = write_zero_data(q, off, MIN(first, off + len));
	if (!err)
		err = change_clusters(&c, first, end);
	if (!err && end < off + len)
		err = write_zero_data(q, end, off + len);
	return err;
}
