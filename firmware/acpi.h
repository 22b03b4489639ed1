/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables of an x86-64 machine: hardware-reduced (ACPI 6.5, 4.1), so that the guest has no
 * power management timer, no SCI and no 8259 or 8254 to look for. Addresses are those of
 * vmm/x86/layout.h.
 *
 * Not so for a guest that a BIOS starts: that has let the 8254 tick and left the 8259 open, and a kernel that is
 * told that neither is there dies of the first tick. It is told of both, and of the PM1 registers that go with them
 * (devices/platform/acpi_pm.h).
 *
 * The event device (one page at X86_EVENT_DEV_BASE, an edge on X86_EVENT_DEV_IRQ for each new
 * event) is told to the guest as a generic event device; whoever implements it follows these
 * registers:
 */
#ifndef FIRMWARE_ACPI_H
#define FIRMWARE_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/guestmem.h"
#include "vmm/x86/layout.h"

enum acpi_event_reg {
	ACPI_EVENT_REG_PENDING = 0, /* 32 bits; a read gives the pending events and clears them */
	ACPI_EVENT_REG_SLEEP_CONTROL =
		8, /* 8 bits; ACPI_SLEEP_ENABLE | type << ACPI_SLEEP_TYPE_SHIFT */
	ACPI_EVENT_REG_SLEEP_STATUS = 9, /* 8 bits; ACPI_SLEEP_WAKE, written back to clear it */
};

enum acpi_event {
	ACPI_EVENT_POWER_BUTTON = 1 << 0,
	ACPI_EVENT_VM_GENERATION = 1 << 1,
};

enum {
	ACPI_SLEEP_ENABLE = 1 << 5,
	ACPI_SLEEP_TYPE_SHIFT = 2,
	ACPI_SLEEP_TYPE_MASK = 7,
	ACPI_SLEEP_TYPE_S5 = 5, /* the machine is to be switched off */
	ACPI_SLEEP_WAKE = 1 << 7,
	ACPI_RESET_VALUE = 6, /* written to X86_RESET_PORT */
	ACPI_CPUS_MAX = 254,  /* a local APIC id each; 255 is everybody */
};

/* The memory of all tables, from a multiple of 64 bytes on. */
#define ACPI_LEN UINT64_C(0x10000)
/* Where they are without a BIOS: a guest that looks for the root pointer finds it there. */
#define ACPI_GPA X86_FIRMWARE_BASE

/* 16 bytes that no two lives of a guest share: written anew, at random, when it goes on from a snapshot, and then
 * told by ACPI_EVENT_VM_GENERATION. A page of its own, behind the tables. */
#define ACPI_VM_GENERATION_OFF UINT64_C(0xf000)
#define ACPI_VM_GENERATION_GPA (ACPI_GPA + ACPI_VM_GENERATION_OFF)
#define ACPI_VM_GENERATION_LEN 16

#define ACPI_RSDP_BYTES 36

struct acpi_config {
	unsigned int ncpus; /* 1 to ACPI_CPUS_MAX; CPU i has local APIC id i */
	uint64_t gpa; /* ACPI_LEN of RAM below 4 GiB that the memory map keeps from the guest */
	bool bios;    /* a BIOS starts the guest, and tells it where the root pointer is */
};

/*
 * Writes all tables into guest memory; the root pointer, of ACPI_RSDP_BYTES, is the first. Before the vCPUs run.
 * -> 0, -EFAULT (no RAM there), -ENOMEM.
 */
int acpi_install(const struct guestmem *gm, const struct acpi_config *cfg);

#endif
