/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables: found as a guest finds them, and read by ACPICA's own disassembler where it is
 * installed. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "firmware/acpi.h"
#include "tests/unit/firmware/guest_ram.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/x86/layout.h"

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;
	while (n--)
		s += *p++;
	return s;
}

static const uint8_t *table_at(const struct guestmem *gm, uint64_t gpa)
{
	const uint8_t *p = guestmem_ptr(gm, gpa, 36);
	CHECK(p);
	CHECK_EQ(sum(p, get_le32(p + 4)), 0);
	return p;
}

/* The table of this signature, by way of RSDP and XSDT; NULL when there is none. */
static const uint8_t *find_table(const struct guestmem *gm, uint64_t rsdp_gpa, const char *sig)
{
	const uint8_t *rsdp = guestmem_ptr(gm, rsdp_gpa, 36);
	const uint8_t *xsdt = table_at(gm, get_le64(rsdp + 24));
	for (uint32_t off = 36; off < get_le32(xsdt + 4); off += 8) {
		const uint8_t *t = table_at(gm, get_le64(xsdt + off));
		if (!memcmp(t, sig, 4))
			return t;
	}
	return NULL;
}

static struct guestmem installed_at(unsigned int ncpus, uint64_t gpa, bool bios)
{
	struct guestmem gm = guest_ram_new(2 * MIB, 0);
	struct acpi_config cfg = { .ncpus = ncpus, .gpa = gpa, .bios = bios };
	CHECK_EQ(acpi_install(&gm, &cfg), 0);
	return gm;
}

static struct guestmem installed(unsigned int ncpus, uint64_t *rsdp)
{
	*rsdp = ACPI_GPA;
	return installed_at(ncpus, ACPI_GPA, false);
}

TEST(root_pointer_is_where_a_scan_finds_it_and_sums_to_zero)
{
	uint64_t rsdp;
	struct guestmem gm = installed(1, &rsdp);
	const uint8_t *p = guestmem_ptr(&gm, rsdp, 36);
	CHECK(rsdp >= 0xe0000 && rsdp < 0x100000 && rsdp % 16 == 0);
	CHECK(!memcmp(p, "RSD PTR ", 8));
	CHECK_EQ(sum(p, 20), 0);
	CHECK_EQ(sum(p, 36), 0);
	CHECK_EQ(p[15], 2);
	guest_ram_free(&gm);
}

TEST(fadt_is_hardware_reduced_with_reset_and_sleep_registers_and_no_8042)
{
	uint64_t rsdp;
	struct guestmem gm = installed(1, &rsdp);
	const uint8_t *fadt = find_table(&gm, rsdp, "FACP");
	CHECK(fadt);
	CHECK(get_le32(fadt + 112) & 1u << 20);
	CHECK(get_le32(fadt + 112) & 1u << 10);
	CHECK_EQ(fadt[116], 1); /* reset register: I/O space */
	CHECK_EQ(get_le64(fadt + 120), X86_RESET_PORT);
	CHECK_EQ(fadt[128], ACPI_RESET_VALUE);
	CHECK_EQ(get_le16(fadt + 109) & 1 << 1, 0); /* 8042 */
	CHECK(get_le16(fadt + 109) & 1 << 2);	    /* no VGA */
	CHECK_EQ(get_le16(fadt + 109) & 1 << 5, 0); /* the RTC is there */
	CHECK_EQ(get_le64(fadt + 248), X86_EVENT_DEV_BASE + 8);
	CHECK_EQ(get_le64(fadt + 260), X86_EVENT_DEV_BASE + 9);
	guest_ram_free(&gm);
}

TEST(madt_lists_every_cpu_and_the_io_apic)
{
	uint64_t rsdp;
	struct guestmem gm = installed(64, &rsdp);
	const uint8_t *madt = find_table(&gm, rsdp, "APIC");
	unsigned int cpus = 0, ioapics = 0;
	CHECK(madt);
	for (uint32_t off = 44; off < get_le32(madt + 4); off += madt[off + 1]) {
		CHECK(madt[off + 1]);
		if (madt[off] == 0)
			CHECK_EQ(madt[off + 3], cpus++);
		if (madt[off] == 1) {
			CHECK_EQ(get_le32(madt + off + 4), X86_IOAPIC_BASE);
			ioapics++;
		}
	}
	CHECK_EQ(cpus, 64);
	CHECK_EQ(ioapics, 1);
	guest_ram_free(&gm);
}

TEST(mcfg_covers_one_bus)
{
	uint64_t rsdp;
	struct guestmem gm = installed(1, &rsdp);
	const uint8_t *mcfg = find_table(&gm, rsdp, "MCFG");
	CHECK(mcfg);
	CHECK_EQ(get_le32(mcfg + 4), 60);
	CHECK_EQ(get_le64(mcfg + 44), X86_PCI_ECAM_BASE);
	CHECK_EQ(mcfg[54], 0);
	CHECK_EQ(mcfg[55], 0);
	guest_ram_free(&gm);
}

TEST(most_cpus_fit_into_the_firmware_range)
{
	uint64_t rsdp;
	struct guestmem gm = installed(ACPI_CPUS_MAX, &rsdp);
	const uint8_t *fadt = find_table(&gm, rsdp, "FACP");
	const uint8_t *dsdt = table_at(&gm, get_le64(fadt + 140));
	CHECK(get_le32(dsdt + 4) > 254 * 20);
	guest_ram_free(&gm);
}

TEST(memory_without_the_firmware_range_is_an_error)
{
	struct guestmem gm = guest_ram_new(0x80000, 0);
	struct acpi_config cfg = { .ncpus = 1, .gpa = ACPI_GPA };
	CHECK_EQ(acpi_install(&gm, &cfg), -EFAULT);
	guest_ram_free(&gm);
}

/* ---- for a BIOS ---- */

#define BIOS_GPA UINT64_C(0x1f0000)

TEST(fadt_for_a_bios_has_fixed_registers_and_is_not_hardware_reduced)
{
	struct guestmem gm = installed_at(1, BIOS_GPA, true);
	const uint8_t *fadt = find_table(&gm, BIOS_GPA, "FACP");
	CHECK(fadt);
	CHECK_EQ(get_le32(fadt + 112) & 1u << 20, 0);
	CHECK_EQ(get_le16(fadt + 46), X86_SCI_IRQ);
	CHECK_EQ(get_le32(fadt + 56), X86_PM_PORT);
	CHECK_EQ(get_le32(fadt + 64), X86_PM_PORT + 4);
	CHECK_EQ(fadt[88], 4);
	CHECK_EQ(fadt[89], 2);
	CHECK_EQ(fadt[148], 1); /* I/O space */
	CHECK_EQ(get_le64(fadt + 152), X86_PM_PORT);
	CHECK_EQ(get_le64(fadt + 176), X86_PM_PORT + 4);
	CHECK_EQ(get_le32(fadt + 40), get_le64(fadt + 140)); /* the DSDT, twice */
	const uint8_t *facs = guestmem_ptr(&gm, get_le32(fadt + 36), 64);
	CHECK(!memcmp(facs, "FACS", 4));
	CHECK_EQ(get_le32(fadt + 36) % 64, 0);
	guest_ram_free(&gm);
}

TEST(madt_for_a_bios_tells_of_the_8259_and_the_timers_pin)
{
	struct guestmem gm = installed_at(2, BIOS_GPA, true);
	const uint8_t *madt = find_table(&gm, BIOS_GPA, "APIC");
	unsigned int overrides = 0;
	CHECK_EQ(get_le32(madt + 40), 1);
	for (uint32_t off = 44; off < get_le32(madt + 4); off += madt[off + 1]) {
		CHECK(madt[off + 1]);
		if (madt[off] != 2)
			continue;
		CHECK_EQ(madt[off + 3], 0);
		CHECK_EQ(get_le32(madt + off + 4), 2);
		overrides++;
	}
	CHECK_EQ(overrides, 1);
	guest_ram_free(&gm);
}

TEST(boot_loaders_find_the_same_tables_by_the_rsdt)
{
	struct guestmem gm = installed_at(1, BIOS_GPA, true);
	const uint8_t *rsdp = guestmem_ptr(&gm, BIOS_GPA, 36);
	const uint8_t *rsdt = table_at(&gm, get_le32(rsdp + 16));
	const uint8_t *xsdt = table_at(&gm, get_le64(rsdp + 24));
	CHECK(!memcmp(rsdt, "RSDT", 4));
	CHECK_EQ((get_le32(rsdt + 4) - 36) / 4, (get_le32(xsdt + 4) - 36) / 8);
	for (unsigned int i = 0; i < (get_le32(rsdt + 4) - 36) / 4; i++)
		CHECK_EQ(get_le32(rsdt + 36 + 4 * i), get_le64(xsdt + 36 + 8 * i));
	guest_ram_free(&gm);
}

TEST(tables_for_a_bios_are_nowhere_else)
{
	struct guestmem gm = installed_at(1, BIOS_GPA, true);
	const uint8_t *ram = guestmem_ptr(&gm, 0, BIOS_GPA);
	CHECK_EQ(ram[0], 0);
	CHECK(!memcmp(ram, ram + 1, BIOS_GPA - 1));
	guest_ram_free(&gm);
}

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	CHECK(f);
	char *s = calloc(1, 1 << 20);
	size_t n = fread(s, 1, (1 << 20) - 1, f);
	(void)n;
	fclose(f);
	return s;
}

/* Disassembles, then compiles what came out: every length and every name must be right for that. */
static void check_with_iasl(bool bios)
{
	if (system("command -v iasl >/dev/null"))
		SKIP("iasl is not installed (acpica-tools)");
	uint64_t rsdp = bios ? BIOS_GPA : ACPI_GPA;
	struct guestmem gm = installed_at(4, rsdp, bios);
	const uint8_t *fadt = find_table(&gm, rsdp, "FACP");
	const uint8_t *dsdt = table_at(&gm, get_le64(fadt + 140));
	char dir[] = "/tmp/charmvm-acpi-XXXXXX", cmd[512];
	CHECK(mkdtemp(dir));
	snprintf(cmd, sizeof(cmd), "%s/dsdt.aml", dir);
	FILE *f = fopen(cmd, "wb");
	CHECK(f);
	fwrite(dsdt, 1, get_le32(dsdt + 4), f);
	fclose(f);
	snprintf(cmd, sizeof(cmd),
		 "cd %s && iasl -d dsdt.aml >log 2>&1 && iasl -we -p again dsdt.dsl >log2 2>&1",
		 dir);
	int rc = system(cmd);
	snprintf(cmd, sizeof(cmd), "%s/dsdt.dsl", dir);
	char *dsl = rc ? NULL : slurp(cmd);
	if (rc || getenv("KEEP"))
		printf("  see %s\n", dir);
	CHECK_EQ(rc, 0);
	CHECK(strstr(dsl, "\"ACPI0013\""));
	CHECK(strstr(dsl, "Notify (\\_SB.PWRB, 0x80)"));
	CHECK(strstr(dsl, "ToUUID (\"33db4d5b-1ff7-401c-9657-7441c03dd766\")"));
	CHECK(strstr(dsl, "PNP0A08"));
	CHECK(strstr(dsl, "0xC0000000,         // Range Minimum"));
	CHECK(strstr(dsl, "0xDFFFFFFF,         // Range Maximum"));
	CHECK_EQ(!!strstr(dsl, "0xE0100000,         // Range Minimum"), bios);
	CHECK_EQ(!!strstr(dsl, "0xFEBFFFFF,         // Range Maximum"), bios);
	CHECK(strstr(dsl, "PNP0501"));
	CHECK(strstr(dsl, "PNP0B00"));
	CHECK(strstr(dsl, "_S5"));
	free(dsl);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (!getenv("KEEP"))
		CHECK_EQ(system(cmd), 0);
	guest_ram_free(&gm);
}

TEST(iasl_reads_the_dsdt_and_compiles_it_again_without_a_warning)
{
	check_with_iasl(false);
}

TEST(iasl_does_so_with_the_one_for_a_bios)
{
	check_with_iasl(true);
}

TEST_MAIN(T(root_pointer_is_where_a_scan_finds_it_and_sums_to_zero),
	  T(fadt_is_hardware_reduced_with_reset_and_sleep_registers_and_no_8042),
	  T(madt_lists_every_cpu_and_the_io_apic), T(mcfg_covers_one_bus),
	  T(most_cpus_fit_into_the_firmware_range),
	  T(memory_without_the_firmware_range_is_an_error),
	  T(fadt_for_a_bios_has_fixed_registers_and_is_not_hardware_reduced),
	  T(madt_for_a_bios_tells_of_the_8259_and_the_timers_pin),
	  T(boot_loaders_find_the_same_tables_by_the_rsdt), T(tables_for_a_bios_are_nowhere_else),
	  T(iasl_reads_the_dsdt_and_compiles_it_again_without_a_warning),
	  T(iasl_does_so_with_the_one_for_a_bios))
