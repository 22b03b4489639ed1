/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one door to guest memory: address and length are checked here, RAM only. DMA cannot reach
 * MMIO, so a device cannot be re-entered by its own DMA.
 *
 * RAM is at most GUESTMEM_REGIONS_MAX regions of guest-physical addresses (gpa), fixed before the
 * vCPUs run, each backed by one contiguous range of host memory (hva). The memory belongs to the
 * owner of the struct (vmm/x86/ram.c, or a test). All functions are for any thread. The guest changes
 * this memory at any time: copy once, check the copy, use the copy.
 */
#ifndef CORE_GUESTMEM_H
#define CORE_GUESTMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { GUESTMEM_REGIONS_MAX = 4 };

struct guestmem_region {
	uint64_t gpa;
	uint64_t len_bytes;
	uint8_t *hva;
};

struct guestmem {
	unsigned int nregions;
	struct guestmem_region regions[GUESTMEM_REGIONS_MAX]; /* ascending, not overlapping */
};

/* -> 0, -ENOSPC when there are too many, -EINVAL when it overlaps or wraps. */
int guestmem_add(struct guestmem *gm, uint64_t gpa, uint64_t len_bytes, void *hva);

/* Host address of [gpa, gpa+len), or NULL when any byte of it is not in one region of RAM. */
void *guestmem_ptr(const struct guestmem *gm, uint64_t gpa, uint64_t len_bytes);

/* Copies out of / into RAM; ranges may cross adjoining regions. -> 0, or -EFAULT (nothing copied). */
int guestmem_read(const struct guestmem *gm, uint64_t gpa, void *buf, size_t len_bytes);
int guestmem_write(const struct guestmem *gm, uint64_t gpa, const void *buf, size_t len_bytes);

/*
 * The host ranges of [gpa, gpa+len), added at iov[*niov]; *niov grows by what was used.
 * -> 0, -EFAULT (not RAM), -ENOSPC (@max reached). *niov is as before on error.
 */
int guestmem_iov(const struct guestmem *gm, uint64_t gpa, uint64_t len_bytes, struct iovec *iov,
		 unsigned int max, unsigned int *niov);

/* Bytes of RAM in all. */
uint64_t guestmem_size(const struct guestmem *gm);

#endif
