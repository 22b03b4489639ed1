/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the DSDT says, one function for each device. Everything else sits on PCI and is found there.
 *
 * A new event for the guest (the VM generation counter, say) is one more bit in enum acpi_event,
 * one device here, and one more line in events[].
 */
#include "firmware/acpi_dsdt.h"

#include <stdio.h>

#include "firmware/acpi.h"
#include "firmware/aml.h"
#include "vmm/base/checked.h"
#include "vmm/x86/layout.h"

/* Which event is notified to which object, and how. */
static const struct {
	enum acpi_event event;
	uint8_t notification;
	const char *object;
} events[] = {
	{ ACPI_EVENT_POWER_BUTTON, 0x80, "\\_SB.PWRB" },
	{ ACPI_EVENT_VM_GENERATION, 0x80, "\\_SB.VMGI" },
};

/*
 * _OSC (PCI firmware specification 3.3, 4.5): the guest may have whatever control it asks for,
 * since no firmware holds on to any. An answer for another UUID has bit 2, "unrecognised", set.
 */
static void pci_osc(struct aml *a)
{
	aml_method(a, "_OSC", 4, true);
	/* CreateDWordField (Arg3, 0, CDW1) */
	AML_RAW(a, 0x8a, 0x6b, 0x00, 'C', 'D', 'W', '1');
	/* If (Arg0 != 33DB4D5B-1FF7-401C-9657-7441C03DD766) { CDW1 |= 4 } */
	aml_if(a);
	AML_RAW(a, 0x92, 0x93, 0x68, 0x11, 0x13, 0x0a, 0x10);
	AML_RAW(a, 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40);
	AML_RAW(a, 0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66);
	AML_RAW(a, 0x7d, 'C', 'D', 'W', '1', 0x0a, 0x04, 'C', 'D', 'W', '1');
	aml_close(a);
	/* Return (Arg3) */
	AML_RAW(a, 0xa4, 0x6b);
	aml_close(a);
}

/* The host bridge: one bus, one window of memory, one more where a BIOS puts BARs, no port space, and no INTx: all devices have
 * MSI-X. */
static void pci_host(struct aml *a, bool bios)
{
	struct aml_crs crs = { .len_bytes = 0 };
	aml_crs_bus_window(&crs, 0, 0);
	aml_crs_memory_window(&crs, (uint32_t)X86_PCI_MMIO_BASE, (uint32_t)X86_PCI_MMIO_LEN);
	if (bios)
		aml_crs_memory_window(&crs, (uint32_t)X86_PCI_BIOS_BASE,
				      (uint32_t)X86_PCI_BIOS_LEN);
	aml_device(a, "PCI0");
	aml_name_eisaid(a, "_HID", "PNP0A08");
	aml_name_eisaid(a, "_CID", "PNP0A03");
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	aml_name_crs(a, &crs);
	pci_osc(a);
	aml_close(a);
}

/* The ECAM range belongs to the board: Linux uses it only when it is claimed so. */
static void motherboard(struct aml *a)
{
	struct aml_crs crs = { .len_bytes = 0 };
	aml_crs_memory32(&crs, (uint32_t)X86_PCI_ECAM_BASE, (uint32_t)X86_PCI_ECAM_LEN);
	aml_device(a, "MBRD");
	aml_name_eisaid(a, "_HID", "PNP0C02");
	aml_name_int(a, "_UID", 0);
	aml_name_crs(a, &crs);
	aml_close(a);
}

static void uart(struct aml *a)
{
	struct aml_crs crs = { .len_bytes = 0 };
	aml_crs_io(&crs, X86_UART_PORT, 8);
	aml_crs_irq(&crs, X86_UART_IRQ);
	aml_device(a, "COM1");
	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", 1);
	aml_name_crs(a, &crs);
	aml_close(a);
}

static void rtc(struct aml *a)
{
	struct aml_crs crs = { .len_bytes = 0 };
	aml_crs_io(&crs, X86_RTC_PORT, 2);
	aml_crs_irq(&crs, X86_RTC_IRQ);
	aml_device(a, "RTC");
	aml_name_eisaid(a, "_HID", "PNP0B00");
	aml_name_crs(a, &crs);
	aml_close(a);
}

static void power_button(struct aml *a)
{
	aml_device(a, "PWRB");
	aml_name_eisaid(a, "_HID", "PNP0C0C");
	aml_close(a);
}

/* Where the identifier of this life of the guest is (Virtual Machine Generation ID, Microsoft, 2012): a new one
 * makes the guest reseed its random numbers. */
static void vm_generation(struct aml *a, uint64_t gpa)
{
	const uint64_t address[] = { gpa, 0 }; /* low half, high half */
	aml_device(a, "VMGI");
	aml_name_string(a, "_HID", "CHRM0001");
	aml_name_string(a, "_CID", "VM_Gen_Counter");
	aml_name_string(a, "_DDN", "VM_Gen_Counter");
	aml_name_package(a, "ADDR", address, ARRAY_SIZE(address));
	aml_close(a);
}

/* The generic event device (ACPI 6.5, 5.6.9): its interrupt runs _EVT, which tells the objects. */
static void event_device(struct aml *a)
{
	struct aml_crs crs = { .len_bytes = 0 };
	aml_crs_gsi(&crs, X86_EVENT_DEV_IRQ);
	aml_device(a, "EVNT");
	aml_name_string(a, "_HID", "ACPI0013");
	aml_name_int(a, "_UID", 0);
	aml_name_crs(a, &crs);
	aml_field32(a, "EREG", "PEND", (uint32_t)X86_EVENT_DEV_BASE + ACPI_EVENT_REG_PENDING);
	aml_method(a, "_EVT", 1, true);
	aml_store_to_local0(a, "PEND");
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		aml_if_local0_has(a, events[i].event);
		aml_notify(a, events[i].object, events[i].notification);
		aml_close(a);
	}
	aml_close(a);
	aml_close(a);
}

/* A CPU of the MADT needs a name in the namespace, or Linux 6.10 and later call the firmware
 * broken. */
static void cpu(struct aml *a, unsigned int i)
{
	char name[8];
	snprintf(name, sizeof(name), "C%03X", i & 0xfff);
	aml_device(a, name);
	aml_name_string(a, "_HID", "ACPI0007");
	aml_name_int(a, "_UID", i);
	aml_close(a);
}

void acpi_dsdt_build(struct aml *a, const struct acpi_config *cfg)
{
	static const uint64_t s5[] = { ACPI_SLEEP_TYPE_S5, 0, 0, 0 };
	aml_scope(a, "\\_SB");
	pci_host(a, cfg->bios);
	motherboard(a);
	uart(a);
	rtc(a);
	power_button(a);
	vm_generation(a, cfg->gpa + ACPI_VM_GENERATION_OFF);
	event_device(a);
	for (unsigned int i = 0; i < cfg->ncpus; i++)
		cpu(a, i);
	aml_close(a);
	aml_name_package(a, "\\_S5", s5, ARRAY_SIZE(s5));
}
