/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into a snapshot: its disk, and where its VM state is in the file. */
/*
 * How it works. A node that shows a snapshot is the image with the snapshot's L1 table in place of the
 * disk's, read-only. VM state is not read here: whoever wants it maps the clusters that
 * qcow2_co_vm_extents() tells; and whoever is about to write some gets clusters from
 * qcow2_co_reserve(), which exist in memory only until a snapshot names them.
 */
#include "devices/block/qcow2/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot_int.h"
#include "vmm/base/endian.h"
#include "vmm/base/zero.h"

/* A snapshot among those of the image; the list is to be freed. */
struct found {
	struct qcow2 *q;
	struct qcow2_snapshot *v, *s;
	uint32_t n;
};

/* The snapshot, checked; f->v is to be freed, on an error, too. */
static int look_up(struct blk_node *n, const char *what, struct found *f)
{
	*f = (struct found){ .q = q_node(n) };
	if (!blk_is_qcow2(n))
		return -ENOTSUP;
	int err = qcow2_co_snapshots(n, &f->v, &f->n);
	if (err)
		return err;
	int64_t i = q_snapshot_find(f->v, f->n, what);
	err = i < 0 ? (int)i : q_snapshot_check(f->q, &f->v[i]);
	if (!err)
		f->s = &f->v[i];
	return err;
}

bool qcow2_co_snapshots_are_current(struct blk_node *n)
{
	const struct qcow2_header *h = &q_node(n)->h;
	uint8_t head[BLK_SECTOR_BYTES];
	return !blk_co_read(n->file, head, sizeof(head), 0) &&
	       get_be32(head + QCOW2_AT_SNAPSHOTS) == h->n_snapshots &&
	       get_be64(head + QCOW2_AT_SNAPSHOTS_OFF) == h->snapshots_off;
}

int qcow2_co_view_snapshot(struct blk_node *n, const char *id_or_name)
{
	struct found f;
	int err = look_up(n, id_or_name, &f);
	if (err) {
		log_error("%s: there is no snapshot \"%s\": charmvm image snapshot -l lists them",
			  n->name, id_or_name);
	} else {
		struct qcow2 *q = q_node(n);
		q_cache_drop(q);
		q->h.l1_off = f.s->l1_off;
		q->h.l1_entries = f.s->l1_entries;
		q->h.size = n->size = f.s->disk_bytes;
		n->read_only = true;
	}
	qcow2_snapshots_free(f.v, f.n);
	return err;
}

/* Adds a run, or makes the last one longer. */
static int add_extent(struct qcow2_vm_extent **v, uint32_t *n, uint64_t vm_off, uint64_t host,
		      uint64_t bytes)
{
	struct qcow2_vm_extent *last = *n ? &(*v)[*n - 1] : NULL;
	if (last && last->vm_off + last->bytes == vm_off && last->host_off + last->bytes == host) {
		last->bytes += bytes;
		return 0;
	}
	if (!(*n & (*n - 1))) { /* full at every power of two */
		uint64_t room = *n ? (uint64_t)*n * 2 : 1;
		struct qcow2_vm_extent *more = realloc(*v, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		*v = more;
	}
	(*v)[(*n)++] = (struct qcow2_vm_extent){ vm_off, host, bytes };
	return 0;
}

static int extents_of_table(struct qcow2 *q, const uint8_t *l2, uint64_t base,
			    struct qcow2_vm_extent **v, uint32_t *n)
{
	const uint8_t *end = l2 + q->cluster_bytes, *at = l2;
	int err = 0;
	for (; !err && (at = mem_skip_zero(at, end, Q_SKIP_BYTES)) < end; at += q->l2_entry_bytes) {
		uint64_t e = get_be64(at), host = e & Q_OFF_MASK;
		uint64_t i = (uint64_t)(at - l2) / q->l2_entry_bytes;
		if (e & Q_COMPRESSED)
			return -ENOTSUP;
		if (!host || (!q->ext_l2 && (e & Q_ZERO)))
			continue;
		if ((host & (q->cluster_bytes - 1)) || host >= q->node.file->size)
			return q_corrupt(q, "bad L2 entry", e);
		err = add_extent(v, n, base + (i << q->cluster_bits), host, q->cluster_bytes);
	}
	return err;
}

int qcow2_co_vm_extents(struct blk_node *n, const char *id_or_name, struct qcow2_vm_extent **v,
			uint32_t *count)
{
	struct found f;
	uint8_t *l1 = NULL, *l2;
	*v = NULL;
	*count = 0;
	int err = look_up(n, id_or_name, &f);
	if (!err)
		err = q_co_read_table(f.q, f.s->l1_off, (uint64_t)f.s->l1_entries * 8, &l1);
	l2 = !err ? q_buf_get(f.q) : NULL;
	if (!err && !l2)
		err = -ENOMEM;
	uint64_t disk = err ? 0 : qcow2_l1_needed(f.s->disk_bytes, f.q->cluster_bits, f.q->ext_l2);
	for (uint64_t i = disk; !err && i < f.s->l1_entries; i++) {
		uint64_t e = get_be64(l1 + i * 8);
		if (!(e & Q_OFF_MASK))
			continue;
		err = q_co_snapshot_l2(f.q, e, l2);
		if (!err)
			err = extents_of_table(f.q, l2,
					       (i - disk) << (f.q->cluster_bits + f.q->l2_bits), v,
					       count);
	}
	if (l2)
		q_buf_put(f.q, l2);
	free(l1);
	qcow2_snapshots_free(f.v, f.n);
	if (err) {
		free(*v);
		*v = NULL;
		*count = 0;
	}
	return err;
}

int qcow2_co_vm_read(struct blk_node *n, const struct qcow2_vm_extent *v, uint32_t count, void *buf,
		     uint64_t len, uint64_t vm_off)
{
	uint64_t end;
	int err = ck_add(vm_off, len, &end) ? 0 : -EINVAL;
	memset(buf, 0, err ? 0 : len);
	for (uint32_t i = 0; i < count && !err; i++) {
		uint64_t from = MAX(v[i].vm_off, vm_off);
		uint64_t to = MIN(v[i].vm_off + v[i].bytes, end);
		if (from < to)
			err = blk_co_read(n->file, (uint8_t *)buf + (from - vm_off), to - from,
					  v[i].host_off + (from - v[i].vm_off));
	}
	return err;
}

int qcow2_vm_fd(const struct blk_node *n)
{
	return n->file ? file_fd(n->file) : -1;
}

/* ---- reserving ---- */

int qcow2_co_reserve(struct blk_node *n, uint64_t bytes, uint64_t *host_off)
{
	struct qcow2 *q = q_node(n);
	if (n->read_only || q->data_file)
		return n->read_only ? -EROFS : -ENOTSUP;
	if (bytes && q->reserved_n)
		return -EBUSY;
	co_mutex_lock(q_co(q), &q->alloc_lock);
	/* Behind everything in use, so that the allocator never comes across it by chance. */
	uint64_t first = q->alloc_end, count = div_round_up(bytes, q->cluster_bytes);
	int err = blk_truncate(n->file, MAX(n->file->size, (first + count) << q->cluster_bits));
	if (!err) {
		q->reserved_from = first;
		q->reserved_n = count;
		q_used_fresh(q, first, count); /* written to, whatever becomes of the snapshot */
		*host_off = first << q->cluster_bits;
	}
	co_mutex_unlock(&q->alloc_lock);
	return err;
}

int qcow2_co_vm_write(struct blk_node *n, const void *buf, uint64_t bytes, uint64_t host_off)
{
	const struct qcow2 *q = q_node(n);
	const uint64_t from = q->reserved_from << q->cluster_bits,
		       room = q->reserved_n << q->cluster_bits;
	if (host_off < from || host_off - from > room || bytes > room - (host_off - from))
		return -EINVAL;
	return blk_co_write(n->file, buf, bytes, host_off);
}

/* ---- naming it, in a new snapshot ---- */

bool q_snapshot_extents_fine(const struct qcow2 *q, const struct qcow2_snapshot_new *s)
{
	uint64_t mask = q->cluster_bytes - 1, at = 0;
	for (uint32_t i = 0; i < s->n_extents; i++) {
		const struct qcow2_vm_extent *x = &s->extents[i];
		uint64_t last;
		if (((x->vm_off | x->host_off | x->bytes) & mask) || !x->bytes || x->vm_off < at ||
		    !ck_add(x->vm_off, x->bytes, &at) || !ck_add(x->host_off, x->bytes, &last) ||
		    last > Q_HOST_MAX)
			return false;
	}
	return true;
}

/* All of them first: then no table is placed on top of a reserved one. */
int q_snapshot_count_extents(struct q_snapshot_op *o, const struct qcow2_snapshot_new *s)
{
	uint32_t bits = o->q->cluster_bits;
	int err = 0;
	for (uint32_t i = 0; i < s->n_extents && !err; i++) {
		const struct qcow2_vm_extent *x = &s->extents[i];
		err = q_counts_add(&o->counts, x->host_off >> bits, x->bytes >> bits, 1);
		o->counts.end = MAX(o->counts.end, (x->host_off + x->bytes) >> bits);
	}
	return err;
}

/* The L1 entry of the VM state that maps [base, base + span), from the extents. */
static int place_vm_table(struct q_snapshot_op *o, const struct qcow2_snapshot_new *s,
			  uint64_t base, uint64_t span, uint64_t *entry)
{
	struct qcow2 *q = o->q;
	bool any = false;
	memset(o->l2, 0, q->cluster_bytes);
	for (uint32_t i = 0; i < s->n_extents; i++) {
		const struct qcow2_vm_extent *x = &s->extents[i];
		uint64_t from = MAX(x->vm_off, base), to = MIN(x->vm_off + x->bytes, base + span);
		for (uint64_t at = from; at < to; at += q->cluster_bytes) {
			uint64_t host = x->host_off + (at - x->vm_off);
			uint8_t *e = o->l2 + ((at - base) >> q->cluster_bits) * q->l2_entry_bytes;
			put_be64(e, host);
			if (q->ext_l2)
				put_be64(e + 8, Q_SUB_ALL_ALLOC);
			any = true;
		}
	}
	*entry = 0;
	return any ? q_co_snapshot_place_l2(o, entry) : 0;
}

/* An L1 table for the snapshot that maps the VM state, too. The L2 tables of the disk stay. */
int q_co_snapshot_place_vm_l1(struct q_snapshot_op *o, const struct qcow2_snapshot_new *s,
			      const uint8_t *l1, uint64_t *off, uint32_t *entries)
{
	struct qcow2 *q = o->q;
	uint64_t span = UINT64_C(1) << (q->cluster_bits + q->l2_bits);
	uint64_t disk = qcow2_l1_needed(q->h.size, q->cluster_bits, q->ext_l2);
	uint64_t last = s->n_extents ? s->extents[s->n_extents - 1].vm_off +
					       s->extents[s->n_extents - 1].bytes
				     : 0;
	uint64_t n = disk + div_round_up(last, span);
	if (n * 8 > QCOW2_L1_BYTES_MAX)
		return -EFBIG;
	uint8_t *mem = calloc(n, 8);
	if (!mem)
		return -ENOMEM;
	memcpy(mem, l1, disk * 8);
	int err = 0;
	for (uint64_t i = disk; i < n && !err; i++) {
		uint64_t e = 0;
		err = place_vm_table(o, s, (i - disk) * span, span, &e);
		put_be64(mem + i * 8, e);
	}
	if (!err)
		err = q_co_write_table(&o->counts, mem, n * 8, off);
	if (!err) /* the table it replaces */
		err = q_counts_add(&o->counts, q->h.l1_off >> q->cluster_bits,
				   div_round_up((uint64_t)q->h.l1_entries * 8, q->cluster_bytes),
				   -1);
	*entries = (uint32_t)n;
	free(mem);
	return err;
}
