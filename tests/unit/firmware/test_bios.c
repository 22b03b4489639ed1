/* SPDX-License-Identifier: Apache-2.0 */
/* What a BIOS is given, and what a BIOS could start. */
#include "firmware/bios.h"

#include <errno.h>
#include <stdlib.h>

#include "firmware/acpi.h"
#include "firmware/boot_sector.h"
#include "tests/unit/firmware/fake_blk.h"
#include "tests/unit/firmware/guest_ram.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/x86/layout.h"

/* A ROM of code that jumps at its reset vector; every KiB has its number. */
static uint8_t *rom_new(size_t len)
{
	uint8_t *rom = calloc(1, len);
	CHECK(rom && len > 16);
	for (size_t i = 0; i < len; i += KIB)
		rom[i] = (uint8_t)(i / KIB);
	rom[len - 16] = 0xea;
	return rom;
}

TEST(rom_ends_with_the_first_mib_and_leaves_what_is_before_it)
{
	struct guestmem gm = guest_ram_new(2 * MIB, 0);
	static const size_t sizes[] = { 64 * KIB, 128 * KIB, 256 * KIB };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint8_t *rom = rom_new(sizes[i]);
		CHECK_EQ(bios_install(&gm, rom, sizes[i]), 0);
		CHECK(!memcmp(guestmem_ptr(&gm, MIB - sizes[i], sizes[i]), rom, sizes[i]));
		CHECK_EQ(*(uint8_t *)guestmem_ptr(&gm, MIB - sizes[i] - 1, 1), 0);
		free(rom);
	}
	guest_ram_free(&gm);
}

TEST(file_of_another_size_or_without_a_jump_is_no_bios)
{
	struct guestmem gm = guest_ram_new(2 * MIB, 0);
	uint8_t *rom = rom_new(512 * KIB);
	CHECK_EQ(bios_install(&gm, rom, 512 * KIB), -EINVAL);
	CHECK_EQ(bios_install(&gm, rom, 100), -EINVAL);
	CHECK_EQ(bios_install(&gm, rom, 0), -EINVAL);
	CHECK_EQ(bios_install(&gm, rom, 256 * KIB), -EINVAL); /* the jump is at the end of 512 */
	free(rom);
	guest_ram_free(&gm);
}

/* Whether the map has exactly this entry; -1: no entry starts there. */
static int64_t entry(const uint8_t *map, size_t len, uint64_t gpa, uint32_t type)
{
	for (size_t i = 0; i < len; i += 20)
		if (get_le64(map + i) == gpa && get_le32(map + i + 16) == type)
			return (int64_t)get_le64(map + i + 8);
	return -1;
}

TEST(memory_map_has_all_ram_but_the_end_below_4_gib)
{
	struct guestmem gm = guest_ram_new(64 * MIB, 32 * MIB);
	uint8_t map[BIOS_MEMORY_MAP_MAX];
	size_t len = bios_memory_map(&gm, map);
	CHECK_EQ(len % 20, 0);
	CHECK_EQ(bios_acpi_gpa(&gm), 64 * MIB - ACPI_LEN);
	CHECK_EQ(entry(map, len, 0, 1), 64 * MIB - ACPI_LEN);
	CHECK_EQ(entry(map, len, 64 * MIB - ACPI_LEN, 2), ACPI_LEN);
	CHECK_EQ(entry(map, len, 4 * GIB, 1), 32 * MIB);
	CHECK_EQ(entry(map, len, X86_PCI_ECAM_BASE, 2), X86_PCI_ECAM_LEN);
	guest_ram_free(&gm);
}

TEST(loader_puts_the_root_pointer_below_1_mib)
{
	uint8_t script[BIOS_LOADER_BYTES];
	bios_loader(script);
	CHECK_EQ(get_le32(script), 1);
	CHECK_STR((char *)script + 4, "etc/acpi/rsdp");
	CHECK_EQ(get_le32(script + 60), 16);
	CHECK_EQ(script[64], 2);
}

/* ---- boot sectors ---- */

static bool found(const struct blk_node *disk)
{
	bool yes = true;
	CHECK_EQ(boot_sector_find((struct blk_node *)(uintptr_t)disk, &yes), 0);
	return yes;
}

TEST(boot_sector_needs_code_and_signature)
{
	struct blk_node *disk = fake_blk_new(4096);
	CHECK(!found(disk));
	disk->data[0] = 0xeb;
	CHECK(!found(disk));
	put_le16(disk->data + 510, 0xaa55);
	CHECK(found(disk));
	disk->data[0] = 0;
	put_le32(disk->data + 446, 0x80); /* a table of partitions alone */
	CHECK(!found(disk));
	fake_blk_free(disk);
}

TEST(sector_that_cannot_be_read_is_an_error_and_a_tiny_disk_is_none)
{
	struct blk_node *disk = fake_blk_new(4096);
	bool yes = true;
	disk->fail_at = 0;
	CHECK_EQ(boot_sector_find(disk, &yes), -EIO);
	CHECK(!yes);
	fake_blk_free(disk);
	disk = fake_blk_new(0);
	CHECK(!found(disk));
	fake_blk_free(disk);
}

TEST(bootable_cd_has_a_boot_record)
{
	struct blk_node *cd = fake_blk_new(17 * 2048);
	bool yes = true;
	CHECK_EQ(boot_record_find(cd, &yes), 0);
	CHECK(!yes);
	fake_blk_free(cd);
	cd = fake_blk_new(18 * 2048);
	memcpy(cd->data + 17 * 2048 + 1, "CD001\1EL TORITO SPECIFICATION", 29);
	CHECK_EQ(boot_record_find(cd, &yes), 0);
	CHECK(yes);
	cd->data[17 * 2048] = 1; /* another descriptor */
	CHECK_EQ(boot_record_find(cd, &yes), 0);
	CHECK(!yes);
	cd->fail_at = 17 * 2048;
	CHECK_EQ(boot_record_find(cd, &yes), -EIO);
	fake_blk_free(cd);
}

TEST_MAIN(T(rom_ends_with_the_first_mib_and_leaves_what_is_before_it),
	  T(file_of_another_size_or_without_a_jump_is_no_bios),
	  T(memory_map_has_all_ram_but_the_end_below_4_gib),
	  T(loader_puts_the_root_pointer_below_1_mib), T(boot_sector_needs_code_and_signature),
	  T(sector_that_cannot_be_read_is_an_error_and_a_tiny_disk_is_none),
	  T(bootable_cd_has_a_boot_record))
