/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a kernel, its initrd and its command line into guest memory, and says how the first CPU
 * starts. Two protocols: a Linux bzImage by its 64-bit entry (Documentation/arch/x86/boot.rst), and
 * an ELF file by the PVH entry that its note names (Xen's docs/misc/pvh.pandoc).
 */
#ifndef FIRMWARE_BOOT_H
#define FIRMWARE_BOOT_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/core/guestmem.h"

enum boot_kind {
	BOOT_LINUX64, /* long mode, paging on, interrupts off; rsi = the zero page */
	BOOT_PVH,     /* 32-bit protected mode, paging and interrupts off; ebx = the start info */
};

/*
 * The first CPU's registers. Selectors are those of the GDT at gdt_gpa: flat code at BOOT_CS
 * (64-bit for BOOT_LINUX64, 32-bit for BOOT_PVH), flat data at BOOT_DS for all data segments. All
 * other general registers are 0.
 */
struct boot_entry {
	enum boot_kind kind;
	uint64_t rip;
	uint64_t rsi; /* BOOT_LINUX64 */
	uint64_t rbx; /* BOOT_PVH */
	uint64_t cr3; /* BOOT_LINUX64: maps the first 4 GiB to themselves */
	uint64_t gdt_gpa;
	uint16_t gdt_limit;
};

enum { BOOT_CS = 0x10, BOOT_DS = 0x18 };

/* The longest command line any kernel here takes, without its NUL. */
enum { BOOT_CMDLINE_MAX = 4095 };

struct boot_config {
	const char *kernel_name; /* for messages */
	const void *kernel;
	size_t kernel_bytes;
	const void *initrd; /* NULL: none */
	size_t initrd_bytes;
	const char *cmdline;
	uint64_t rsdp_gpa; /* acpi_install() */
};

/*
 * Checks and loads all of it; the buffers can be freed after. RAM is all zeroes, as it is after the machine's
 * creation and a reset: pages of zeroes are left as they are, and need no memory
 * of the host. Before the vCPUs run. Each failure is logged once.
 * -> 0 and *out; -EINVAL (not a kernel, damaged), -ENOTSUP (a kernel we cannot start), -E2BIG
 * (command line), -ENOSPC (guest memory is too small), -EFAULT (no RAM at the start).
 */
int boot_load(const struct guestmem *gm, const struct boot_config *cfg, struct boot_entry *out);

#endif
