/* SPDX-License-Identifier: Apache-2.0 */
/* What the two boot protocols share: places in low memory, the memory map, the initrd's place. */
#ifndef FIRMWARE_BOOT_PRIV_H
#define FIRMWARE_BOOT_PRIV_H

#include <stdbool.h>

#include "firmware/boot.h"

/*
 * Low memory at the start. The kernel has copied all it wants from here before it gives the memory
 * to others.
 */
#define BOOT_GDT_GPA UINT64_C(0x1000)
#define BOOT_PARAMS_GPA                                                                            \
	UINT64_C(0x2000) /* zero page, or PVH start info, module list and memory map */
#define BOOT_CMDLINE_GPA UINT64_C(0x3000)
#define BOOT_TABLES_GPA	 UINT64_C(0x8000)   /* page tables */
#define BOOT_KERNEL_MIN	 UINT64_C(0x100000) /* nothing of a kernel's is loaded below */

enum { BOOT_PAGE_BYTES = 4096 };

/* One range of the memory map; types are those of e820 and of PVH alike. */
enum boot_map_type { BOOT_MAP_RAM = 1, BOOT_MAP_RESERVED = 2 };
enum { BOOT_MAP_MAX = 16 };

struct boot_map_entry {
	uint64_t gpa;
	uint64_t len_bytes;
	enum boot_map_type type;
};

/* RAM without the legacy hole, the firmware range, and reserved platform ranges, ascending. -> how
 * many. */
unsigned int boot_memory_map(const struct guestmem *gm, struct boot_map_entry map[BOOT_MAP_MAX]);

/* [gpa, gpa+len) can hold a kernel: RAM from 1 MiB to 4 GiB. */
bool boot_is_kernel_ram(const struct guestmem *gm, uint64_t gpa, uint64_t len_bytes);

/*
 * Copies the initrd to the highest page below @end (exclusive) in low RAM, at or above @kernel_end.
 * -> 0 and *gpa (0 without an initrd), -ENOSPC (logged).
 */
int boot_put_initrd(const struct guestmem *gm, const struct boot_config *cfg, uint64_t kernel_end,
		    uint64_t end, uint64_t *gpa);

/* At most @max_chars. -> 0, -E2BIG (logged), -EFAULT. */
int boot_put_cmdline(const struct guestmem *gm, const struct boot_config *cfg, uint64_t max_chars);

/* The GDT for @kind, told in *out. -> 0, -EFAULT. */
int boot_put_gdt(const struct guestmem *gm, enum boot_kind kind, struct boot_entry *out);

/* Copies @len_bytes into RAM that is all zeroes, but for whole pages of zeroes. */
void boot_put_sparse(uint8_t *ram, const uint8_t *from, uint64_t len_bytes);

/* The kernel does not fit: one line that says how much memory it wants. -> -ENOSPC. */
int boot_no_room(const struct guestmem *gm, const struct boot_config *cfg, uint64_t needed_bytes);

/* The two protocols. Arguments and results are those of boot_load(). */
bool bzimage_probe(const void *kernel, size_t len_bytes);
int bzimage_load(const struct guestmem *gm, const struct boot_config *cfg, struct boot_entry *out);
bool elf_pvh_probe(const void *kernel, size_t len_bytes);
int elf_pvh_load(const struct guestmem *gm, const struct boot_config *cfg, struct boot_entry *out);

#endif
