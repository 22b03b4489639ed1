/* SPDX-License-Identifier: Apache-2.0 */
/* The one door to guest memory. */
#include "vmm/core/guestmem.h"

#include <errno.h>
#include <string.h>

#include "vmm/base/checked.h"

int guestmem_add(struct guestmem *gm, uint64_t gpa, uint64_t len_bytes, void *hva)
{
	uint64_t end;
	if (!len_bytes || !ck_add(gpa, len_bytes, &end))
		return -EINVAL;
	if (gm->nregions == GUESTMEM_REGIONS_MAX)
		return -ENOSPC;
	if (gm->nregions) {
		const struct guestmem_region *last = &gm->regions[gm->nregions - 1];
		if (gpa < last->gpa + last->len_bytes)
			return -EINVAL;
	}
	gm->regions[gm->nregions++] = (struct guestmem_region){ gpa, len_bytes, hva };
	return 0;
}

/* The part of [gpa, gpa+len) that starts at gpa and lies in one region: its hva, or NULL. */
static uint8_t *first_part(const struct guestmem *gm, uint64_t gpa, uint64_t len_bytes,
			   uint64_t *part_bytes)
{
	for (unsigned int i = 0; i < gm->nregions; i++) {
		const struct guestmem_region *r = &gm->regions[i];
		if (gpa < r->gpa || gpa - r->gpa >= r->len_bytes)
			continue;
		uint64_t off = gpa - r->gpa;
		*part_bytes = MIN(len_bytes, r->len_bytes - off);
		return r->hva + off;
	}
	return NULL;
}

void *guestmem_ptr(const struct guestmem *gm, uint64_t gpa, uint64_t len_bytes)
{
	uint64_t part;
	uint8_t *hva = first_part(gm, gpa, len_bytes, &part);
	return hva && part == len_bytes ? hva : NULL;
}

int guestmem_iov(const struct guestmem *gm, uint64_t gpa, uint64_t len_bytes, struct iovec *iov,
		 unsigned int max, unsigned int *niov)
{
	unsigned int n = *niov;
	while (len_bytes) {
		uint64_t part;
		uint8_t *hva = first_part(gm, gpa, len_bytes, &part);
		if (!hva)
			return -EFAULT;
		if (n == max)
			return -ENOSPC;
		iov[n++] = (struct iovec){ hva, part };
		/* Cannot wrap: the part lies in a region, and no region wraps. */
		gpa += part;
		len_bytes -= part;
	}
	*niov = n;
	return 0;
}

/* The host ranges of a whole access; -EFAULT before a byte has moved. */
static int whole(const struct guestmem *gm, uint64_t gpa, size_t len_bytes,
		 struct iovec iov[GUESTMEM_REGIONS_MAX], unsigned int *niov)
{
	*niov = 0;
	return guestmem_iov(gm, gpa, len_bytes, iov, GUESTMEM_REGIONS_MAX, niov) ? -EFAULT : 0;
}

int guestmem_read(const struct guestmem *gm, uint64_t gpa, void *buf, size_t len_bytes)
{
	struct iovec iov[GUESTMEM_REGIONS_MAX];
	unsigned int niov;
	if (whole(gm, gpa, len_bytes, iov, &niov))
		return -EFAULT;
	for (unsigned int i = 0; i < niov; buf = (uint8_t *)buf + iov[i].iov_len, i++)
		memcpy(buf, iov[i].iov_base, iov[i].iov_len);
	return 0;
}

int guestmem_write(const struct guestmem *gm, uint64_t gpa, const void *buf, size_t len_bytes)
{
	struct iovec iov[GUESTMEM_REGIONS_MAX];
	unsigned int niov;
	if (whole(gm, gpa, len_bytes, iov, &niov))
		return -EFAULT;
	for (unsigned int i = 0; i < niov; buf = (const uint8_t *)buf + iov[i].iov_len, i++)
		memcpy(iov[i].iov_base, buf, iov[i].iov_len);
	return 0;
}

uint64_t guestmem_size(const struct guestmem *gm)
{
	uint64_t sum = 0;
	for (unsigned int i = 0; i < gm->nregions; i++)
		sum += gm->regions[i].len_bytes;
	return sum;
}
