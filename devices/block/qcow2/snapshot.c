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
#include <stdlib.h>
#include <string.h>

#include "devices/block/lock.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot_int.h"

/* ---- an operation ---- */

static int begin(struct q_snapshot_op *o, struct blk_node *n, bool is_create)
{
	struct qcow2 *q = q_node(n);
	*o = (struct q_snapshot_op){ .q = q };
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

static void end(struct q_snapshot_op *o)
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

/* ---- create ---- */

static int check_name(const struct q_snapshot_op *o, const char *name)
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

static int create(struct q_snapshot_op *o, const struct qcow2_snapshot_new *s)
{
	struct qcow2 *q = o->q;
	int err = check_name(o, s->name);
	if (!err && !q_snapshot_extents_fine(q, s))
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
		err = q_snapshot_count_extents(o, s);
		if (!err && s->n_extents)
			err = q_co_snapshot_place_vm_l1(o, s, l1, &snap_l1, &snap_entries);
		if (!err)
			err = q_co_snapshot_copy_tables(o, l1, q->h.l1_entries, mem);
		free(l1);
	}
	if (!err)
		err = q_co_write_table(&o->counts, mem, bytes, &o->next.l1_off);
	free(mem);
	if (!err)
		err = q_co_snapshot_append_entry(o, s, snap_l1, snap_entries);
	return err ? err : q_co_switch(&o->counts, &o->next);
}

int qcow2_co_snapshot_create(struct blk_node *n, const struct qcow2_snapshot_new *s)
{
	struct q_snapshot_op o;
	int err = begin(&o, n, true);
	if (!err)
		err = create(&o, s);
	end(&o);
	return err;
}

/* ---- apply ---- */

static int apply(struct q_snapshot_op *o, const char *what)
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
		err = q_co_snapshot_copy_tables(o, theirs, (uint32_t)disk, mem);
	if (!err)
		err = q_co_write_table(&o->counts, mem, entries * 8, &o->next.l1_off);
	if (!err)
		err = q_co_read_table(q, q->h.l1_off, (uint64_t)q->h.l1_entries * 8, &ours);
	if (!err)
		err = q_co_snapshot_drop_tree(o, ours, q->h.l1_entries, q->h.l1_off);
	free(theirs);
	free(ours);
	free(mem);
	o->next.l1_entries = (uint32_t)entries;
	o->next.size = s->disk_bytes;
	return err ? err : q_co_switch(&o->counts, &o->next);
}

int qcow2_co_snapshot_apply(struct blk_node *n, const char *id_or_name)
{
	struct q_snapshot_op o;
	int err = begin(&o, n, false);
	if (!err)
		err = apply(&o, id_or_name);
	end(&o);
	return err;
}

/* ---- delete, rename ---- */

static int delete_one(struct q_snapshot_op *o, uint32_t i)
{
	struct qcow2 *q = o->q;
	const struct qcow2_snapshot *s = &o->v[i];
	int err = q_snapshot_check(q, s);
	uint8_t *l1 = NULL;
	if (!err)
		err = q_co_read_table(q, s->l1_off, (uint64_t)s->l1_entries * 8, &l1);
	if (!err)
		err = q_co_snapshot_drop_tree(o, l1, s->l1_entries, s->l1_off);
	free(l1);
	if (!err)
		err = q_co_snapshot_remove_entry(o, i);
	if (!err)
		err = q_co_snapshot_fix_active(o);
	return err ? err : q_co_switch(&o->counts, &o->next);
}

/* Not one that forks are running from. */
static int delete (struct q_snapshot_op *o, const char *what)
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
	struct q_snapshot_op o;
	int err = begin(&o, n, false);
	if (!err)
		err = delete (&o, id_or_name);
	end(&o);
	return err;
}

static int rename_one(struct q_snapshot_op *o, const char *what, const char *name)
{
	int64_t i = q_snapshot_find(o->v, o->table.n, what);
	int err = i < 0 ? (int)i : check_name(o, name);
	if (!err)
		err = q_co_snapshot_rename_entry(o, (uint32_t)i, name);
	return err ? err : q_co_switch(&o->counts, &o->next);
}

int qcow2_co_snapshot_rename(struct blk_node *n, const char *id_or_name, const char *name)
{
	struct q_snapshot_op o;
	int err = begin(&o, n, false);
	if (!err)
		err = rename_one(&o, id_or_name, name);
	end(&o);
	return err;
}
