/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata in memory: pages of the four kinds of table, found by their place in the file. */
/*
 * How it works. A page is min(cluster, 4 KiB) of a table, so a 2 MiB cluster's table need not be read
 * whole to look up one entry. Pages are found through a hash of their file offset and reused in the
 * order of a clock (second chance). A dirty page is never evicted and never written by this file:
 * only a commit writes, in the order that commit.c keeps. So the cache may grow beyond
 * Q_CACHE_PAGES while a commit is on its way; q_commit_if_full() starts one long before.
 *
 * Memory: pages are taken from the heap when first needed and kept for reuse.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/int.h"

static uint32_t hash_u64(uint64_t v)
{
	v *= UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(v >> 32);
}

static struct q_page **bucket(struct qcow2 *q, uint64_t off)
{
	return &q->cache.buckets[hash_u64(off) & (q->cache.n_buckets - 1)];
}

static struct q_page *find(struct qcow2 *q, uint64_t off)
{
	struct q_page *p = *bucket(q, off);
	while (p && p->off != off)
		p = p->hash_next;
	return p;
}

struct q_page *q_cache_peek(struct qcow2 *q, uint64_t off)
{
	struct q_page *p = find(q, off);
	if (!p || !p->valid)
		return NULL;
	p->used = true;
	return p;
}

static void unhash(struct qcow2 *q, struct q_page *p)
{
	struct q_page **at = bucket(q, p->off);
	while (*at != p)
		at = &(*at)->hash_next;
	*at = p->hash_next;
}

static void retire(struct qcow2 *q, struct q_page *p)
{
	unhash(q, p);
	list_del(&p->link);
	list_add_head(&q->cache.spare, &p->link);
	q->cache.n_pages--;
	q->cache.epoch++;
}

/* One page out by the clock. -> whether there was one. */
static bool evict(struct qcow2 *q)
{
	struct q_cache *c = &q->cache;
	for (uint32_t i = 0; i < 2 * c->n_pages; i++) {
		struct q_page *p = list_first(&c->pages, struct q_page, link);
		bool keep = p->used || p->dirty || p->pins;
		p->used = false;
		if (!keep) {
			retire(q, p);
			return true;
		}
		list_del(&p->link);
		list_add_tail(&c->pages, &p->link);
	}
	return false;
}

static struct q_page *new_page(struct qcow2 *q)
{
	struct q_page *p = malloc(sizeof(*p));
	if (!p)
		return NULL;
	if (posix_memalign((void **)&p->data, Q_PAGE_BYTES_MAX, q->page_bytes)) {
		free(p);
		return NULL;
	}
	return p;
}

/* A page for @off, hashed, pinned, not valid yet. */
static struct q_page *take(struct qcow2 *q, uint64_t off, enum q_kind kind)
{
	struct q_cache *c = &q->cache;
	if (c->n_pages >= Q_CACHE_PAGES)
		evict(q);
	struct q_page *p;
	if (list_empty(&c->spare)) {
		p = new_page(q);
		if (!p)
			return NULL;
	} else {
		p = list_first(&c->spare, struct q_page, link);
		list_del(&p->link);
	}
	uint8_t *data = p->data;
	*p = (struct q_page){ .off = off, .data = data, .kind = kind, .used = true, .pins = 1 };
	co_queue_init(&p->readers);
	list_init(&p->dirty_link);
	list_add_tail(&c->pages, &p->link);
	p->hash_next = *bucket(q, off);
	*bucket(q, off) = p;
	c->n_pages++;
	return p;
}

/* What the tables of the file point to is metadata: nobody may write data there. */
static int note_pointers(struct qcow2 *q, const struct q_page *p)
{
	if (p->kind != Q_L1 && p->kind != Q_RT)
		return 0;
	int err = 0;
	for (uint32_t i = 0; i < q->page_bytes && !err; i += 8) {
		uint64_t off;
		memcpy(&off, p->data + i, 8);
		off = __builtin_bswap64(off) & Q_OFF_MASK;
		if (off)
			err = q_set_add(&q->meta, off >> q->cluster_bits);
	}
	return err;
}

static int read_page(struct qcow2 *q, struct q_page *p)
{
	int err = blk_co_read(q->node.file, p->data, q->page_bytes, p->off);
	if (!err)
		err = note_pointers(q, p);
	p->err = err;
	p->valid = !err;
	co_queue_wake_all(&p->readers);
	return err;
}

int q_co_cache_get(struct qcow2 *q, uint64_t off, enum q_kind kind, struct q_page **out)
{
	off = align_down(off, q->page_bytes);
	struct q_page *p = find(q, off);
	if (!p) {
		p = take(q, off, kind);
		if (!p)
			return -ENOMEM;
		read_page(q, p);
	} else {
		p->pins++;
		p->used = true;
		while (!p->valid && !p->err)
			co_queue_wait(q_co(q), &p->readers);
	}
	int err = p->err;
	if (!err && p->kind != kind)
		err = q_corrupt(q, "a table serves as two kinds of table, at offset", off);
	if (err) {
		q_cache_put(p);
		if (p->err && !p->pins)
			retire(q, p); /* the next one tries again */
		return err;
	}
	*out = p;
	return 0;
}

int q_cache_new(struct qcow2 *q, uint64_t off, enum q_kind kind, struct q_page **out)
{
	struct q_page *p = find(q, off);
	if (p)
		p->pins++;
	else
		p = take(q, off, kind);
	if (!p)
		return -ENOMEM;
	memset(p->data, 0, q->page_bytes);
	p->kind = kind;
	p->valid = true;
	p->verified = true;
	q_cache_dirty(q, p);
	*out = p;
	return 0;
}

void q_cache_put(struct q_page *p)
{
	p->pins--;
}

void q_cache_dirty(struct qcow2 *q, struct q_page *p)
{
	if (p->kind == Q_L1)
		q->cache.epoch++;
	if (p->dirty)
		return;
	p->dirty = true;
	list_add_tail(&q->cache.dirty, &p->dirty_link);
	q->cache.n_dirty++;
}

void q_cache_forget(struct qcow2 *q, uint64_t off, uint64_t len)
{
	for (uint64_t at = off; at < off + len; at += q->page_bytes) {
		struct q_page *p = find(q, at);
		if (!p || p->pins)
			continue;
		if (p->dirty) {
			list_del(&p->dirty_link);
			q->cache.n_dirty--;
		}
		retire(q, p);
	}
}

void q_cache_drop(struct qcow2 *q)
{
	while (!list_empty(&q->cache.pages))
		retire(q, list_first(&q->cache.pages, struct q_page, link));
}

int q_cache_init(struct qcow2 *q)
{
	struct q_cache *c = &q->cache;
	list_init(&c->pages);
	list_init(&c->dirty);
	list_init(&c->spare);
	c->epoch = 1;
	c->n_buckets = Q_CACHE_PAGES;
	c->buckets = calloc(c->n_buckets, sizeof(c->buckets[0]));
	return c->buckets ? 0 : -ENOMEM;
}

void q_cache_free(struct qcow2 *q)
{
	if (!q->cache.buckets)
		return;
	q_cache_drop(q);
	while (!list_empty(&q->cache.spare)) {
		struct q_page *p = list_first(&q->cache.spare, struct q_page, link);
		list_del(&p->link);
		free(p->data);
		free(p);
	}
	free(q->cache.buckets);
}

/* ---- the set of metadata clusters ---- */

static uint64_t *slot_of(const struct q_set *s, uint64_t cluster)
{
	uint32_t i = hash_u64(cluster) & (s->n_slots - 1);
	while (s->slots[i] && s->slots[i] != cluster + 1)
		i = (i + 1) & (s->n_slots - 1);
	return &s->slots[i];
}

bool q_set_has(const struct q_set *s, uint64_t cluster)
{
	return s->n_slots && *slot_of(s, cluster);
}

static int set_grow(struct q_set *s)
{
	struct q_set bigger = { .n_slots = s->n_slots ? s->n_slots * 2 : 256, .used = s->used };
	bigger.slots = calloc(bigger.n_slots, sizeof(uint64_t));
	if (!bigger.slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->slots[i])
			*slot_of(&bigger, s->slots[i] - 1) = s->slots[i];
	free(s->slots);
	*s = bigger;
	return 0;
}

int q_set_add(struct q_set *s, uint64_t cluster)
{
	if (s->used * 2 >= s->n_slots) {
		int err = set_grow(s);
		if (err)
			return err;
	}
	uint64_t *slot = slot_of(s, cluster);
	if (!*slot)
		s->used++;
	*slot = cluster + 1;
	return 0;
}

void q_set_remove(struct q_set *s, uint64_t cluster)
{
	if (!q_set_has(s, cluster))
		return;
	uint64_t *slot = slot_of(s, cluster);
	uint32_t hole = (uint32_t)(slot - s->slots), i = hole, mask = s->n_slots - 1;
	s->slots[hole] = 0;
	s->used--;
	/* Those behind it in the same run move up, so that probing never stops too early. */
	while (s->slots[i = (i + 1) & mask]) {
		uint64_t moved = s->slots[i];
		s->slots[i] = 0;
		*slot_of(s, moved - 1) = moved;
	}
}

void q_set_clear(struct q_set *s)
{
	free(s->slots);
	*s = (struct q_set){ 0 };
}
