/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshot table of a qcow2 image: read, taken apart, looked through. */
/*
 * How it works. The table does not say how long it is, and every entry may have another length; so it
 * is read in growing steps until the number of entries in the header has been found, 64 MiB at the
 * most. It is kept as raw entries, so extra data that we do not know stays with its snapshot.
 */
#include "devices/block/qcow2/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/snapshot_int.h"
#include "vmm/base/endian.h"

enum { TABLE_STEP_BYTES = 64 * 1024 };

/* The length of the entry at @at, if all of it is within @have. -> 0: not; -1: nonsense. */
int64_t q_snapshot_entry_len(const uint8_t *p, uint64_t have)
{
	if (have < ENTRY_BYTES)
		return 0;
	uint32_t extra = get_be32(p + 36);
	if (extra > EXTRA_MAX)
		return -1;
	uint64_t len =
		align_up((uint64_t)ENTRY_BYTES + extra + get_be16(p + 12) + get_be16(p + 14), 8);
	return len <= have ? (int64_t)len : 0;
}

/* Counts whole entries in @have bytes. -> false: nonsense. */
static bool scan(struct q_snapshot_table *t, uint64_t have, uint32_t want)
{
	t->n = 0;
	t->bytes = 0;
	while (t->n < want) {
		int64_t len = q_snapshot_entry_len(t->mem + t->bytes, have - t->bytes);
		if (len < 0)
			return false;
		if (!len)
			break;
		t->bytes += (uint64_t)len;
		t->n++;
	}
	return true;
}

/* Reads as much as it takes: the table does not say how long it is. */
int q_co_snapshot_table(struct qcow2 *q, struct q_snapshot_table *t)
{
	*t = (struct q_snapshot_table){ 0 };
	uint64_t have = 0, file = q->node.file->size;
	while (t->n < q->h.n_snapshots) {
		uint64_t more = MAX(have, (uint64_t)TABLE_STEP_BYTES);
		free(t->mem);
		t->mem = NULL;
		if (have >= TABLE_BYTES_MAX || q->h.snapshots_off + have >= file + TABLE_STEP_BYTES)
			return q_corrupt(q, "snapshot table without an end, at",
					 q->h.snapshots_off);
		have += more;
		int err = q_co_read_table(q, q->h.snapshots_off, have, &t->mem);
		if (err)
			return err;
		if (!scan(t, have, q->h.n_snapshots))
			return q_corrupt(q, "bad snapshot table at", q->h.snapshots_off);
	}
	return 0;
}

static char *copy_text(const uint8_t *p, uint32_t bytes)
{
	char *s = malloc(bytes + 1);
	if (s) {
		memcpy(s, p, bytes);
		s[bytes] = '\0';
	}
	return s;
}

static int parse_entry(const struct qcow2 *q, const uint8_t *p, struct qcow2_snapshot *s)
{
	uint32_t id_bytes = get_be16(p + 12), name_bytes = get_be16(p + 14),
		 extra = get_be32(p + 36);
	*s = (struct qcow2_snapshot){ .l1_off = get_be64(p),
				      .l1_entries = get_be32(p + 8),
				      .date_s = get_be32(p + 16),
				      .date_ns = get_be32(p + 20),
				      .vm_clock_ns = get_be64(p + 24),
				      .vm_state_bytes = get_be32(p + 32),
				      .disk_bytes = q->h.size,
				      .icount = UINT64_MAX };
	const uint8_t *x = p + ENTRY_BYTES;
	if (extra >= 8)
		s->vm_state_bytes = get_be64(x);
	if (extra >= 16)
		s->disk_bytes = get_be64(x + 8);
	if (extra >= 24)
		s->icount = get_be64(x + 16);
	if (extra >= EXTRA_KNOWN_BYTES + EXTRA_OURS_BYTES &&
	    memcmp(x + EXTRA_KNOWN_BYTES, q_snapshot_magic, 8) == 0)
		memcpy(s->parent, x + EXTRA_KNOWN_BYTES + 8, QCOW2_PARENT_MAX);
	s->id = copy_text(x + extra, id_bytes);
	s->name = copy_text(x + extra + id_bytes, name_bytes);
	return s->id && s->name ? 0 : -ENOMEM;
}

void qcow2_snapshots_free(struct qcow2_snapshot *v, uint32_t count)
{
	for (uint32_t i = 0; v && i < count; i++) {
		free(v[i].id);
		free(v[i].name);
	}
	free(v);
}

int q_snapshot_parse(const struct qcow2 *q, const struct q_snapshot_table *t,
		     struct qcow2_snapshot **v)
{
	*v = calloc(t->n + 1, sizeof(**v));
	if (!*v)
		return -ENOMEM;
	uint64_t at = 0;
	for (uint32_t i = 0; i < t->n; i++) {
		int err = parse_entry(q, t->mem + at, &(*v)[i]);
		if (err) {
			qcow2_snapshots_free(*v, i + 1);
			return err;
		}
		at += (uint64_t)q_snapshot_entry_len(t->mem + at, t->bytes - at);
	}
	return 0;
}

/* A snapshot's L1 table may be read: where and how long it is makes sense. */
int q_snapshot_check(struct qcow2 *q, const struct qcow2_snapshot *s)
{
	uint64_t bytes = (uint64_t)s->l1_entries * 8;
	if (bytes > QCOW2_L1_BYTES_MAX || (s->l1_off & (q->cluster_bytes - 1)) ||
	    !ck_range(s->l1_off, bytes, q->node.file->size) || s->disk_bytes > INT64_MAX ||
	    s->disk_bytes % 512 ||
	    qcow2_l1_needed(s->disk_bytes, q->cluster_bits, q->ext_l2) > s->l1_entries)
		return q_corrupt(q, "bad snapshot, L1 table at", s->l1_off);
	return 0;
}

/* -> its number, or -ENOENT. An id is preferred to a name. */
int64_t q_snapshot_find(const struct qcow2_snapshot *v, uint32_t n, const char *what)
{
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(v[i].id, what) == 0)
			return i;
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(v[i].name, what) == 0)
			return i;
	return -ENOENT;
}

int qcow2_co_snapshots(struct blk_node *n, struct qcow2_snapshot **v, uint32_t *count)
{
	struct q_snapshot_table t;
	int err = q_co_snapshot_table(q_node(n), &t);
	if (!err)
		err = q_snapshot_parse(q_node(n), &t, v);
	free(t.mem);
	if (err)
		*v = NULL;
	*count = err ? 0 : t.n;
	return err;
}

int qcow2_co_snapshot_table_bytes(struct blk_node *n, uint64_t *bytes)
{
	struct q_snapshot_table t;
	int err = q_co_snapshot_table(q_node(n), &t);
	*bytes = t.bytes;
	free(t.mem);
	return err;
}

/* ---- changing it ---- */

/* The new snapshot table: entries [0, n) of @mem. */
static int put_table(struct q_snapshot_op *o, const uint8_t *mem, uint64_t bytes, uint32_t n)
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

/* One more than the largest number among the ids. */
static void next_id(const struct q_snapshot_op *o, char *out, size_t bytes)
{
	unsigned long max = 0;
	for (uint32_t i = 0; i < o->table.n; i++)
		max = MAX(max, strtoul(o->v[i].id, NULL, 10));
	snprintf(out, bytes, "%lu", max + 1);
}

static uint64_t put_entry(const struct q_snapshot_op *o, const struct qcow2_snapshot_new *s,
			  uint64_t l1_off, uint32_t l1_entries, uint8_t *p)
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

int q_co_snapshot_append_entry(struct q_snapshot_op *o, const struct qcow2_snapshot_new *s,
			       uint64_t l1_off, uint32_t l1_entries)
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

static uint64_t entry_at(const struct q_snapshot_op *o, uint32_t i)
{
	uint64_t at = 0;
	while (i--)
		at += (uint64_t)q_snapshot_entry_len(o->table.mem + at, o->table.bytes - at);
	return at;
}

int q_co_snapshot_remove_entry(struct q_snapshot_op *o, uint32_t i)
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

int q_co_snapshot_rename_entry(struct q_snapshot_op *o, uint32_t i, const char *name)
{
	uint8_t *mem = calloc(1, o->table.bytes + QCOW2_SNAPSHOT_NAME_MAX + 8);
	if (!mem)
		return -ENOMEM;
	uint64_t at = entry_at(o, i);
	const uint8_t *old = o->table.mem + at;
	uint64_t len = (uint64_t)q_snapshot_entry_len(old, o->table.bytes - at);
	uint64_t keep = (uint64_t)ENTRY_BYTES + get_be32(old + 36) + get_be16(old + 12);
	memcpy(mem, o->table.mem, at + keep);
	put_be16(mem + at + 14, (uint16_t)strlen(name));
	memcpy(mem + at + keep, name, strlen(name));
	uint64_t next = at + align_up(keep + strlen(name), 8), rest = o->table.bytes - at - len;
	memcpy(mem + next, old + len, rest);
	int err = put_table(o, mem, next + rest, o->table.n);
	free(mem);
	return err;
}
