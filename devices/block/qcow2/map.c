/* SPDX-License-Identifier: Apache-2.0 */
/* The mapping: from a guest offset through L1 and L2 to what is stored there. */
/*
 * How it works. q_map() is one function without side effects or waiting: it looks at the L1 and the L2
 * page in the cache and says how the bytes from an offset on are stored, as far as that stays the
 * same. If a page is missing it says -EAGAIN; q_co_map() then fetches it and asks again. So the fast
 * path and the coroutines decode entries in one place, where every field is checked ("L2 table
 * entry", "Extended L2 Entries" in the specification).
 *
 * Writing through an entry needs more trust than reading through it. Before the first write through a
 * page of L2 all its entries are verified (q_co_verify()): what claims a refcount of one has one,
 * and nothing points at the header or a table.
 */
#include <errno.h>
#include <string.h>

#include "devices/block/qcow2/int.h"
#include "vmm/base/endian.h"

/* ---- entries ---- */

uint64_t q_l2_entry(const struct qcow2 *q, const struct q_page *p, uint32_t i)
{
	return get_be64(p->data + i * q->l2_entry_bytes);
}

uint64_t q_l2_bitmap(const struct qcow2 *q, const struct q_page *p, uint32_t i)
{
	return q->ext_l2 ? get_be64(p->data + i * q->l2_entry_bytes + 8) : 0;
}

void q_l2_set(struct qcow2 *q, struct q_page *p, uint32_t i, uint64_t entry, uint64_t bitmap)
{
	put_be64(p->data + i * q->l2_entry_bytes, entry);
	if (q->ext_l2)
		put_be64(p->data + i * q->l2_entry_bytes + 8, bitmap);
	q_cache_dirty(q, p);
}

void q_compressed_range(const struct qcow2 *q, uint64_t entry, uint64_t *off, uint64_t *len)
{
	uint32_t x = 62 - (q->cluster_bits - 8);
	uint64_t at = entry & ((UINT64_C(1) << x) - 1) & (Q_HOST_MAX - 1);
	uint64_t more = (entry & ~(Q_COPIED | Q_COMPRESSED)) >> x;
	*off = at;
	*len = align_down(at, 512) + (more + 1) * 512 - at;
}

/* The host offset is one that data can have. */
static bool host_fine(const struct qcow2 *q, uint64_t host)
{
	if (host & (q->cluster_bytes - 1))
		return false;
	return q->data_file || host < q->node.file->size;
}

static int decode_sub(uint64_t bitmap, unsigned int sub, bool stored, enum q_type *type)
{
	bool alloc = bitmap >> sub & 1, zero = bitmap >> (sub + 32) & 1;
	if ((alloc && zero) || (alloc && !stored))
		return -EIO;
	*type = zero ? (stored ? Q_ZERO_ALLOC : Q_ZERO_PLAIN) : alloc ? Q_NORMAL : Q_UNALLOCATED;
	return 0;
}

/* What one entry says of subcluster @sub. -> 0, -EIO: nonsense. */
static int decode(const struct qcow2 *q, uint64_t entry, uint64_t bitmap, unsigned int sub,
		  enum q_type *type)
{
	if ((entry & ~Q_OFF_MASK) == Q_COPIED && entry != Q_COPIED && !q->ext_l2) {
		*type = Q_NORMAL; /* nearly always */
		return host_fine(q, entry & Q_OFF_MASK) ? 0 : -EIO;
	}
	if (entry & Q_COMPRESSED) {
		*type = Q_COMPRESSED_CLUSTER;
		return q->data_file ? -EIO : 0;
	}
	uint64_t host = entry & Q_OFF_MASK;
	bool zero_flag = entry & Q_ZERO;
	/* With an external data file, 0 is an offset like any other: bit 63 tells. */
	bool stored = host || (q->data_file && (entry & Q_COPIED));
	if ((entry & Q_L2_RESERVED) || (zero_flag && (q->h.version < 3 || q->ext_l2)) ||
	    (stored && !host_fine(q, host)))
		return -EIO;
	if (q->ext_l2)
		return decode_sub(bitmap, sub, stored, type);
	*type = zero_flag ? (stored ? Q_ZERO_ALLOC : Q_ZERO_PLAIN)
		: stored  ? Q_NORMAL
			  : Q_UNALLOCATED;
	return 0;
}

/* ---- L1 ---- */

uint64_t q_l1_index(const struct qcow2 *q, uint64_t off)
{
	return off >> (q->cluster_bits + q->l2_bits);
}

int q_check_l1_entry(struct qcow2 *q, uint64_t e)
{
	uint64_t off = e & Q_OFF_MASK;
	if ((e & Q_L1_RESERVED) || (off & (q->cluster_bytes - 1)) ||
	    (off && off >= q->node.file->size))
		return q_corrupt(q, "bad L1 entry", e);
	return 0;
}

/* The L1 entry for guest byte @off, from the cache. -EAGAIN: it is not there. */
static int peek_l1(struct qcow2 *q, uint64_t off, uint64_t *entry)
{
	uint64_t i = q_l1_index(q, off);
	*entry = 0;
	if (i >= q->h.l1_entries)
		return 0;
	uint64_t at = q->h.l1_off + i * 8;
	struct q_page *p = q_cache_peek(q, align_down(at, q->page_bytes));
	if (!p)
		return -EAGAIN;
	*entry = get_be64(p->data + q_in_page(q, at));
	return q_check_l1_entry(q, *entry);
}

uint64_t q_l2_entry_at(const struct qcow2 *q, uint64_t table, uint64_t off)
{
	uint64_t i = (off >> q->cluster_bits) & ((UINT64_C(1) << q->l2_bits) - 1);
	return table + i * q->l2_entry_bytes;
}

/* ---- the walk ---- */

/* Guest bytes from @off to the end of what one L2 table maps. */
static uint64_t left_in_table(const struct qcow2 *q, uint64_t off)
{
	uint64_t span = UINT64_C(1) << (q->cluster_bits + q->l2_bits);
	return span - (off & (span - 1));
}

struct walk {
	uint64_t entry, bitmap;
	enum q_type type;
	uint64_t host; /* of the first byte of the subcluster */
};

static int walk_at(struct qcow2 *q, const struct q_page *p, uint32_t i, unsigned int sub,
		   struct walk *w)
{
	w->entry = q_l2_entry(q, p, i);
	w->bitmap = q_l2_bitmap(q, p, i);
	if (decode(q, w->entry, w->bitmap, sub, &w->type))
		return q_corrupt(q, "bad L2 entry", w->entry);
	w->host = (w->entry & Q_OFF_MASK) + ((uint64_t)sub << q->sub_bits);
	return 0;
}

static bool same(const struct walk *a, const struct walk *b, uint64_t distance)
{
	if (a->type != b->type || a->type == Q_COMPRESSED_CLUSTER)
		return false;
	if (a->type != Q_NORMAL && a->type != Q_ZERO_ALLOC)
		return true;
	return b->host == a->host + distance && !((a->entry ^ b->entry) & Q_COPIED);
}

/* As far as the pages' entries from (@i, @sub) on are alike: bytes, counted in whole subclusters. */
static int measure(struct qcow2 *q, const struct q_page *p, uint32_t i, unsigned int sub,
		   uint64_t max, struct walk *first, uint64_t *bytes)
{
	unsigned int subs = 1u << (q->cluster_bits - q->sub_bits);
	int err = walk_at(q, p, i, sub, first);
	if (err)
		return err;
	if (first->type == Q_COMPRESSED_CLUSTER) {
		*bytes = q->cluster_bytes - ((uint64_t)sub << q->sub_bits);
		return 0;
	}
	uint64_t n = UINT64_C(1) << q->sub_bits;
	while (n < max) {
		if (++sub == subs) {
			sub = 0;
			if (++i == q_page_entries(q))
				break;
		}
		struct walk next;
		err = walk_at(q, p, i, sub, &next);
		if (err)
			return err;
		if (!same(first, &next, n))
			break;
		n += UINT64_C(1) << q->sub_bits;
	}
	*bytes = n;
	return 0;
}

/* The L2 page for @off by L1; NULL: there is no table. -EAGAIN: not in the cache. */
static int peek_l2(struct qcow2 *q, uint64_t off, struct q_recent *r)
{
	uint64_t l1;
	int err = peek_l1(q, off, &l1);
	if (err)
		return err;
	uint64_t table = l1 & Q_OFF_MASK;
	*r = (struct q_recent){ .span = off >> q->span_bits, .copied = l1 & Q_COPIED };
	if (!table)
		return 0;
	r->page = q_cache_peek(q, align_down(q_l2_entry_at(q, table, off), q->page_bytes));
	r->epoch = q->cache.epoch;
	return r->page ? 0 : -EAGAIN;
}

int q_map(struct qcow2 *q, uint64_t off, uint64_t len, struct q_extent *out)
{
	struct q_recent *r = &q->recent[(off >> q->span_bits) % Q_RECENT];
	int err = 0;
	if (r->epoch == q->cache.epoch && r->span == off >> q->span_bits)
		r->page->used = true;
	else
		err = peek_l2(q, off, r);
	if (err) {
		r->epoch = 0;
		return err;
	}
	if (!r->page) {
		*out = (struct q_extent){ .type = Q_UNALLOCATED,
					  .verified = true,
					  .len = MIN(len, left_in_table(q, off)) };
		return 0;
	}
	uint64_t bytes = UINT64_C(1) << q->sub_bits, in_sub = off & (bytes - 1);
	unsigned int sub = (unsigned int)((off & (q->cluster_bytes - 1)) >> q->sub_bits);
	uint32_t i = (uint32_t)(off >> q->cluster_bits) & (q_page_entries(q) - 1);
	struct walk w;
	if (in_sub + len <= bytes)
		err = walk_at(q, r->page, i, sub, &w);
	else
		err = measure(q, r->page, i, sub, in_sub + len, &w, &bytes);
	if (err)
		return err;
	out->type = w.type;
	out->entry = w.entry;
	out->host = w.host + in_sub;
	out->copied = r->copied && (w.entry & Q_COPIED);
	out->verified = r->page->verified;
	out->len = MIN(len, bytes - in_sub);
	return 0;
}

/* Brings both pages for @off into the cache. */
static int co_load(struct qcow2 *q, uint64_t off)
{
	uint64_t l1;
	int err = peek_l1(q, off, &l1);
	if (err == -EAGAIN) {
		struct q_page *p;
		err = q_co_cache_get(q, q->h.l1_off + q_l1_index(q, off) * 8, Q_L1, &p);
		if (!err)
			q_cache_put(p);
		return err;
	}
	if (err || !(l1 & Q_OFF_MASK))
		return err;
	struct q_page *p;
	err = q_co_cache_get(q, q_l2_entry_at(q, l1 & Q_OFF_MASK, off), Q_L2, &p);
	if (!err)
		q_cache_put(p);
	return err;
}

int q_co_map(struct qcow2 *q, uint64_t off, uint64_t len, struct q_extent *out)
{
	int err;
	while ((err = q_map(q, off, len, out)) == -EAGAIN) {
		err = co_load(q, off);
		if (err)
			return err;
	}
	return err;
}

int q_co_l2_page(struct qcow2 *q, uint64_t off, struct q_page **page, uint32_t *entry)
{
	uint64_t l1;
	int err;
	*page = NULL;
	while ((err = peek_l1(q, off, &l1)) == -EAGAIN) {
		err = co_load(q, off);
		if (err)
			return err;
	}
	if (err || !(l1 & Q_OFF_MASK))
		return err;
	uint64_t at = q_l2_entry_at(q, l1 & Q_OFF_MASK, off);
	*entry = q_l2_index(q, at);
	return q_co_cache_get(q, at, Q_L2, page);
}

/* ---- trust ---- */

static int verify_entry(struct qcow2 *q, uint64_t entry, uint64_t bitmap)
{
	enum q_type type;
	if (decode(q, entry, bitmap, 0, &type))
		return q_corrupt(q, "bad L2 entry", entry);
	if (type == Q_COMPRESSED_CLUSTER)
		return entry & Q_COPIED ? q_corrupt(q, "bad L2 entry", entry) : 0;
	uint64_t cluster = (entry & Q_OFF_MASK) >> q->cluster_bits;
	if (!cluster || q->data_file)
		return 0;
	if (q_set_has(&q->meta, cluster))
		return q_corrupt(q, "an L2 entry points at metadata", entry);
	uint64_t refs = 1;
	int err = entry & Q_COPIED ? q_co_refcount(q, cluster, &refs) : 0;
	if (!err && refs != 1)
		err = q_corrupt(q, "an L2 entry claims to own a cluster that it shares", entry);
	return err;
}

int q_co_verify(struct qcow2 *q, uint64_t off)
{
	struct q_page *p;
	uint32_t ignored;
	int err = q_co_l2_page(q, off, &p, &ignored);
	if (err || !p)
		return err;
	for (uint32_t i = 0; i < q_page_entries(q) && !err && !p->verified; i++) {
		uint64_t e = q_l2_entry(q, p, i);
		if (e)
			err = verify_entry(q, e, q_l2_bitmap(q, p, i));
	}
	if (!err)
		p->verified = true;
	q_cache_put(p);
	return err;
}

int q_drop_entry(struct qcow2 *q, uint64_t entry, bool punch)
{
	if (q->data_file)
		return 0;
	if (entry & Q_COMPRESSED) {
		uint64_t off, len;
		q_inflated_forget(q, entry);
		q_compressed_range(q, entry, &off, &len);
		uint64_t first = off >> q->cluster_bits, last = (off + len - 1) >> q->cluster_bits;
		return q_drop(q, first, (uint32_t)(last - first + 1), false);
	}
	uint64_t host = entry & Q_OFF_MASK;
	return host ? q_drop(q, host >> q->cluster_bits, 1, punch) : 0;
}
