/* SPDX-License-Identifier: Apache-2.0 */
/* Making qcow2 images, resizing, recording a backing file. */
/*
 * How it works. A new image is header, refcount table, refcount blocks and L1 table in this order, all
 * but a few sectors of it zeroes, so the file is set to its length and only those are written. How
 * many blocks it takes depends on how many clusters they take themselves: a few rounds settle it.
 *
 * Resizing changes the size in the header's sector alone where the L1 table is long enough, and
 * otherwise switches to a longer one as a shadow change (shadow.c). A smaller disk is
 * discarded first, so nothing of it comes back when it grows again.
 */
#include "devices/block/qcow2/create.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/shadow.h"
#include "devices/block/qcow2/refcount_bits.h"
#include "vmm/base/endian.h"

/* ---- making ---- */

static int refuse(const char *why)
{
	log_error("qcow2 options: %s", why);
	return -EINVAL;
}

static int fill_header(const struct qcow2_create *o, struct qcow2_header *h)
{
	uint32_t cluster = o->cluster_bytes ? o->cluster_bytes : 65536;
	uint32_t bits = o->refcount_bits ? o->refcount_bits : 16;
	*h = (struct qcow2_header){ .version = o->version ? o->version : 3,
				    .size = o->size,
				    .compression = o->compression };
	if (h->version != 2 && h->version != 3)
		return refuse("compat is 0.10 or 1.1");
	if (!is_pow2(cluster) || cluster < 512 || cluster > (2u << 20))
		return refuse("cluster_size is a power of two from 512 to 2M");
	if (!is_pow2(bits) || bits > 64)
		return refuse("refcount_bits is a power of two from 1 to 64");
	h->cluster_bits = (uint32_t)__builtin_ctz(cluster);
	h->refcount_order = (uint32_t)__builtin_ctz(bits);
	bool needs_v3 =
		bits != 16 || o->lazy_refcounts || o->ext_l2 || o->compression || o->data_file;
	if (h->version == 2 && needs_v3)
		return refuse("these need compat=1.1");
	if (o->ext_l2 && h->cluster_bits < QCOW2_EXT_L2_CLUSTER_BITS_MIN)
		return refuse("extended_l2 needs a cluster_size of 16k at least");
	if (o->data_file_raw && (!o->data_file || o->backing))
		return refuse("data_file_raw needs data_file and goes with no backing file");
	if (o->size % 512 || o->size > INT64_MAX)
		return refuse("the size is a multiple of 512 below 8E");
	h->incompat = (o->data_file ? QCOW2_INCOMPAT_DATA_FILE : 0) |
		      (o->compression ? QCOW2_INCOMPAT_COMPRESSION : 0) |
		      (o->ext_l2 ? QCOW2_INCOMPAT_EXT_L2 : 0);
	h->compat = o->lazy_refcounts ? QCOW2_COMPAT_LAZY : 0;
	h->autoclear = o->data_file_raw ? QCOW2_AUTOCLEAR_RAW_DATA : 0;
	return 0;
}

static int copy_name(char *to, size_t room, const char *from)
{
	if (!from)
		return 0;
	if (strlen(from) >= room)
		return refuse("a file name is too long");
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

struct layout {
	uint64_t rb_clusters, rt_clusters, l1_clusters, total;
};

static int lay_out(struct qcow2_header *h, struct layout *l)
{
	bool ext = h->incompat & QCOW2_INCOMPAT_EXT_L2;
	uint32_t bits = h->cluster_bits;
	uint64_t cluster = UINT64_C(1) << bits, per_rb = (cluster * 8) >> h->refcount_order;
	uint64_t l1 = MAX(qcow2_l1_needed(h->size, bits, ext), UINT64_C(1));
	if (l1 > QCOW2_L1_BYTES_MAX / 8)
		return -EFBIG;
	*l = (struct layout){ .l1_clusters = div_round_up(l1 * 8, cluster),
			      .rb_clusters = 1,
			      .rt_clusters = 1 };
	uint64_t before;
	do {
		before = l->rb_clusters + l->rt_clusters;
		l->total = 1 + l->rt_clusters + l->rb_clusters + l->l1_clusters;
		l->rb_clusters = div_round_up(l->total, per_rb);
		l->rt_clusters = div_round_up(l->rb_clusters * 8, cluster);
	} while (l->rb_clusters + l->rt_clusters != before);
	h->l1_entries = (uint32_t)l1;
	h->rt_off = cluster;
	h->rt_clusters = (uint32_t)l->rt_clusters;
	h->l1_off = (1 + l->rt_clusters + l->rb_clusters) << bits;
	return 0;
}

static int write_at(int fd, const void *buf, uint64_t bytes, uint64_t off)
{
	const uint8_t *p = buf;
	while (bytes) {
		ssize_t n = pwrite(fd, p, bytes, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		off += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

/* Header, table and blocks; the L1 table is a hole. */
static int write_tables(int fd, const struct qcow2_header *h, const struct layout *l, uint8_t *buf)
{
	uint64_t cluster = UINT64_C(1) << h->cluster_bits;
	uint64_t first_rb = 1 + l->rt_clusters, per_rb = (cluster * 8) >> h->refcount_order;
	int err = qcow2_header_write(h, NULL, 0, buf, cluster);
	if (err)
		return err == -ENOSPC ? refuse("the header does not fit into such a cluster") : err;
	err = write_at(fd, buf, cluster, 0);
	for (uint64_t i = 0; i < l->rb_clusters && !err; i++) {
		uint8_t e[8];
		put_be64(e, (first_rb + i) << h->cluster_bits);
		err = write_at(fd, e, 8, h->rt_off + i * 8);
		uint64_t n = MIN(per_rb, l->total - i * per_rb);
		memset(buf, 0, cluster);
		for (uint64_t k = 0; k < n; k++)
			q_rb_set(buf, k, h->refcount_order, 1);
		uint64_t bytes = align_up(((n << h->refcount_order) + 7) / 8, 512);
		if (!err)
			err = write_at(fd, buf, bytes, (first_rb + i) << h->cluster_bits);
	}
	return err;
}

int qcow2_create(int fd, const struct qcow2_create *o)
{
	struct qcow2_header *h = calloc(1, sizeof(*h));
	uint8_t *buf = NULL;
	struct layout l = { 0 };
	int err = h ? fill_header(o, h) : -ENOMEM;
	if (!err)
		err = copy_name(h->backing, sizeof(h->backing), o->backing);
	if (!err)
		err = copy_name(h->backing_format, sizeof(h->backing_format), o->backing_format);
	if (!err)
		err = copy_name(h->data_file, sizeof(h->data_file), o->data_file);
	if (!err)
		err = lay_out(h, &l);
	if (!err && !(buf = malloc((size_t)1 << h->cluster_bits)))
		err = -ENOMEM;
	if (!err && ftruncate(fd, (off_t)(l.total << h->cluster_bits)) < 0)
		err = -errno;
	if (!err)
		err = write_tables(fd, h, &l, buf);
	free(buf);
	free(h);
	return err;
}

const struct qcow2_header *qcow2_header_of(const struct blk_node *n)
{
	return &q_node(n)->h;
}

/* ---- preallocating ---- */

/* As many unallocated clusters at @off as one page of L2 and one run of free clusters allow. */
static int preallocate_some(struct qcow2 *q, uint64_t off, uint64_t *len)
{
	struct q_page *p = NULL;
	uint32_t i;
	uint64_t cluster = off >> q->cluster_bits, got = 0, n = *len >> q->cluster_bits;
	bool fresh = true;
	int err = q_co_l2_for_write(q, off, &p, &i);
	if (err)
		return err;
	got = n = MIN(n, (uint64_t)(q_page_entries(q) - i));
	if (!q->data_file)
		err = q_co_alloc_locked(q, n, &cluster, &got, &fresh);
	for (uint64_t k = 0; k < got && !err; k++) {
		uint64_t zero = fresh || q->ext_l2 ? 0 : Q_ZERO;
		uint64_t bitmap = fresh ? Q_SUB_ALL_ALLOC : Q_SUB_ALL_ZERO;
		q_l2_set(q, p, i + (uint32_t)k,
			 ((cluster + k) << q->cluster_bits) | Q_COPIED | zero, bitmap);
	}
	q_cache_put(p);
	*len = got << q->cluster_bits;
	return err;
}

int qcow2_co_preallocate(struct blk_node *n)
{
	struct qcow2 *q = q_node(n);
	int err = q_co_begin_write(q);
	uint64_t end = align_up(n->size, q->cluster_bytes);
	for (uint64_t off = 0; off < end && !err;) {
		struct q_extent e;
		err = q_co_map(q, off, end - off, &e);
		uint64_t len = align_up(e.len, q->cluster_bytes);
		if (!err && e.type == Q_UNALLOCATED && !n->backing) {
			co_mutex_lock(q_co(q), &q->alloc_lock);
			err = preallocate_some(q, off, &len);
			co_mutex_unlock(&q->alloc_lock);
		}
		off += len;
		q_commit_if_full(q);
	}
	return err;
}

/* ---- resizing ---- */

/* A longer L1 table. Frozen and settled. */
static int switch_l1(struct qcow2 *q, uint64_t size, uint64_t entries)
{
	struct q_counts c;
	uint8_t *l1 = NULL, *mem = calloc(entries, 8);
	uint64_t old_bytes = (uint64_t)q->h.l1_entries * 8;
	struct qcow2_header next = q->h;
	int err = mem ? q_co_counts_load(q, &c, false) : -ENOMEM;
	if (!mem)
		return err;
	if (!err)
		err = q_co_read_table(q, q->h.l1_off, old_bytes, &l1);
	if (!err) {
		memcpy(mem, l1, old_bytes);
		err = q_counts_add(&c, q->h.l1_off >> q->cluster_bits,
				   div_round_up(old_bytes, q->cluster_bytes), -1);
	}
	if (!err)
		err = q_co_write_table(&c, mem, entries * 8, &next.l1_off);
	next.l1_entries = (uint32_t)entries;
	next.size = size;
	if (!err)
		err = q_co_switch(&c, &next);
	free(l1);
	free(mem);
	q_counts_free(&c);
	return err;
}

static int set_size(struct qcow2 *q, uint64_t size)
{
	uint64_t entries = qcow2_l1_needed(size, q->cluster_bits, q->ext_l2);
	if (entries > QCOW2_L1_BYTES_MAX / 8)
		return -EFBIG;
	if (entries > q->h.l1_entries)
		return switch_l1(q, size, entries);
	uint8_t b[8];
	put_be64(b, size);
	int err = q_co_update_header(q, QCOW2_AT_SIZE, b, sizeof(b));
	if (!err)
		q->h.size = q->node.size = size;
	return err;
}

/* What the new end cuts off; a partial cluster is zeroed. */
static int cut_off(struct qcow2 *q, uint64_t size)
{
	uint64_t old = q->node.size, edge = MIN(align_up(size, q->cluster_bytes), old);
	int err = edge > size ? q_co_write_zeroes(q, size, edge - size, true) : 0;
	if (!err && old > edge)
		err = q->h.version >= 3 ? q_co_write_zeroes(q, edge, old - edge, true)
					: q_co_discard(q, edge, old - edge);
	return err;
}

int qcow2_co_resize(struct blk_node *n, uint64_t size)
{
	struct qcow2 *q = q_node(n);
	uint64_t old = n->size;
	if (n->read_only)
		return -EROFS;
	if (size % 512 || size > INT64_MAX)
		return -EINVAL;
	if (size < old && q->h.n_snapshots)
		return -EBUSY;
	int err = q_co_begin_write(q);
	if (!err && size < old)
		err = cut_off(q, size);
	if (err)
		return err;
	q_co_freeze(q);
	err = q_co_settle(q);
	if (!err)
		err = set_size(q, size);
	q_thaw(q);
	if (!err && q->data_file)
		err = blk_truncate(q->data_file, size);
	/* A backing file longer than the old disk must not show in what is new. */
	uint64_t shown = !err && size > old ? q_backing_bytes(q, old, size - old) : 0;
	return shown ? q_co_write_zeroes(q, old, shown, true) : err;
}

/* ---- the backing file's name ---- */

int qcow2_co_drop_tail(struct blk_node *n)
{
	struct qcow2 *q = q_node(n);
	int err = q_co_begin_write(q);
	if (err)
		return err;
	q_co_freeze(q);
	err = q_co_settle(q); /* what was dropped is free now */
	uint64_t count = 0;
	while (!err && q->alloc_end > 1) {
		err = q_co_refcount(q, q->alloc_end - 1, &count);
		if (err || count)
			break;
		q->alloc_end--;
	}
	q_thaw(q);
	return err;
}

int qcow2_co_set_backing_name(struct blk_node *n, const char *name, const char *format)
{
	struct qcow2 *q = q_node(n);
	struct qcow2_header next = q->h;
	next.backing[0] = next.backing_format[0] = '\0';
	int err = copy_name(next.backing, sizeof(next.backing), name);
	if (!err)
		err = copy_name(next.backing_format, sizeof(next.backing_format), format);
	if (!err)
		err = q_co_begin_write(q);
	if (err)
		return err;
	q_co_freeze(q);
	err = q_co_settle(q);
	uint8_t *old = q_alloc_aligned(q->cluster_bytes), *new = q_alloc_aligned(q->cluster_bytes);
	uint8_t *unknown = malloc(q->cluster_bytes);
	if (!err)
		err = old && new &&unknown ? q_co_read_cluster(q, 0, old) : -ENOMEM;
	if (!err) {
		size_t kept = qcow2_header_unknown(old, q->cluster_bytes, &q->h, unknown);
		err = qcow2_header_write(&next, unknown, kept, new, q->cluster_bytes);
	}
	if (!err)
		err = q_co_write_cluster(q, 0, new);
	if (!err)
		err = blk_co_flush(n->file);
	if (!err) {
		next.header_bytes = next.version < 3 ? QCOW2_V2_HEADER_BYTES : QCOW2_HEADER_BYTES;
		q->h = next;
		memcpy(q->head, new, sizeof(q->head));
	}
	free(old);
	free(new);
	free(unknown);
	q_thaw(q);
	return err;
}
