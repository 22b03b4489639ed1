/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the overlay share: overlay.c, overlay_data.c. Loop thread. */
#ifndef DEVICES_BLOCK_OVERLAY_INT_H
#define DEVICES_BLOCK_OVERLAY_INT_H

#include "devices/block/node.h"

enum {
	BLOCK_BITS = 12,
	BLOCK_BYTES = 1 << BLOCK_BITS,
	TABLE_BITS = 10, /* blocks of one table: 4 MiB */
	SLOT_BASE = 0,	 /* what a table entry may be; else slot + 2 */
	SLOT_ZERO = 1,
	SLOT_FIRST = 2,
	STRIPE_BYTES = 1 << 20,
	STRIPES = 64,
};

struct slots {
	uint32_t *v;
	uint32_t n, room;
};

struct overlay {
	struct blk_node node;
	uint32_t **tables;
	uint64_t n_tables;
	uint32_t next_slot;
	struct slots free;
	struct slots given_up; /* since somebody was active */
	unsigned int active;
	struct co_mutex stripes[STRIPES];
};

/* What the table says for byte @off: SLOT_BASE, SLOT_ZERO or the slot, and in *same how many of @len bytes follow in a row. */
uint32_t overlay_extent(const struct overlay *o, uint64_t off, uint64_t len, uint64_t *same);
/* The byte of the file where what a table entry names begins. */
uint64_t overlay_slot_off(uint32_t v);
/* -> false: no memory for one more. */
bool overlay_push(struct slots *s, uint32_t v);

/* Reads, writes, and gives up @len bytes from @off, in a coroutine. -> 0 or -errno. */
int overlay_co_read(struct overlay *o, uint64_t off, uint64_t len, const struct iovec *iov,
		    unsigned int niov);
int overlay_co_write(struct overlay *o, uint64_t off, uint64_t len, const struct iovec *iov,
		     unsigned int niov);
int overlay_co_zero(struct overlay *o, uint64_t off, uint64_t len, bool discard);

#endif
