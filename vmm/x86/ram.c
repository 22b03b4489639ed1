/* SPDX-License-Identifier: Apache-2.0 */
/* Guest RAM of an x86-64 machine. */
#include "vmm/x86/ram.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/x86/layout.h"

/* Nested page faults are served in units of this when host and guest addresses agree modulo it. */
#define HUGE_PAGE_BYTES (2 * MIB)

/* A reserved range that starts on a huge page; the ends that are too much are given back. */
static void *map_aligned(uint64_t len_bytes)
{
	size_t span = len_bytes + HUGE_PAGE_BYTES;
	uint8_t *p = mmap(NULL, span, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	uint8_t *start = (uint8_t *)align_up((uintptr_t)p, HUGE_PAGE_BYTES);
	if (start > p)
		munmap(p, (size_t)(start - p));
	munmap(start + len_bytes, span - len_bytes - (size_t)(start - p));
	return start;
}

int x86_ram_create(struct x86_ram *ram, uint64_t len_bytes)
{
	*ram = (struct x86_ram){ .hva = map_aligned(len_bytes), .len_bytes = len_bytes };
	if (!ram->hva) {
		int err = -errno;
		log_error(
			"cannot reserve %llu MiB of memory for the guest: %s; use a smaller --mem",
			(unsigned long long)(len_bytes / MIB), strerror(-err));
		return err;
	}
	uint64_t low = MIN(len_bytes, X86_LOW_RAM_MAX);
	int err = guestmem_add(&ram->mem, 0, low, ram->hva);
	if (!err && len_bytes > low)
		err = guestmem_add(&ram->mem, X86_HIGH_RAM_BASE, len_bytes - low,
				   (uint8_t *)ram->hva + low);
	return err;
}

void x86_ram_destroy(struct x86_ram *ram)
{
	ram_aside_wait(&ram->aside);
	if (ram->hva)
		munmap(ram->hva, ram->len_bytes);
	*ram = (struct x86_ram){ 0 };
}

void x86_ram_huge_pages(struct x86_ram *ram, bool on)
{
	/* An advice: without transparent huge pages the guest is slower, not wrong. */
	madvise(ram->hva, ram->len_bytes, on ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

int x86_ram_clear(struct x86_ram *ram)
{
	if (!ram->from_file) {
		x86_ram_drop_begin(ram);
		x86_ram_drop(ram, 0, ram->len_bytes);
		x86_ram_drop_end(ram);
		return 0;
	}
	/* What the file has would shine through: fresh memory in the place of its mappings. */
	if (mmap(ram->hva, ram->len_bytes, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	x86_ram_huge_pages(ram, true);
	ram->from_file = false;
	return 0;
}

int x86_ram_map(struct x86_ram *ram, uint64_t off, uint64_t len_bytes, int fd, uint64_t file_off)
{
	if (!ck_range(off, len_bytes, ram->len_bytes))
		return -EINVAL;
	ram->from_file = true;
	void *p = mmap((uint8_t *)ram->hva + off, len_bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, fd, (off_t)file_off);
	return p == MAP_FAILED ? -errno : 0;
}

void x86_ram_drop_begin(struct x86_ram *ram)
{
	ram_aside_begin(&ram->aside, ram->len_bytes);
}

void x86_ram_drop(struct x86_ram *ram, uint64_t off, uint64_t len_bytes)
{
	if (!ram_aside_take(&ram->aside, ram->hva, off, len_bytes))
		madvise((uint8_t *)ram->hva + off, len_bytes, MADV_DONTNEED);
}

void x86_ram_drop_end(struct x86_ram *ram)
{
	ram_aside_end(&ram->aside);
}
