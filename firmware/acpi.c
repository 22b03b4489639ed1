/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed ACPI tables.
 *
 * How it works: everything is laid out in one buffer that mirrors guest memory from
 * acpi_config.gpa on:
 *
 *     RSDP -> XSDT -> FADT -> DSDT, with a BIOS -> FACS
 *                  -> MADT (CPUs, I/O APIC)
 *                  -> MCFG (PCI configuration space)
 *
 * and copied once. Tables are built leaves first; the root pointer's place at the start is kept
 * free for it. Offsets inside tables are cited from ACPI 6.5.
 */
#include "firmware/acpi.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/acpi_dsdt.h"
#include "firmware/aml.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	RSDP_BYTES = ACPI_RSDP_BYTES,
	RSDP_V1_BYTES = 20,
	HEADER_BYTES = 36,
	FADT_BYTES = 276,
	MCFG_BYTES = HEADER_BYTES + 8 + 16,
	FACS_BYTES = 64,
	TABLE_ALIGN = 16,
	FACS_ALIGN = 64,
	TABLES_MAX = 3, /* that the XSDT lists */
	TABLES_BYTES_MAX = 16384,
};

/* 5.2.9, FADT offsets and bits. */
enum {
	FADT_FACS = 36,
	FADT_DSDT = 40,
	FADT_PM_PROFILE = 45,
	FADT_SCI = 46,
	FADT_PM1A_EVT = 56,
	FADT_PM1A_CNT = 64,
	FADT_PM1_EVT_LEN = 88,
	FADT_PM1_CNT_LEN = 89,
	FADT_C2_LATENCY = 96,
	FADT_C3_LATENCY = 98,
	FADT_BOOT_ARCH = 109,
	FADT_FLAGS = 112,
	FADT_RESET_REG = 116,
	FADT_RESET_VALUE = 128,
	FADT_MINOR_REVISION = 131,
	FADT_X_DSDT = 140,
	FADT_X_PM1A_EVT = 148,
	FADT_X_PM1A_CNT = 172,
	FADT_SLEEP_CONTROL_REG = 244,
	FADT_SLEEP_STATUS_REG = 256,
	FADT_HYPERVISOR_ID = 268,

	PM1_EVT_BYTES = 4,
	PM1_CNT_BYTES = 2,
	LATENCY_NONE = 0xfff, /* there is no such state */

	BOOT_ARCH_NO_VGA = 1 << 2,
	BOOT_ARCH_NO_ASPM = 1 << 4,

	FLAG_WBINVD = 1 << 0,
	FLAG_PROC_C1 = 1 << 2,
	FLAG_PWR_BUTTON = 1 << 4, /* not a fixed one */
	FLAG_SLP_BUTTON = 1 << 5,
	FLAG_FIX_RTC = 1 << 6, /* the RTC's alarm is no fixed event */
	FLAG_RESET_REG = 1 << 10,
	FLAG_HW_REDUCED = 1 << 20,
};

/* 5.2.3.2, generic address structure. */
enum { GAS_BYTES = 12, GAS_MEMORY = 0, GAS_IO = 1, GAS_ACCESS_BYTE = 1, GAS_ACCESS_WORD = 2 };

/* 5.2.12, MADT entries. */
enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4,

	MADT_HAS_8259 = 1, /* of the table */
	MADT_CPU_ENABLED = 1,
	TIMER_IRQ = 0,
	TIMER_PIN = 2, /* of the I/O APIC, as on every PC */
};

struct tables {
	const struct acpi_config *cfg;
	uint8_t *buf; /* guest memory from cfg->gpa on */
	size_t len_bytes;
	uint64_t listed[TABLES_MAX];
	unsigned int nlisted;
};

static uint8_t checksum(const uint8_t *p, size_t len_bytes)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < len_bytes; i++)
		sum += p[i];
	return (uint8_t)-sum;
}

/* A table's bytes, zeroed; its length is bounded by what the tables below need at most. */
static uint8_t *table_open(struct tables *t)
{
	t->len_bytes = align_up(t->len_bytes, TABLE_ALIGN);
	assert(t->len_bytes < TABLES_BYTES_MAX);
	return t->buf + t->len_bytes;
}

/* Fills in the header of the table of @len_bytes at @p and keeps it. -> its address. */
static uint64_t table_close(struct tables *t, uint8_t *p, const char *signature, uint8_t revision,
			    size_t len_bytes)
{
	uint64_t gpa = t->cfg->gpa + (uint64_t)(p - t->buf);
	memcpy(p, signature, 4);
	put_le32(p + 4, (uint32_t)len_bytes);
	p[8] = revision;
	memcpy(p + 10, "CHARM ", 6);
	memcpy(p + 16, "CHARMVM ", 8);
	put_le32(p + 24, 1);
	memcpy(p + 28, "CHVM", 4);
	put_le32(p + 32, 1);
	p[9] = checksum(p, len_bytes);
	t->len_bytes = (size_t)(p - t->buf) + len_bytes;
	assert(t->len_bytes <= TABLES_BYTES_MAX);
	return gpa;
}

static void list(struct tables *t, uint64_t gpa)
{
	assert(t->nlisted < TABLES_MAX);
	t->listed[t->nlisted++] = gpa;
}

static void put_gas(uint8_t *p, uint8_t space, uint64_t address, unsigned int bytes)
{
	p[0] = space;
	p[1] = (uint8_t)(8 * bytes); /* bits */
	p[3] = bytes == 1 ? GAS_ACCESS_BYTE : GAS_ACCESS_WORD;
	put_le64(p + 4, address);
}

static uint64_t build_dsdt(struct tables *t)
{
	uint8_t *p = table_open(t);
	struct aml a;
	size_t aml_bytes;
	aml_init(&a, p + HEADER_BYTES, TABLES_BYTES_MAX - t->len_bytes - HEADER_BYTES);
	acpi_dsdt_build(&a, t->cfg);
	int err = aml_done(&a, &aml_bytes);
	assert(!err); /* the test of ACPI_CPUS_MAX CPUs sees to it */
	(void)err;
	return table_close(t, p, "DSDT", 2, HEADER_BYTES + aml_bytes);
}

/* The firmware's control structure: all zeroes but for its size, as nobody sleeps here. */
static uint64_t build_facs(struct tables *t)
{
	t->len_bytes = align_up(t->len_bytes, FACS_ALIGN);
	uint8_t *p = table_open(t);
	memcpy(p, "FACS", 4);
	put_le32(p + 4, FACS_BYTES);
	t->len_bytes += FACS_BYTES;
	return t->cfg->gpa + (uint64_t)(p - t->buf);
}

/* Hardware-reduced: power off is a register in memory. */
static void put_reduced(uint8_t *fadt)
{
	put_gas(fadt + FADT_SLEEP_CONTROL_REG, GAS_MEMORY,
		X86_EVENT_DEV_BASE + ACPI_EVENT_REG_SLEEP_CONTROL, 1);
	put_gas(fadt + FADT_SLEEP_STATUS_REG, GAS_MEMORY,
		X86_EVENT_DEV_BASE + ACPI_EVENT_REG_SLEEP_STATUS, 1);
}

/* A PC with its PM1 registers. The 32-bit fields are for boot loaders and old kernels. */
static void put_fixed(uint8_t *fadt, uint64_t facs, uint64_t dsdt)
{
	put_le32(fadt + FADT_FACS, (uint32_t)facs);
	put_le32(fadt + FADT_DSDT, (uint32_t)dsdt);
	put_le16(fadt + FADT_SCI, X86_SCI_IRQ);
	put_le32(fadt + FADT_PM1A_EVT, X86_PM_PORT);
	put_le32(fadt + FADT_PM1A_CNT, X86_PM_PORT + PM1_EVT_BYTES);
	fadt[FADT_PM1_EVT_LEN] = PM1_EVT_BYTES;
	fadt[FADT_PM1_CNT_LEN] = PM1_CNT_BYTES;
	put_le16(fadt + FADT_C2_LATENCY, LATENCY_NONE);
	put_le16(fadt + FADT_C3_LATENCY, LATENCY_NONE);
	put_gas(fadt + FADT_X_PM1A_EVT, GAS_IO, X86_PM_PORT, PM1_EVT_BYTES);
	put_gas(fadt + FADT_X_PM1A_CNT, GAS_IO, X86_PM_PORT + PM1_EVT_BYTES, PM1_CNT_BYTES);
}

static void build_fadt(struct tables *t)
{
	uint64_t dsdt = build_dsdt(t), facs = t->cfg->bios ? build_facs(t) : 0;
	uint8_t *p = table_open(t);
	/* No 8042 (bit 1 clear) saves the guest half a second of probing; the RTC is there (bit 5
	 * clear). */
	put_le16(p + FADT_BOOT_ARCH, BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_ASPM);
	put_le32(p + FADT_FLAGS, FLAG_WBINVD | FLAG_PROC_C1 | FLAG_PWR_BUTTON | FLAG_SLP_BUTTON |
					 FLAG_FIX_RTC | FLAG_RESET_REG |
					 (t->cfg->bios ? 0 : FLAG_HW_REDUCED));
	put_gas(p + FADT_RESET_REG, GAS_IO, X86_RESET_PORT, 1);
	p[FADT_RESET_VALUE] = ACPI_RESET_VALUE;
	p[FADT_MINOR_REVISION] = 5;
	put_le64(p + FADT_X_DSDT, dsdt);
	if (t->cfg->bios)
		put_fixed(p, facs, dsdt);
	else
		put_reduced(p);
	memcpy(p + FADT_HYPERVISOR_ID, "charmvm", 8);
	list(t, table_close(t, p, "FACP", 6, FADT_BYTES));
}

/* ISA interrupts are the I/O APIC's pins of the same number, edge and high: no overrides, but for the timer's where it
 * is told of. */
static void build_madt(struct tables *t)
{
	const struct acpi_config *cfg = t->cfg;
	uint8_t *p = table_open(t), *e = p + HEADER_BYTES + 8;
	put_le32(p + HEADER_BYTES, (uint32_t)X86_LAPIC_BASE);
	put_le32(p + HEADER_BYTES + 4, cfg->bios ? MADT_HAS_8259 : 0);
	for (unsigned int i = 0; i < cfg->ncpus; i++, e += 8) {
		e[0] = MADT_LAPIC;
		e[1] = 8;
		e[2] = (uint8_t)i; /* _UID */
		e[3] = (uint8_t)i; /* APIC id */
		put_le32(e + 4, MADT_CPU_ENABLED);
	}
	e[0] = MADT_IOAPIC;
	e[1] = 12;
	put_le32(e + 4, (uint32_t)X86_IOAPIC_BASE);
	e += 12;
	if (cfg->bios) {
		e[0] = MADT_OVERRIDE;
		e[1] = 10;
		e[3] = TIMER_IRQ;
		put_le32(e + 4, TIMER_PIN);
		e += 10;
	}
	e[0] = MADT_LAPIC_NMI;
	e[1] = 6;
	e[2] = 0xff; /* every CPU */
	e[5] = 1;    /* LINT1 */
	e += 6;
	list(t, table_close(t, p, "APIC", 5, (size_t)(e - p)));
}

/* PCI firmware specification 3.3, 4.1.2: one segment, one bus. */
static void build_mcfg(struct tables *t)
{
	uint8_t *p = table_open(t);
	put_le64(p + HEADER_BYTES + 8, X86_PCI_ECAM_BASE);
	list(t, table_close(t, p, "MCFG", 1, MCFG_BYTES));
}

static uint64_t build_xsdt(struct tables *t)
{
	uint8_t *p = table_open(t);
	for (unsigned int i = 0; i < t->nlisted; i++)
		put_le64(p + HEADER_BYTES + 8 * i, t->listed[i]);
	return table_close(t, p, "XSDT", 1, HEADER_BYTES + 8 * t->nlisted);
}

/* The same with addresses of 32 bits, for boot loaders, which look at nothing else where a root pointer has room for
 * its address. Without a BIOS there are none. */
static uint64_t build_rsdt(struct tables *t)
{
	if (!t->cfg->bios)
		return 0;
	uint8_t *p = table_open(t);
	for (unsigned int i = 0; i < t->nlisted; i++)
		put_le32(p + HEADER_BYTES + 4 * i, (uint32_t)t->listed[i]);
	return table_close(t, p, "RSDT", 1, HEADER_BYTES + 4 * t->nlisted);
}

/* 5.2.5.3. The first checksum is that of the ACPI 1.0 part. */
static void build_rsdp(struct tables *t, uint64_t rsdt, uint64_t xsdt)
{
	uint8_t *p = t->buf;
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, "CHARM ", 6);
	p[15] = 2;
	put_le32(p + 16, (uint32_t)rsdt);
	put_le32(p + 20, RSDP_BYTES);
	put_le64(p + 24, xsdt);
	p[8] = checksum(p, RSDP_V1_BYTES);
	p[32] = checksum(p, RSDP_BYTES);
}

int acpi_install(const struct guestmem *gm, const struct acpi_config *cfg)
{
	static_assert((uint64_t)TABLES_BYTES_MAX <= ACPI_VM_GENERATION_OFF,
		      "the generation comes next");
	static_assert(ACPI_VM_GENERATION_OFF + ACPI_VM_GENERATION_LEN <= ACPI_LEN,
		      "and is the last");
	assert(cfg->ncpus >= 1 && cfg->ncpus <= ACPI_CPUS_MAX);
	struct tables t = { .cfg = cfg,
			    .buf = calloc(1, TABLES_BYTES_MAX),
			    .len_bytes = RSDP_BYTES };
	if (!t.buf)
		return -ENOMEM;
	build_fadt(&t);
	build_madt(&t);
	build_mcfg(&t);
	uint64_t rsdt = build_rsdt(&t);
	build_rsdp(&t, rsdt, build_xsdt(&t));
	int err = guestmem_write(gm, cfg->gpa, t.buf, t.len_bytes);
	free(t.buf);
	return err;
}
