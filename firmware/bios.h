/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What SeaBIOS needs of a machine: itself in memory, and what it reads as files of the firmware configuration device
 * (devices/platform/fw_cfg.h). ACPI's tables and the generation are in the last 64 KiB of RAM below 4 GiB; the BIOS
 * gets only the root pointer, and puts that where a guest looks for it.
 */
#ifndef FIRMWARE_BIOS_H
#define FIRMWARE_BIOS_H

#include <stddef.h>
#include <stdint.h>

#include "vmm/core/guestmem.h"

/* Where a BIOS starts: 16-bit code. */
#define BIOS_SEGMENT 0xf000
#define BIOS_OFFSET  0xfff0

enum {
	BIOS_MEMORY_MAP_MAX = 512, /* bytes of bios_memory_map() */
	BIOS_LOADER_BYTES = 128,
};

#define BIOS_FILE_MEMORY_MAP	 "etc/e820"
#define BIOS_FILE_LOADER	 "etc/table-loader"
#define BIOS_FILE_RSDP		 "etc/acpi/rsdp"
#define BIOS_FILE_SMBIOS_ENTRY	 "etc/smbios/smbios-anchor"
#define BIOS_FILE_SMBIOS_TABLES	 "etc/smbios/smbios-tables"
#define BIOS_FILE_BOOT_ORDER	 "bootorder"
#define BIOS_FILE_SERIAL_CONSOLE "etc/sercon-port"
#define BIOS_FILE_FAIL_WAIT	 "etc/boot-fail-wait"

/*
 * Puts the BIOS's code to the end of the first MiB, as chipsets show it there: RAM, so that it can change itself. -> 0,
 * -EINVAL (no BIOS: not 64, 128 or 256 KiB that begin with a jump at the reset vector), -EFAULT (no RAM there).
 */
int bios_install(const struct guestmem *gm, const void *rom, size_t len_bytes);

/* Where ACPI_LEN for the tables is (firmware/acpi.h). RAM has at least 2 MiB. */
uint64_t bios_acpi_gpa(const struct guestmem *gm);

/* BIOS_FILE_MEMORY_MAP: RAM without those tables, and what is reserved. -> its length. */
size_t bios_memory_map(const struct guestmem *gm, uint8_t map[BIOS_MEMORY_MAP_MAX]);

/* BIOS_FILE_LOADER: "put BIOS_FILE_RSDP below 1 MiB". */
void bios_loader(uint8_t script[BIOS_LOADER_BYTES]);

#endif
