/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bus: which handler serves an address. The machine has two, port I/O and MMIO.
 *
 * vCPU threads dispatch; the handler runs on the vCPU's thread with the range's lock taken (the
 * device's), which is the second entrance to a device beside its loop. Ranges come and go while
 * vCPUs run (a guest moves a PCI BAR), so the table has a reader-writer lock of its own.
 */
#ifndef CORE_BUS_H
#define CORE_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/list.h"

struct bus;

struct bus_range {
	uint64_t base;
	uint64_t len_bytes;
	pthread_mutex_t *lock; /* or NULL: taken around the handlers */
	/* @off is relative to base, @size 1, 2, 4 or 8 bytes and inside the range. */
	uint64_t (*read)(void *opaque, uint64_t off, unsigned int size);
	void (*write)(void *opaque, uint64_t off, unsigned int size, uint64_t value);
	void *opaque;
	const char *name; /* for messages */
	bool mapped;
	struct list link;
};

/* -> 0 or -ENOMEM. */
int bus_create(struct bus **out);
/* Ranges still mapped are forgotten. NULL is fine. */
void bus_destroy(struct bus *b);

/*
 * Puts the caller's range on the bus. -> 0, -EINVAL (empty, wraps), -EEXIST (overlaps a range that
 * is mapped; the bus is unchanged). Any thread, also from inside a handler: a handler is called
 * without the bus's lock.
 */
int bus_map(struct bus *b, struct bus_range *r);
/*
 * Takes it off; fine when it is not mapped. A vCPU may still be inside a handler of it on return:
 * ranges live as long as their device, and the handler takes the device's lock.
 */
void bus_unmap(struct bus *b, struct bus_range *r);

/*
 * One access of @size bytes (1, 2, 4, 8). Nobody there: reads are all ones, writes are dropped,
 * and false is returned. vCPU threads.
 */
bool bus_read(struct bus *b, uint64_t addr, unsigned int size, uint64_t *value);
bool bus_write(struct bus *b, uint64_t addr, unsigned int size, uint64_t value);

#endif
