/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What RAM held and holds no more, on its way back to the host: freeing a page costs more than anything else of a
 * revert, and nobody has to wait for it. Page tables are moved to another address (mremap(2), MREMAP_DONTUNMAP: Linux
 * 5.13 for private mappings of a file), and a thread frees what is there while the guest runs on.
 *
 * All calls are for one thread, the one that reverts.
 */
#ifndef X86_RAM_ASIDE_H
#define X86_RAM_ASIDE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct ram_aside {
	uint8_t *area; /* NULL: none */
	uint64_t area_bytes;
	uint64_t n_taken;
	pthread_t thread;
	bool freeing; /* the thread is there, and the area is its own */
};

/* Room for @len_bytes; waits until what was set aside before is free. Without room take() takes nothing. */
void ram_aside_begin(struct ram_aside *a, uint64_t len_bytes);
/* The pages of [off, off + len) of @hva go; the mapping stays, and shows again what it showed at first. One mapping, of
 * whole pages. -> false: they are still there. */
bool ram_aside_take(struct ram_aside *a, uint8_t *hva, uint64_t off, uint64_t len_bytes);
/* What was taken is freed from now on. */
void ram_aside_end(struct ram_aside *a);
/* Until all of it is free. Fine on one that is zeroed. */
void ram_aside_wait(struct ram_aside *a);

#endif
