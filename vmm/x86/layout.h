/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest-physical memory map and the port map of an x86-64 machine. Numbers only; firmware tells the guest
 * the same (firmware/acpi.c), devices get theirs through their configuration.
 *
 *   0x0000_0000  low RAM, up to 3 GiB
 *   0xc000_0000  PCI memory window (BARs)                   512 MiB
 *   0xe000_0000  PCI ECAM, bus 0 only                         1 MiB
 *   0xe010_0000  where a BIOS puts BARs, from the top down  491 MiB
 *   0xfec0_0000  I/O APIC (in the kernel)
 *   0xfed0_0000  platform registers: event device, VM generation
 *   0xfee0_0000  local APICs (in the kernel)
 *   0xfeff_c000  KVM's identity map page and TSS (Intel without unrestricted guest)
 *   0x1_0000_0000 the rest of RAM
 */
#ifndef X86_LAYOUT_H
#define X86_LAYOUT_H

#include <stdint.h>

#define X86_LOW_RAM_MAX	     UINT64_C(0xc0000000)
#define X86_HIGH_RAM_BASE    UINT64_C(0x100000000)
#define X86_PCI_MMIO_BASE    UINT64_C(0xc0000000)
#define X86_PCI_MMIO_LEN     UINT64_C(0x20000000)
#define X86_PCI_ECAM_BASE    UINT64_C(0xe0000000)
#define X86_PCI_ECAM_LEN     UINT64_C(0x00100000)
#define X86_PCI_BIOS_BASE    (X86_PCI_ECAM_BASE + X86_PCI_ECAM_LEN)
#define X86_PCI_BIOS_LEN     (X86_IOAPIC_BASE - X86_PCI_BIOS_BASE)
#define X86_IOAPIC_BASE	     UINT64_C(0xfec00000)
#define X86_LAPIC_BASE	     UINT64_C(0xfee00000)
#define X86_EVENT_DEV_BASE   UINT64_C(0xfed00000)
#define X86_EVENT_DEV_LEN    UINT64_C(0x1000)
#define X86_IDENTITY_MAP_GPA UINT64_C(0xfeffc000)
#define X86_TSS_GPA	     UINT64_C(0xfeffd000)

enum {
	X86_UART_PORT = 0x3f8,
	X86_UART_IRQ = 4,
	X86_RTC_PORT = 0x70,
	X86_RTC_IRQ = 8,
	X86_EVENT_DEV_IRQ = 9,
	X86_RESET_PORT = 0xcf9,
	X86_KEYBOARD_PORT = 0x64,
	X86_PCI_CONFIG_PORT = 0xcf8,
	X86_FW_CFG_PORT = 0x510, /* with a BIOS, and the next two as well */
	X86_PM_PORT = 0x600,
	X86_SCI_IRQ = 10,
	X86_IOAPIC_PINS = 24,
};

/* Where firmware puts its tables, below 1 MiB; the e820 map keeps them from the kernel. */
#define X86_FIRMWARE_BASE UINT64_C(0x000e0000)
#define X86_FIRMWARE_LEN  UINT64_C(0x00020000)

#endif
