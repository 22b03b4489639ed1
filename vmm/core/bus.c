/* SPDX-License-Identifier: Apache-2.0 */
/* Address to handler. */
#include "vmm/core/bus.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "vmm/base/checked.h"

struct bus {
	pthread_rwlock_t lock; /* guards the list, never held while a handler runs */
	struct list ranges;
};

int bus_create(struct bus **out)
{
	struct bus *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	pthread_rwlock_init(&b->lock, NULL);
	list_init(&b->ranges);
	*out = b;
	return 0;
}

void bus_destroy(struct bus *b)
{
	if (!b)
		return;
	struct list *pos, *tmp;
	list_for_each_safe (pos, tmp, &b->ranges)
		bus_unmap(b, list_entry(pos, struct bus_range, link));
	pthread_rwlock_destroy(&b->lock);
	free(b);
}

static bool overlaps(const struct bus_range *a, const struct bus_range *b)
{
	return a->base < b->base + b->len_bytes && b->base < a->base + a->len_bytes;
}

int bus_map(struct bus *b, struct bus_range *r)
{
	uint64_t end;
	if (!r->len_bytes || !ck_add(r->base, r->len_bytes, &end))
		return -EINVAL;
	assert(!r->mapped);
	int err = 0;
	struct list *pos;
	pthread_rwlock_wrlock(&b->lock);
	list_for_each (pos, &b->ranges)
		if (overlaps(r, list_entry(pos, struct bus_range, link)))
			err = -EEXIST;
	if (!err) {
		list_add_tail(&b->ranges, &r->link);
		r->mapped = true;
	}
	pthread_rwlock_unlock(&b->lock);
	return err;
}

void bus_unmap(struct bus *b, struct bus_range *r)
{
	pthread_rwlock_wrlock(&b->lock);
	if (r->mapped)
		list_del(&r->link);
	r->mapped = false;
	pthread_rwlock_unlock(&b->lock);
}

/* The range that holds all of the access, and the access's offset in it. */
static struct bus_range *find(struct bus *b, uint64_t addr, unsigned int size, uint64_t *off)
{
	struct bus_range *found = NULL;
	struct list *pos;
	pthread_rwlock_rdlock(&b->lock);
	list_for_each (pos, &b->ranges) {
		struct bus_range *r = list_entry(pos, struct bus_range, link);
		if (addr >= r->base && ck_range(addr - r->base, size, r->len_bytes)) {
			*off = addr - r->base;
			found = r;
			break;
		}
	}
	pthread_rwlock_unlock(&b->lock);
	return found;
}

bool bus_read(struct bus *b, uint64_t addr, unsigned int size, uint64_t *value)
{
	uint64_t off, mask = size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;
	struct bus_range *r = find(b, addr, size, &off);
	if (!r || !r->read) {
		*value = mask;
		return r != NULL;
	}
	if (r->lock)
		pthread_mutex_lock(r->lock);
	*value = r->read(r->opaque, off, size) & mask;
	if (r->lock)
		pthread_mutex_unlock(r->lock);
	return true;
}

bool bus_write(struct bus *b, uint64_t addr, unsigned int size, uint64_t value)
{
	uint64_t off;
	struct bus_range *r = find(b, addr, size, &off);
	if (!r || !r->write)
		return r != NULL;
	if (r->lock)
		pthread_mutex_lock(r->lock);
	r->write(r->opaque, off, size, value);
	if (r->lock)
		pthread_mutex_unlock(r->lock);
	return true;
}
