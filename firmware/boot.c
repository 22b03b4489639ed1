/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading a kernel: the parts that do not depend on its format.
 *
 * Where things go, from the bottom: GDT, parameters, command line and page tables in the first 64
 * KiB; the firmware's tables in the firmware range; the kernel from 1 MiB on where it wants to be;
 * the initrd as high as it may be in RAM below 4 GiB, so that the kernel has room above itself to
 * unpack.
 *
 * The kernel file is hostile: every number in it is checked against the file and against RAM before
 * it is used, and it never decides where anything but itself is written.
 */
#include "firmware/boot.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "firmware/boot_priv.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/base/zero.h"
#include "vmm/x86/layout.h"

/* The hole below 1 MiB, seen from RAM: old video memory and ROMs. */
#define LEGACY_HOLE_GPA UINT64_C(0xa0000)
#define LEGACY_HOLE_END UINT64_C(0x100000)

struct map {
	struct boot_map_entry *entries;
	unsigned int n;
};

static void map_add(struct map *m, uint64_t gpa, uint64_t end, enum boot_map_type type)
{
	if (gpa >= end)
		return;
	assert(m->n < BOOT_MAP_MAX);
	m->entries[m->n++] = (struct boot_map_entry){ gpa, end - gpa, type };
}

static void map_add_ram(struct map *m, const struct guestmem_region *r)
{
	uint64_t end = r->gpa + r->len_bytes;
	if (r->gpa >= LEGACY_HOLE_END || end <= LEGACY_HOLE_GPA) {
		map_add(m, r->gpa, end, BOOT_MAP_RAM);
		return;
	}
	map_add(m, r->gpa, LEGACY_HOLE_GPA, BOOT_MAP_RAM);
	map_add(m, X86_FIRMWARE_BASE, X86_FIRMWARE_BASE + X86_FIRMWARE_LEN, BOOT_MAP_RESERVED);
	map_add(m, LEGACY_HOLE_END, end, BOOT_MAP_RAM);
}

unsigned int boot_memory_map(const struct guestmem *gm, struct boot_map_entry map[BOOT_MAP_MAX])
{
	struct map m = { .entries = map };
	unsigned int i = 0;
	for (; i < gm->nregions && gm->regions[i].gpa < X86_HIGH_RAM_BASE; i++)
		map_add_ram(&m, &gm->regions[i]);
	/* Linux trusts the ECAM range early in its boot only if it is reserved here. */
	map_add(&m, X86_PCI_ECAM_BASE, X86_PCI_ECAM_BASE + X86_PCI_ECAM_LEN, BOOT_MAP_RESERVED);
	/* KVM's own pages, up to the ROM's place. */
	map_add(&m, X86_IDENTITY_MAP_GPA, X86_TSS_GPA + 3 * (uint64_t)BOOT_PAGE_BYTES,
		BOOT_MAP_RESERVED);
	for (; i < gm->nregions; i++)
		map_add_ram(&m, &gm->regions[i]);
	return m.n;
}

bool boot_is_kernel_ram(const struct guestmem *gm, uint64_t gpa, uint64_t len_bytes)
{
	uint64_t end;
	return gpa >= BOOT_KERNEL_MIN && ck_add(gpa, len_bytes, &end) && end <= X86_HIGH_RAM_BASE &&
	       guestmem_ptr(gm, gpa, len_bytes);
}

int boot_no_room(const struct guestmem *gm, const struct boot_config *cfg, uint64_t needed_bytes)
{
	log_error("%s: does not fit into %llu MiB of guest memory; give it at least --mem %lluM",
		  cfg->kernel_name, (unsigned long long)(guestmem_size(gm) / MIB),
		  (unsigned long long)(div_round_up(needed_bytes, 64 * MIB) * 64));
	return -ENOSPC;
}

static int initrd_no_room(const struct guestmem *gm, const struct boot_config *cfg,
			  uint64_t kernel_end, bool kernel_limit)
{
	/* An initrd is unpacked beside itself: three times its size is little. */
	uint64_t size = cfg->initrd_bytes, needed = X86_LOW_RAM_MAX;
	if (size < X86_LOW_RAM_MAX / 4)
		needed = MIN(kernel_end + 3 * size, X86_LOW_RAM_MAX);
	if (!kernel_limit && needed > guestmem_size(gm))
		return boot_no_room(gm, cfg, needed);
	log_error(
		"%s: its initrd of %llu MiB is larger than the memory that this kernel can read it "
		"from; make it smaller",
		cfg->kernel_name, (unsigned long long)(size / MIB));
	return -ENOSPC;
}

void boot_put_sparse(uint8_t *ram, const uint8_t *from, uint64_t len_bytes)
{
	while (len_bytes) {
		size_t n = (size_t)MIN(len_bytes, (uint64_t)BOOT_PAGE_BYTES);
		if (!mem_is_zero(from, n))
			memcpy(ram, from, n);
		ram += n;
		from += n;
		len_bytes -= n;
	}
}

int boot_put_initrd(const struct guestmem *gm, const struct boot_config *cfg, uint64_t kernel_end,
		    uint64_t end, uint64_t *gpa)
{
	*gpa = 0;
	if (!cfg->initrd_bytes)
		return 0;
	/* The region that the kernel is in, which is below 4 GiB: so is the initrd. */
	uint64_t ram_end = 0;
	for (unsigned int i = 0; i < gm->nregions; i++) {
		const struct guestmem_region *r = &gm->regions[i];
		if (r->gpa < kernel_end && kernel_end <= r->gpa + r->len_bytes)
			ram_end = r->gpa + r->len_bytes;
	}
	uint64_t top = align_down(MIN(ram_end, end), BOOT_PAGE_BYTES);
	uint64_t room = top > kernel_end ? top - kernel_end : 0;
	uint64_t size = cfg->initrd_bytes;
	if (size > room || align_up(size, BOOT_PAGE_BYTES) > room)
		return initrd_no_room(gm, cfg, kernel_end, MIN(end, ram_end) < ram_end);
	*gpa = top - align_up(size, BOOT_PAGE_BYTES);
	return guestmem_write(gm, *gpa, cfg->initrd, cfg->initrd_bytes);
}

int boot_put_cmdline(const struct guestmem *gm, const struct boot_config *cfg, uint64_t max_chars)
{
	size_t len = strlen(cfg->cmdline);
	uint64_t max = MIN(max_chars, (uint64_t)BOOT_CMDLINE_MAX);
	if (len > max) {
		log_error(
			"%s: a command line of %zu characters is too long, this kernel takes %llu; "
			"shorten --append",
			cfg->kernel_name, len, (unsigned long long)max);
		return -E2BIG;
	}
	return guestmem_write(gm, BOOT_CMDLINE_GPA, cfg->cmdline, len + 1);
}

int boot_put_gdt(const struct guestmem *gm, enum boot_kind kind, struct boot_entry *out)
{
	uint8_t gdt[4 * 8] = { 0 };
	/* Flat segments, present, already accessed: 4 GiB of code (L or D set) and of data. */
	put_le64(gdt + BOOT_CS, kind == BOOT_LINUX64 ? UINT64_C(0x00af9b000000ffff)
						     : UINT64_C(0x00cf9b000000ffff));
	put_le64(gdt + BOOT_DS, UINT64_C(0x00cf93000000ffff));
	out->kind = kind;
	out->gdt_gpa = BOOT_GDT_GPA;
	out->gdt_limit = sizeof(gdt) - 1;
	return guestmem_write(gm, BOOT_GDT_GPA, gdt, sizeof(gdt));
}

int boot_load(const struct guestmem *gm, const struct boot_config *cfg, struct boot_entry *out)
{
	*out = (struct boot_entry){ .rip = 0 };
	if (elf_pvh_probe(cfg->kernel, cfg->kernel_bytes))
		return elf_pvh_load(gm, cfg, out);
	if (bzimage_probe(cfg->kernel, cfg->kernel_bytes))
		return bzimage_load(gm, cfg, out);
	log_error("%s: not a kernel: neither a Linux bzImage nor an x86-64 ELF file",
		  cfg->kernel_name);
	return -EINVAL;
}
