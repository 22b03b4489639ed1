/* SPDX-License-Identifier: Apache-2.0 */
/* Internal snapshots: create, apply, delete, rename, look into. */
/*
 * How it works. A snapshot is an L1 table of its own ("Snapshots" in the specification); data clusters
 * and L2 tables are shared by refcount. Every change here is a shadow change (shadow.c).
 *
 *   create   the snapshot keeps the present L1 and L2 tables; the disk goes on with copies of them
 *            whose entries own nothing (COPIED clear): every data cluster has one reference more.
 *   apply    the disk goes on with copies of the snapshot's tables; what it had is dropped.
 *   delete   the snapshot's references are dropped; where that leaves the disk the only owner, the L2
 *            table is copied with COPIED set.
 *
 * So an L2 table of the disk is never shared with a snapshot that we made, and the first write after
 * a snapshot copies one data cluster and no table.
 *
 * VM state lies behind the end of the disk in the snapshot's tables only, from the first L1 entry
 * on that maps no part of the disk.
 *
 * The snapshot table is kept as raw entries, so extra data that we do not know is kept as well. Our own
 * part of the extra data, behind the known 24 bytes: "charmvm1" and the parent's id, 64 bytes.
 */
#include "devices/block/qcow2/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/lock.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot_int.h"
#include "vmm/base/endian.h"

/* ---- an operation: frozen, with the table and the counts at hand ---- */

struct op {
	struct qcow2 *q;
	struct q_snapshot_table table;
	struct qcow2_snapshot *v;
	struct q_counts counts;
	struct qcow2_header next;
	uint8_t *l2; /* a cluster buffer */
};

static int begin(struct op *o, struct blk_node *n, bool is_create)
{
	struct qcow2 *q = q_node(n);
	*o = (struct op){ .q = q };
	if (n->read_only)
		return -EROFS;
	if (q->data_file)
		return -ENOTSUP;
	q_co_freeze(q);
	/* What is reserved is for a create; others would not know of it. */
	int err = q->reserved_n && !is_create ? -EBUSY : q_co_begin_write(q);
	if (!err)
		err = q_co_settle(q);
	if (!err)
		err = q_co_snapshot_table(q, &o->table);
	if (!err)
		err = q_snapshot_parse(q, &o->table, &o->v);
	if (!err)
		err = q_co_counts_load(q, &o->counts, false);
	o->l2 = q_buf_get(q);
	o->next = q->h;
	return !err && !o->l2 ? -ENOMEM : err;
}

static void end(struct op *o)
{
	struct qcow2 *q = o->q;
	if (q->node.read_only || q->data_file)
		return;
	qcow2_snapshots_free(o->v, o->table.n);
	free(o->table.mem);
	q_counts_free(&o->counts);
	q_buf_put(q, o->l2);
	q_thaw(q);
}

int q_co_snapshot_l2(struct qcow2 *q, uint64_t l1_entry, uint8_t *l2)
{
	uint64_t off = l1_entry & Q_OFF_MASK;
	if ((l1_entry & Q_L1_RESERVED) || (off & (q->cluster_bytes - 1)) ||
	    off >= q->node.file->size)
		return q_corrupt(q, "bad L1 entry", l1_entry);
	return q_co_read_cluster(q, off, l2);
}

/* Counts what the table in o->l2 refers to. */
static int count_l2(struct op *o, int delta)
{
	const uint8_t *p = o->l2, *end = p + o->q->cluster_bytes;
	uint32_t step = o->q->l2_entry_bytes;
	int err = 0;
	for (; p < end && !err; p += step) {
		uint64_t e = get_be64(p);
		if (e) /* most are not in use, in a large table */
			err = q_counts_entry(&o->counts, e, delta);
	}
	return err;
}

/* Nothing in the table in o->l2 is owned by it alone. */
static void clear_copied(struct op *o)
{
	uint8_t *p = o->l2, *end = p + o->q->cluster_bytes;
	uint32_t step = o->q->l2_entry_bytes;
	for (; p < end; p += step)
		*p &= (uint8_t) ~(Q_COPIED >> 56);
}

/* Writes o->l2 to a new cluster. -> the L1 entry for it. */
static int place_l2(struct op *o, uint64_t *entry)
{
	uint64_t off;
	int err = q_co_place_cluster(&o->counts, o->l2, &off);
	*entry = off | Q_COPIED;
	return err;
}

/* Copies the tables of @from for the disk to go on with; what they refer to has one user more. */
static int copy_tables(struct op *o, const uint8_t *from, uint32_t n, uint8_t *to)
{
	int err = 0;
	for (uint32_t i = 0; i < n && !err; i++) {
		uint64_t e = get_be64(from + (uint64_t)i * 8);
		if (!(e & Q_OFF_MASK))
			continue;
		err = q_co_snapshot_l2(o->q, e, o->l2);
		if (!err)
			err = count_l2(o, 1);
		if (err)
			break;
		clear_copied(o);
		err = place_l2(o, &e);
		put_be64(to + (uint64_t)i * 8, e);
	}
	return err;
}

/* Drops a whole tree: data, L2 tables and the L1 table itself. */
static int drop_tree(struct op *o, const uint8_t *l1, uint32_t n, uint64_t l1_off)
{
	struct qcow2 *q = o->q;
	int err = 0;
	for (uint32_t i = 0; i < n && !err; i++) {
		uint64_t e = get_be64(l1 + (uint64_t)i * 8);
		if (!(e & Q_OFF_MASK))
			continue;
		err = q_co_snapshot_l2(o->q, e, o->l2);
		if (!err)
			err = count_l2(o, -1);
		if (!err)
			err = q_counts_add(&o->counts, (e & Q_OFF_MASK) >> q->cluster_bits, 1, -1);
	}
	uint64_t clusters = div_round_up((uint64_t)n * 8, q->cluster_bytes);
	return err ? err : q_counts_add(&o->counts, l1_off >> q->cluster_bits, clusters, -1);
}

/* The disk's flags after counts fell: new copies of the tables whose flags are wrong. */
static int fix_l2_flags(struct op *o, bool *changed)
{
	uint8_t *p = o->l2, *end = p + o->q->cluster_bytes;
	uint32_t step = o->q->l2_entry_bytes, bits = o->q->cluster_bits;
	*changed = false;
	for (; p < end; p += step) {
		uint64_t e = get_be64(p), host = e & Q_OFF_MASK;
		if (!host || (e & Q_COMPRESSED))
			continue;
		bool sole = q_counts_get(&o->counts, host >> bits) == 1;
		if (sole == !!(e & Q_COPIED))
			continue;
		put_be64(p, sole ? e | Q_COPIED : e & ~Q_COPIED);
		*changed = true;
	}
	return 0;
}

static int fix_active(struct op *o)
{
	struct qcow2 *q = o->q;
	uint64_t bytes = (uint64_t)q->h.l1_entries * 8;
	uint8_t *l1;
	bool moved = false;
	int err = q_co_read_table(q, q->h.l1_off, bytes, &l1);
	for (uint32_t i = 0; i < q->h.l1_entries && !err; i++) {
		uint64_t e = get_be64(l1 + (uint64_t)i * 8), want = e;
		uint64_t cluster = (e & Q_OFF_MASK) >> q->cluster_bits;
		bool changed;
		if (!cluster)
			continue;
		err = q_co_snapshot_l2(o->q, e, o->l2);
		if (!err)
			err = fix_l2_flags(o, &changed);
		if (!err && changed) {
			err = place_l2(o, &want);
			if (!err)
				err = q_counts_add(&o->counts, cluster, 1, -1);
		} else if (!err) {
			bool sole = q_counts_get(&o->counts, cluster) == 1;
			want = sole ? e | Q_COPIED : e & ~Q_COPIED;
		}
		put_be64(l1 + (uint64_t)i * 8, want);
		moved |= want != e;
	}
	if (!err && moved) {
		err = q_counts_add(&o->counts, q->h.l1_off >> q->cluster_bits,
				   div_round_up(bytes, q->cluster_bytes), -1);
		if (!err)
			err = q_co_write_table(&o->counts, l1, bytes, &o->next.l1_off);
	}
	free(l1);
	return err;
}

/* The new snapshot table: entries [0, n) of @mem. */
static int put_table(struct op *o, const uint8_t *mem, uint64_t bytes, uint32_t n)
{
	struct qcow2 *q = o->q;
	if (q->h.n_snapshots) {
		uint64_t old = div_round_up(o->table.bytes, q->cluster_bytes);
		int err = q_counts_add(&o->counts, q->h.snapshots_off >> q->cluster_bits, old, -1);
		if (err)
			return err;
	}
	o->next.n_snapshots = n;
	o->next.snapshots_off = 0;
	return n ? q_co_write_table(&o->counts, mem, bytes, &o->next.snapshots_off) : 0;
}

/* ---- create ---- */

static int check_name(const struct op *o, const char *name)
{
	size_t len = strlen(name);
	if (!len || len > QCOW2_SNAPSHOT_NAME_MAX)
		return -EINVAL;
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return -EINVAL;
	for (uint32_t i = 0; i < o->table.n; i++)
		if (strcmp(o->v[i].name, name) == 0)
			return -EEXIST;
	return 0;
}

/* One more than the largest number among the ids. */
static void next_id(const struct op *o, char *out, size_t bytes)
{
	unsigned long max = 0;
	for (uint32_t i = 0; i < o->table.n; i++)
		max = MAX(max, strtoul(o->v[i].id, NULL, 10));
	snprintf(out, bytes, "%lu", max + 1);
}

static uint64_t put_entry(const struct op *o, const struct qcow2_snapshot_new *s, uint64_t l1_off,
			  uint32_t l1_entries, uint8_t *p)
{
	char id[24];
	next_id(o, id, sizeof(id));
	uint32_t extra = EXTRA_KNOWN_BYTES + EXTRA_OURS_BYTES;
	put_be64(p, l1_off);
	put_be32(p + 8, l1_entries);
	put_be16(p + 12, (uint16_t)strlen(id));
	put_be16(p + 14, (uint16_t)strlen(s->name));
	put_be32(p + 16, s->date_s);
	put_be32(p + 20, s->date_ns);
	put_be64(p + 24, s->vm_clock_ns);
	put_be32(p + 32, (uint32_t)MIN(s->vm_state_bytes, (uint64_t)UINT32_MAX));
	put_be32(p + 36, extra);
	uint8_t *x = p + ENTRY_BYTES;
	put_be64(x, s->vm_state_bytes);
	put_be64(x + 8, o->q->h.size);
	put_be64(x + 16, UINT64_MAX);
	memcpy(x + EXTRA_KNOWN_BYTES, q_snapshot_magic, 8);
	if (s->parent)
		memcpy(x + EXTRA_KNOWN_BYTES + 8, s->parent, strnlen(s->parent, QCOW2_PARENT_MAX));
	memcpy(x + extra, id, strlen(id));
	memcpy(x + extra + strlen(id), s->name, strlen(s->name));
	return align_up((uint64_t)ENTRY_BYTES + extra + strlen(id) + strlen(s->name), 8);
}

static int append_entry(struct op *o, const struct qcow2_snapshot_new *s, uint64_t l1_off,
			uint32_t l1_entries)
{
	uint64_t room = o->table.bytes + ENTRY_BYTES + EXTRA_MAX + QCOW2_SNAPSHOT_NAME_MAX + 64;
	if (room > TABLE_BYTES_MAX || o->table.n == QCOW2_SNAPSHOTS_MAX)
		return -ENOSPC;
	uint8_t *mem = calloc(1, room);
	if (!mem)
		return -ENOMEM;
	memcpy(mem, o->table.mem ? o->table.mem : mem, o->table.bytes);
	uint64_t len = put_entry(o, s, l1_off, l1_entries, mem + o->table.bytes);
	int err = put_table(o, mem, o->table.bytes + len, o->table.n + 1);
	free(mem);
	return err;
}

static bool extents_fine(const struct qcow2 *q, const struct qcow2_snapshot_new *s)
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
static int count_extents(struct op *o, const struct qcow2_snapshot_new *s)
{
	uint32_t bits = o->q->cluster_bits;
	int err = 0;
	for (uint32_t i = 0; i < s->n_extents && !err; i++) {
		const struct qcow2_vm_extent *x = &s->extents[i];
		err = q_counts_add(&o->counts, x->host_off >> bits, x->bytes >> bits, 1);
	}
	return err;
}

/* The L1 entry of the VM state that maps [base, base + span), from the extents. */
static int place_vm_table(struct op *o, const struct qcow2_snapshot_new *s, uint64_t base,
			  uint64_t span, uint64_t *entry)
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
	return any ? place_l2(o, entry) : 0;
}

/* An L1 table for the snapshot that maps the VM state, too. The L2 tables of the disk stay. */
static int place_vm_l1(struct op *o, const struct qcow2_snapshot_new *s, const uint8_t *l1,
		       uint64_t *off, uint32_t *entries)
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

static int create(struct op *o, const struct qcow2_snapshot_new *s)
{
	struct qcow2 *q = o->q;
	int err = check_name(o, s->name);
	if (!err && !extents_fine(q, s))
		err = -EINVAL;
	if (err)
		return err;
	uint64_t bytes = (uint64_t)q->h.l1_entries * 8, snap_l1 = q->h.l1_off;
	uint32_t snap_entries = q->h.l1_entries;
	uint8_t *l1, *mem = calloc(1, bytes + 8);
	if (!mem)
		return -ENOMEM;
	err = q_co_read_table(q, q->h.l1_off, bytes, &l1);
	if (!err) {
		q->reserved_n = 0; /* now they are counted, or free */
		err = count_extents(o, s);
		if (!err && s->n_extents)
			err = place_vm_l1(o, s, l1, &snap_l1, &snap_entries);
		if (!err)
			err = copy_tables(o, l1, q->h.l1_entries, mem);
		free(l1);
	}
	if (!err)
		err = q_co_write_table(&o->counts, mem, bytes, &o->next.l1_off);
	free(mem);
	if (!err)
		err = append_entry(o, s, snap_l1, snap_entries);
	return err ? err : q_co_switch(&o->counts, &o->next);
}

int qcow2_co_snapshot_create(struct blk_node *n, const struct qcow2_snapshot_new *s)
{
	struct op o;
	int err = begin(&o, n, true);
	if (!err)
		err = create(&o, s);
	end(&o);
	return err;
}

/* ---- apply ---- */

static int apply(struct op *o, const char *what)
{
	struct qcow2 *q = o->q;
	int64_t i = q_snapshot_find(o->v, o->table.n, what);
	if (i < 0)
		return (int)i;
	const struct qcow2_snapshot *s = &o->v[i];
	int err = q_snapshot_check(q, s);
	if (err)
		return err;
	uint64_t disk = qcow2_l1_needed(s->disk_bytes, q->cluster_bits, q->ext_l2);
	uint64_t entries = MAX(disk, UINT64_C(1));
	uint8_t *theirs, *ours = NULL, *mem = calloc(entries, 8);
	if (!mem)
		return -ENOMEM;
	err = q_co_read_table(q, s->l1_off, disk * 8, &theirs);
	if (!err)
		err = copy_tables(o, theirs, (uint32_t)disk, mem);
	if (!err)
		err = q_co_write_table(&o->counts, mem, entries * 8, &o->next.l1_off);
	if (!err)
		err = q_co_read_table(q, q->h.l1_off, (uint64_t)q->h.l1_entries * 8, &ours);
	if (!err)
		err = drop_tree(o, ours, q->h.l1_entries, q->h.l1_off);
	free(theirs);
	free(ours);
	free(mem);
	o->next.l1_entries = (uint32_t)entries;
	o->next.size = s->disk_bytes;
	return err ? err : q_co_switch(&o->counts, &o->next);
}

int qcow2_co_snapshot_apply(struct blk_node *n, const char *id_or_name)
{
	struct op o;
	int err = begin(&o, n, false);
	if (!err)
		err = apply(&o, id_or_name);
	end(&o);
	return err;
}

/* ---- delete, rename ---- */

static uint64_t entry_at(const struct op *o, uint32_t i)
{
	uint64_t at = 0;
	while (i--)
		at += (uint64_t)q_snapshot_entry_len(o->table.mem + at, o->table.bytes - at);
	return at;
}

static int remove_entry(struct op *o, uint32_t i)
{
	uint8_t *mem = malloc(o->table.bytes);
	if (!mem)
		return -ENOMEM;
	uint64_t at = entry_at(o, i);
	uint64_t len = (uint64_t)q_snapshot_entry_len(o->table.mem + at, o->table.bytes - at);
	memcpy(mem, o->table.mem, at);
	memcpy(mem + at, o->table.mem + at + len, o->table.bytes - at - len);
	int err = put_table(o, mem, o->table.bytes - len, o->table.n - 1);
	free(mem);
	return err;
}

static int delete_one(struct op *o, uint32_t i)
{
	struct qcow2 *q = o->q;
	const struct qcow2_snapshot *s = &o->v[i];
	int err = q_snapshot_check(q, s);
	uint8_t *l1 = NULL;
	if (!err)
		err = q_co_read_table(q, s->l1_off, (uint64_t)s->l1_entries * 8, &l1);
	if (!err)
		err = drop_tree(o, l1, s->l1_entries, s->l1_off);
	free(l1);
	if (!err)
		err = remove_entry(o, i);
	if (!err)
		err = fix_active(o);
	return err ? err : q_co_switch(&o->counts, &o->next);
}

/* Not one that forks are running from. */
static int delete (struct op *o, const char *what)
{
	int64_t i = q_snapshot_find(o->v, o->table.n, what);
	if (i < 0)
		return (int)i;
	int fd = file_fd(o->q->node.file);
	const char *id = o->v[i].id;
	int err = fd < 0 ? 0 : lock_snapshot_deletion(fd, id);
	if (err)
		return err;
	err = delete_one(o, (uint32_t)i);
	if (fd >= 0)
		unlock_snapshot_deletion(fd, id);
	return err;
}

int qcow2_co_snapshot_delete(struct blk_node *n, const char *id_or_name)
{
	struct op o;
	int err = begin(&o, n, false);
	if (!err)
		err = delete (&o, id_or_name);
	end(&o);
	return err;
}

static int rename_entry(struct op *o, const char *what, const char *name)
{
	int64_t i = q_snapshot_find(o->v, o->table.n, what);
	int err = i < 0 ? (int)i : check_name(o, name);
	if (err)
		return err;
	uint8_t *mem = calloc(1, o->table.bytes + QCOW2_SNAPSHOT_NAME_MAX + 8);
	if (!mem)
		return -ENOMEM;
	uint64_t at = entry_at(o, (uint32_t)i);
	const uint8_t *old = o->table.mem + at;
	uint64_t len = (uint64_t)q_snapshot_entry_len(old, o->table.bytes - at);
	uint64_t keep = (uint64_t)ENTRY_BYTES + get_be32(old + 36) + get_be16(old + 12);
	memcpy(mem, o->table.mem, at + keep);
	put_be16(mem + at + 14, (uint16_t)strlen(name));
	memcpy(mem + at + keep, name, strlen(name));
	uint64_t next = at + align_up(keep + strlen(name), 8), rest = o->table.bytes - at - len;
	memcpy(mem + next, old + len, rest);
	err = put_table(o, mem, next + rest, o->table.n);
	free(mem);
	return err ? err : q_co_switch(&o->counts, &o->next);
}

int qcow2_co_snapshot_rename(struct blk_node *n, const char *id_or_name, const char *name)
{
	struct op o;
	int err = begin(&o, n, false);
	if (!err)
		err = rename_entry(&o, id_or_name, name);
	end(&o);
	return err;
}
