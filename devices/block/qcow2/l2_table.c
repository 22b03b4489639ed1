/* SPDX-License-Identifier: Apache-2.0 */
/* L2 tables that may be written: made, or copied where a snapshot shares them. */
#include <errno.h>
#include <stdlib.h>

#include "devices/block/qcow2/int.h"
#include "vmm/base/endian.h"

static int copy_table(struct qcow2 *q, uint64_t from, uint64_t to)
{
	uint8_t *buf;
	if (posix_memalign((void **)&buf, Q_PAGE_BYTES_MAX, q->cluster_bytes))
		return -ENOMEM;
	int err = blk_co_read(q->node.file, buf, q->cluster_bytes, from);
	if (!err)
		err = blk_co_write(q->node.file, buf, q->cluster_bytes, to);
	free(buf);
	return err;
}

/* A table of our own in place of what @l1_page says: a copy of a shared one, or an empty one. */
static int make_table(struct qcow2 *q, struct q_page *l1_page, uint32_t at, uint64_t old)
{
	uint64_t cluster, got;
	bool fresh;
	int err = q_co_alloc_locked(q, 1, &cluster, &got, &fresh);
	if (err)
		return err;
	uint64_t off = cluster << q->cluster_bits;
	if (old)
		err = copy_table(q, old, off);
	else if (!fresh)
		err = q_co_zero_cluster(q, cluster);
	if (!err)
		err = q_set_add(&q->meta, cluster);
	if (!err && old)
		err = q_drop(q, old >> q->cluster_bits, 1, false);
	if (err) {
		q_co_refcount_add(q, cluster, 1, -1);
		return err;
	}
	q_cache_forget(q, off, q->cluster_bytes);
	put_be64(l1_page->data + at, off | Q_COPIED);
	q_cache_dirty(q, l1_page);
	return 0;
}

int q_co_l2_for_write(struct qcow2 *q, uint64_t off, struct q_page **page, uint32_t *entry)
{
	uint64_t i = q_l1_index(q, off);
	if (i >= q->h.l1_entries)
		return -EFBIG;
	struct q_page *l1_page;
	int err = q_co_cache_get(q, q->h.l1_off + i * 8, Q_L1, &l1_page);
	if (err)
		return err;
	uint32_t in_page = q_in_page(q, i * 8);
	uint64_t l1 = get_be64(l1_page->data + in_page);
	err = q_check_l1_entry(q, l1);
	if (!err && (!(l1 & Q_OFF_MASK) || !(l1 & Q_COPIED)))
		err = make_table(q, l1_page, in_page, l1 & Q_OFF_MASK);
	l1 = get_be64(l1_page->data + in_page);
	q_cache_put(l1_page);
	if (err)
		return err;
	uint64_t at = q_l2_entry_at(q, l1 & Q_OFF_MASK, off);
	*entry = q_l2_index(q, at);
	return q_co_cache_get(q, at, Q_L2, page);
}
