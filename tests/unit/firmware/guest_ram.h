/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory for the firmware's tests: one region of low RAM, and one above 4 GiB if asked for.
 */
#ifndef TESTS_GUEST_RAM_H
#define TESTS_GUEST_RAM_H

#include <sys/mman.h>

#include "vmm/core/guestmem.h"

#define GUEST_HIGH_GPA UINT64_C(0x100000000)

static inline void *guest_ram_map(struct guestmem *gm, uint64_t gpa, uint64_t len_bytes)
{
	void *p = mmap(NULL, len_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	guestmem_add(gm, gpa, len_bytes, p);
	return p;
}

static inline struct guestmem guest_ram_new(uint64_t low_bytes, uint64_t high_bytes)
{
	struct guestmem gm = { .nregions = 0 };
	guest_ram_map(&gm, 0, low_bytes);
	if (high_bytes)
		guest_ram_map(&gm, GUEST_HIGH_GPA, high_bytes);
	return gm;
}

static inline void guest_ram_free(struct guestmem *gm)
{
	for (unsigned int i = 0; i < gm->nregions; i++)
		munmap(gm->regions[i].hva, gm->regions[i].len_bytes);
}

#endif
