/* SPDX-License-Identifier: Apache-2.0 */
/* Who has which part of the firmware range (X86_FIRMWARE_BASE); both parts end up reserved in the
 * memory map. */
#ifndef FIRMWARE_LAYOUT_H
#define FIRMWARE_LAYOUT_H

#include "firmware/acpi.h"
#include "vmm/x86/layout.h"

/* 0xe0000: ACPI, found there by the search for "RSD PTR " too. */
#define FIRMWARE_ACPI_GPA ACPI_GPA
#define FIRMWARE_ACPI_LEN ACPI_LEN

/* 0xf0000: SMBIOS, the only 64 KiB in which its entry point is looked for. */
#define FIRMWARE_SMBIOS_GPA (FIRMWARE_ACPI_GPA + FIRMWARE_ACPI_LEN)
#define FIRMWARE_SMBIOS_LEN (X86_FIRMWARE_LEN - FIRMWARE_ACPI_LEN - FIRMWARE_RESET_LEN)

/* 0xffff0: where a PC starts after a reset, and where a kernel jumps to restart one. */
#define FIRMWARE_RESET_GPA (X86_FIRMWARE_BASE + X86_FIRMWARE_LEN - FIRMWARE_RESET_LEN)
#define FIRMWARE_RESET_LEN UINT64_C(0x10)

#endif
