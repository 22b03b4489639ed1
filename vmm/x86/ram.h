/* SPDX-License-Identifier: Apache-2.0 */
/* Guest RAM of an x86-64 machine: where it is in host memory and where the guest sees it. */
#ifndef X86_RAM_H
#define X86_RAM_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/guestmem.h"
#include "vmm/x86/ram_aside.h"

struct x86_ram {
	void *hva; /* one range, aligned to 2 MiB, private, never shared with another process */
	uint64_t len_bytes;
	bool from_file;	     /* parts of it are private mappings of a file */
	struct guestmem mem; /* below and above the hole under 4 GiB (vmm/x86/layout.h) */
	struct ram_aside aside;
};

/* @len_bytes is a multiple of 1 MiB. Nothing is touched: pages come when the guest writes them.
 * -> 0 or -ENOMEM, logged. */
int x86_ram_create(struct x86_ram *ram, uint64_t len_bytes);
/* The KVM machine is gone. Fine on one that is zeroed. */
void x86_ram_destroy(struct x86_ram *ram);
/* Whether what the guest touches first comes in huge pages, where the host has them; not at first. Any thread. */
void x86_ram_huge_pages(struct x86_ram *ram, bool on);
/* All zeroes again, and the pages go back to the host. vCPUs paused, devices quiet. -> 0 or -errno. */
int x86_ram_clear(struct x86_ram *ram);

/*
 * [off, off + len) shows [file_off, ...) of @fd, all multiples of the page size: read when the guest gets there,
 * its writes private. The file is not changed there meanwhile and @fd may be closed. -> 0 or -errno.
 */
int x86_ram_map(struct x86_ram *ram, uint64_t off, uint64_t len_bytes, int fd, uint64_t file_off);

/*
 * What was written is gone, and RAM is again as it was mapped, zeroes where it was not: begin, then for each range that
 * shows one piece of a file or none of one, then end, after which the pages go back to the host while the guest runs.
 */
void x86_ram_drop_begin(struct x86_ram *ram);
void x86_ram_drop(struct x86_ram *ram, uint64_t off, uint64_t len_bytes);
void x86_ram_drop_end(struct x86_ram *ram);

#endif
