/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded byte queue over memory of its owner's. The owner's lock guards it.
 *
 * `head` and `tail` count bytes ever taken out and put in, so their difference is what is inside,
 * whatever they have wrapped to; an empty ring starts over at its first byte, which keeps the pages
 * behind it untouched as long as little is queued.
 */
#ifndef CHARDEV_RING_H
#define CHARDEV_RING_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vmm/base/checked.h"

struct ring {
	uint8_t *buf;
	uint32_t size_bytes; /* a power of two */
	uint32_t head;
	uint32_t tail;
};

static inline void ring_init(struct ring *r, uint8_t *buf, uint32_t size_bytes)
{
	assert(is_pow2(size_bytes));
	*r = (struct ring){ .buf = buf, .size_bytes = size_bytes };
}

static inline uint32_t ring_used(const struct ring *r)
{
	return r->tail - r->head;
}

static inline uint32_t ring_room(const struct ring *r)
{
	return r->size_bytes - ring_used(r);
}

/* The longest piece at the front that lies in one stretch; *len 0 when empty. */
static inline const uint8_t *ring_front(const struct ring *r, uint32_t *len)
{
	uint32_t at = r->head & (r->size_bytes - 1);
	*len = MIN(ring_used(r), r->size_bytes - at);
	return r->buf + at;
}

/* Forgets the first @n bytes, which are there. */
static inline void ring_drop(struct ring *r, uint32_t n)
{
	assert(n <= ring_used(r));
	r->head += n;
	if (r->head == r->tail)
		r->head = r->tail = 0;
}

/* Puts in what fits of @len bytes; returns how many. */
static inline uint32_t ring_push(struct ring *r, const uint8_t *p, size_t len)
{
	uint32_t n = (uint32_t)MIN(len, (size_t)ring_room(r));
	uint32_t at = r->tail & (r->size_bytes - 1);
	uint32_t first = MIN(n, r->size_bytes - at);
	memcpy(r->buf + at, p, first);
	memcpy(r->buf, p + first, n - first);
	r->tail += n;
	return n;
}

/* Puts in all of @len bytes, or the last that fit: the oldest inside make way. True: none had to. */
static inline bool ring_push_latest(struct ring *r, const uint8_t *p, size_t len)
{
	size_t skip = len > r->size_bytes ? len - r->size_bytes : 0;
	size_t keep = len - skip;
	size_t over = keep > ring_room(r) ? keep - ring_room(r) : 0;
	ring_drop(r, (uint32_t)over);
	ring_push(r, p + skip, keep);
	return !skip && !over;
}

/* Copies the first @max bytes, or all when there are fewer, and leaves them inside. */
static inline uint32_t ring_copy(const struct ring *r, uint8_t *p, uint32_t max)
{
	uint32_t n = MIN(ring_used(r), max), first;
	const uint8_t *front = ring_front(r, &first);
	first = MIN(first, n);
	memcpy(p, front, first);
	memcpy(p + first, r->buf, n - first);
	return n;
}

/* Takes the first byte of a ring that is not empty. */
static inline uint8_t ring_pop(struct ring *r)
{
	uint32_t len;
	uint8_t byte = *ring_front(r, &len);
	ring_drop(r, 1);
	return byte;
}

#endif
