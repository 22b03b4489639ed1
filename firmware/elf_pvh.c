/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF kernels with a PVH note (XEN_ELFNOTE_PHYS32_ENTRY; Linux's vmlinux has one with CONFIG_PVH).
 *
 * Loaded are the segments, each at its physical address. Rules that keep a hostile file harmless:
 *   (1) a segment lies in the file, and in RAM between 1 MiB and 4 GiB;
 *   (2) segments come in ascending order and do not overlap (so none is written twice);
 *   (3) the entry lies in a segment;
 *   (4) tables of the file are looked at up to PHDRS_MAX headers and NOTES_MAX notes.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "firmware/boot_priv.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/x86/layout.h"

enum {
	PHDRS_MAX = 64,
	NOTES_MAX = 256,
	NOTE_HEADER_BYTES = 12,
	NOTE_ALIGN = 4,
	XEN_ELFNOTE_PHYS32_ENTRY = 18,
	CMDLINE_MAX = 2047, /* Linux's COMMAND_LINE_SIZE on x86; PVH has no field for it */
};

/* Xen's public/arch-x86/hvm/start_info.h; all little-endian. */
enum {
	START_INFO_MAGIC = 0x336ec578,
	START_INFO_VERSION = 1,
	START_INFO_BYTES = 56,
	MODULE_BYTES = 32,
	MEMMAP_BYTES = 24,
};

struct elf {
	const uint8_t *file;
	size_t file_bytes;
	unsigned int nphdrs;
	Elf64_Phdr phdrs[PHDRS_MAX];
	uint64_t entry;
	bool has_entry;
	uint64_t end; /* of the highest segment, in guest memory */
};

bool elf_pvh_probe(const void *kernel, size_t len_bytes)
{
	return len_bytes >= sizeof(Elf64_Ehdr) && !memcmp(kernel, ELFMAG, SELFMAG);
}

static int damaged(const struct boot_config *cfg, const char *what)
{
	log_error("%s: the ELF file is damaged: %s", cfg->kernel_name, what);
	return -EINVAL;
}

static int read_headers(const struct boot_config *cfg, struct elf *e)
{
	Elf64_Ehdr eh;
	memcpy(&eh, e->file, sizeof(eh));
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh.e_machine != EM_X86_64) {
		log_error("%s: an ELF file, but not for x86-64", cfg->kernel_name);
		return -ENOTSUP;
	}
	if (eh.e_phentsize != sizeof(Elf64_Phdr) || !eh.e_phnum || eh.e_phnum > PHDRS_MAX)
		return damaged(cfg, "its number of program headers");
	e->nphdrs = eh.e_phnum;
	if (!ck_range(eh.e_phoff, e->nphdrs * sizeof(Elf64_Phdr), e->file_bytes))
		return damaged(cfg, "its program headers are outside the file");
	memcpy(e->phdrs, e->file + eh.e_phoff, e->nphdrs * sizeof(Elf64_Phdr));
	for (unsigned int i = 0; i < e->nphdrs; i++)
		if (!ck_range(e->phdrs[i].p_offset, e->phdrs[i].p_filesz, e->file_bytes))
			return damaged(cfg, "a segment is outside the file");
	return 0;
}

/* One note at p, of at most @left bytes; -> its bytes with padding, 0 when it does not fit. */
static uint64_t read_note(struct elf *e, const uint8_t *p, uint64_t left)
{
	if (left < NOTE_HEADER_BYTES)
		return 0;
	uint64_t name_bytes = get_le32(p), desc_bytes = get_le32(p + 4);
	uint64_t desc_off = NOTE_HEADER_BYTES + align_up(name_bytes, NOTE_ALIGN);
	if (!ck_range(desc_off, desc_bytes, left))
		return 0;
	if (get_le32(p + 8) == XEN_ELFNOTE_PHYS32_ENTRY && name_bytes == 4 &&
	    !memcmp(p + NOTE_HEADER_BYTES, "Xen", 4) && (desc_bytes == 4 || desc_bytes == 8)) {
		e->entry = desc_bytes == 4 ? get_le32(p + desc_off) : get_le64(p + desc_off);
		e->has_entry = true;
	}
	return MIN(desc_off + align_up(desc_bytes, NOTE_ALIGN), left);
}

static void read_notes(struct elf *e, const Elf64_Phdr *ph)
{
	const uint8_t *p = e->file + ph->p_offset;
	uint64_t left = ph->p_filesz;
	for (unsigned int i = 0; i < NOTES_MAX && !e->has_entry; i++) {
		uint64_t used = read_note(e, p, left);
		if (!used)
			return;
		p += used;
		left -= used;
	}
}

static int find_entry(const struct boot_config *cfg, struct elf *e)
{
	for (unsigned int i = 0; i < e->nphdrs && !e->has_entry; i++)
		if (e->phdrs[i].p_type == PT_NOTE)
			read_notes(e, &e->phdrs[i]);
	if (!e->has_entry) {
		log_error("%s: an ELF file without a PVH entry note; give a bzImage, or a vmlinux "
			  "built "
			  "with CONFIG_PVH",
			  cfg->kernel_name);
		return -ENOTSUP;
	}
	for (unsigned int i = 0; i < e->nphdrs; i++) {
		const Elf64_Phdr *ph = &e->phdrs[i];
		if (ph->p_type == PT_LOAD && e->entry >= ph->p_paddr &&
		    e->entry - ph->p_paddr < ph->p_memsz)
			return 0;
	}
	return damaged(cfg, "its entry is in none of its segments");
}

static int check_segments(const struct guestmem *gm, const struct boot_config *cfg, struct elf *e)
{
	e->end = BOOT_KERNEL_MIN;
	for (unsigned int i = 0; i < e->nphdrs; i++) {
		const Elf64_Phdr *ph = &e->phdrs[i];
		uint64_t end;
		if (ph->p_type != PT_LOAD || !ph->p_memsz)
			continue;
		if (ph->p_filesz > ph->p_memsz)
			return damaged(cfg, "a segment is larger in the file than in memory");
		if (!ck_add(ph->p_paddr, ph->p_memsz, &end) || ph->p_paddr < BOOT_KERNEL_MIN ||
		    end > X86_LOW_RAM_MAX)
			return damaged(cfg, "a segment is to be loaded where there is no memory");
		if (ph->p_paddr < e->end)
			return damaged(cfg, "its segments overlap");
		if (!boot_is_kernel_ram(gm, ph->p_paddr, ph->p_memsz))
			return boot_no_room(gm, cfg, end);
		e->end = end;
	}
	return 0;
}

static void load_segments(const struct guestmem *gm, const struct elf *e)
{
	for (unsigned int i = 0; i < e->nphdrs; i++) {
		const Elf64_Phdr *ph = &e->phdrs[i];
		if (ph->p_type != PT_LOAD || !ph->p_memsz)
			continue;
		boot_put_sparse(guestmem_ptr(gm, ph->p_paddr, ph->p_memsz), e->file + ph->p_offset,
				ph->p_filesz);
	}
}

/* Start info, one module (the initrd) and the memory map, in one page. */
static int put_start_info(const struct guestmem *gm, const struct boot_config *cfg,
			  uint64_t initrd_gpa)
{
	enum { MODULE_OFF = 64, MEMMAP_OFF = 128 };
	uint8_t page[MEMMAP_OFF + BOOT_MAP_MAX * MEMMAP_BYTES] = { 0 };
	struct boot_map_entry map[BOOT_MAP_MAX];
	unsigned int n = boot_memory_map(gm, map);
	put_le32(page, START_INFO_MAGIC);
	put_le32(page + 4, START_INFO_VERSION);
	put_le64(page + 24, BOOT_CMDLINE_GPA);
	put_le64(page + 32, cfg->rsdp_gpa);
	put_le64(page + 40, BOOT_PARAMS_GPA + MEMMAP_OFF);
	put_le32(page + 48, n);
	if (initrd_gpa) {
		put_le32(page + 12, 1);
		put_le64(page + 16, BOOT_PARAMS_GPA + MODULE_OFF);
		put_le64(page + MODULE_OFF, initrd_gpa);
		put_le64(page + MODULE_OFF + 8, cfg->initrd_bytes);
	}
	for (unsigned int i = 0; i < n; i++) {
		uint8_t *m = page + MEMMAP_OFF + i * MEMMAP_BYTES;
		put_le64(m, map[i].gpa);
		put_le64(m + 8, map[i].len_bytes);
		put_le32(m + 16, map[i].type);
	}
	return guestmem_write(gm, BOOT_PARAMS_GPA, page, sizeof(page));
}

int elf_pvh_load(const struct guestmem *gm, const struct boot_config *cfg, struct boot_entry *out)
{
	struct elf e = { .file = cfg->kernel, .file_bytes = cfg->kernel_bytes };
	uint64_t initrd_gpa;
	int err = read_headers(cfg, &e);
	if (!err)
		err = find_entry(cfg, &e);
	if (!err)
		err = check_segments(gm, cfg, &e);
	if (!err)
		err = boot_put_initrd(gm, cfg, e.end, X86_HIGH_RAM_BASE, &initrd_gpa);
	if (!err)
		err = boot_put_cmdline(gm, cfg, CMDLINE_MAX);
	if (!err)
		err = put_start_info(gm, cfg, initrd_gpa);
	if (!err)
		err = boot_put_gdt(gm, BOOT_PVH, out);
	if (err)
		return err;
	load_segments(gm, &e);
	out->rip = e.entry;
	out->rbx = BOOT_PARAMS_GPA;
	return 0;
}
