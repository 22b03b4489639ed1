/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the disk as it is now is in a snapshot, too. */
/*
 * How it works. Two disks with the same tables, but for COPIED flags, have the same contents. Disks that have the
 * same contents by other tables count as different: the answer is never yes by mistake.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot_int.h"
#include "vmm/base/endian.h"

static bool same_entries(const struct qcow2 *q, const uint8_t *a, const uint8_t *b)
{
	for (uint64_t i = 0; i < q->cluster_bytes; i += 8) {
		/* The second word of an extended entry is a bitmap without flags. */
		uint64_t mask = i % q->l2_entry_bytes ? 0 : Q_COPIED;
		if ((get_be64(a + i) | mask) != (get_be64(b + i) | mask))
			return false;
	}
	return true;
}

static int co_compare_l2(struct qcow2 *q, uint64_t a, uint64_t b, uint8_t *buf_a, uint8_t *buf_b,
			 bool *same)
{
	*same = !(a & Q_OFF_MASK) == !(b & Q_OFF_MASK);
	if (!*same || (a & Q_OFF_MASK) == (b & Q_OFF_MASK))
		return 0;
	int err = q_co_snapshot_l2(q, a, buf_a);
	err = err ? err : q_co_snapshot_l2(q, b, buf_b);
	*same = !err && same_entries(q, buf_a, buf_b);
	return err;
}

static int co_compare(struct qcow2 *q, const struct qcow2_snapshot *s, bool *same)
{
	uint64_t n = qcow2_l1_needed(q->h.size, q->cluster_bits, q->ext_l2);
	uint8_t *ours = NULL, *theirs = NULL, *a = q_buf_get(q), *b = q_buf_get(q);
	int err = a && b ? q_co_read_table(q, q->h.l1_off, n * 8, &ours) : -ENOMEM;
	err = err ? err : q_co_read_table(q, s->l1_off, n * 8, &theirs);
	*same = !err;
	for (uint64_t i = 0; i < n && !err && *same; i++)
		err = co_compare_l2(q, get_be64(ours + i * 8), get_be64(theirs + i * 8), a, b,
				    same);
	free(ours);
	free(theirs);
	if (a)
		q_buf_put(q, a);
	if (b)
		q_buf_put(q, b);
	return err;
}

/* @name: NULL: any. */
static int co_find_same(struct blk_node *n, const char *name, bool *saved)
{
	struct qcow2 *q = q_node(n);
	struct qcow2_snapshot *v;
	uint32_t count;
	*saved = false;
	int err = qcow2_co_snapshots(n, &v, &count);
	if (err)
		return err;
	for (uint32_t i = 0; i < count && !err && !*saved; i++) {
		if (v[i].disk_bytes != q->h.size || (name && strcmp(v[i].name, name)))
			continue;
		err = q_snapshot_check(q, &v[i]);
		err = err ? err : co_compare(q, &v[i], saved);
	}
	qcow2_snapshots_free(v, count);
	return err;
}

int qcow2_co_disk_is_saved(struct blk_node *n, bool *saved)
{
	return co_find_same(n, NULL, saved);
}

int qcow2_co_disk_is_snapshot(struct blk_node *n, const char *name, bool *is)
{
	return co_find_same(n, name, is);
}
