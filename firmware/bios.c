/* SPDX-License-Identifier: Apache-2.0 */
/* Memory and tables for SeaBIOS. (Its src/fw/paravirt.c and src/fw/romfile_loader.h say what it reads.) */
#include "firmware/bios.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "firmware/acpi.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/x86/layout.h"

#define ROM_END UINT64_C(0x100000)

enum {
	RESET_FROM_END = 16, /* the reset vector */
	FAR_JUMP = 0xea,

	ENTRY_BYTES = 20, /* of the memory map: address, length, type */
	ENTRIES_MAX = BIOS_MEMORY_MAP_MAX / ENTRY_BYTES,
	TYPE_RAM = 1,
	TYPE_RESERVED = 2,
	KVM_PAGES_BYTES = 4 * 4096, /* identity map and task state segment */

	LOADER_ALLOCATE = 1,
	LOADER_NAME = 4, /* offsets: name, alignment, zone */
	LOADER_ALIGN = 60,
	LOADER_ZONE = 64,
	LOADER_BELOW_1M = 2,
	RSDP_ALIGN = 16,
};

int bios_install(const struct guestmem *gm, const void *rom, size_t len_bytes)
{
	const uint8_t *code = rom;
	if ((len_bytes != 64 * KIB && len_bytes != 128 * KIB && len_bytes != 256 * KIB) ||
	    code[len_bytes - RESET_FROM_END] != FAR_JUMP)
		return -EINVAL;
	return guestmem_write(gm, ROM_END - len_bytes, rom, len_bytes);
}

static uint64_t low_end(const struct guestmem *gm)
{
	uint64_t end = 0;
	for (unsigned int i = 0; i < gm->nregions; i++)
		if (gm->regions[i].gpa < X86_HIGH_RAM_BASE)
			end = gm->regions[i].gpa + gm->regions[i].len_bytes;
	return end;
}

uint64_t bios_acpi_gpa(const struct guestmem *gm)
{
	uint64_t end = low_end(gm);
	assert(end >= 2 * MIB);
	return end - ACPI_LEN;
}

static size_t put_entry(uint8_t *map, size_t len, uint64_t gpa, uint64_t len_bytes, uint32_t type)
{
	static_assert(GUESTMEM_REGIONS_MAX + 3 <= ENTRIES_MAX, "there is room for all entries");
	put_le64(map + len, gpa);
	put_le64(map + len + 8, len_bytes);
	put_le32(map + len + 16, type);
	return len + ENTRY_BYTES;
}

size_t bios_memory_map(const struct guestmem *gm, uint8_t map[BIOS_MEMORY_MAP_MAX])
{
	uint64_t acpi = bios_acpi_gpa(gm);
	size_t len = 0;
	for (unsigned int i = 0; i < gm->nregions; i++) {
		const struct guestmem_region *r = &gm->regions[i];
		bool last_low = r->gpa + r->len_bytes == acpi + ACPI_LEN;
		len = put_entry(map, len, r->gpa, r->len_bytes - (last_low ? ACPI_LEN : 0),
				TYPE_RAM);
	}
	len = put_entry(map, len, acpi, ACPI_LEN, TYPE_RESERVED);
	len = put_entry(map, len, X86_PCI_ECAM_BASE, X86_PCI_ECAM_LEN, TYPE_RESERVED);
	return put_entry(map, len, X86_IDENTITY_MAP_GPA, KVM_PAGES_BYTES, TYPE_RESERVED);
}

void bios_loader(uint8_t script[BIOS_LOADER_BYTES])
{
	memset(script, 0, BIOS_LOADER_BYTES);
	put_le32(script, LOADER_ALLOCATE);
	memcpy(script + LOADER_NAME, BIOS_FILE_RSDP, sizeof(BIOS_FILE_RSDP));
	put_le32(script + LOADER_ALIGN, RSDP_ALIGN);
	script[LOADER_ZONE] = LOADER_BELOW_1M;
}
