/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Linux/x86 boot protocol, 64-bit entry (Documentation/arch/x86/boot.rst, "64-bit Boot
 * Protocol").
 *
 * A bzImage is setup code for a BIOS, which is skipped, and behind it the protected-mode kernel,
 * which unpacks itself. The setup header between them says how much memory that takes and where it
 * likes to be. Copied from the file into the zero page is the header and nothing else.
 */
#include <errno.h>
#include <string.h>

#include "firmware/boot_priv.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/x86/layout.h"

/* Setup header and zero page, by offset: boot.rst and zero-page.rst; the same in file and zero
 * page. */
enum {
	ZP_ACPI_RSDP = 0x070,
	ZP_E820_ENTRIES = 0x1e8,
	HDR_START = 0x1f1,
	HDR_SETUP_SECTS = 0x1f1,
	HDR_VID_MODE = 0x1fa,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP_LEN = 0x201,
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_LOADER_TYPE = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMDLINE_PTR = 0x228,
	HDR_INITRD_MAX = 0x22c,
	HDR_ALIGNMENT = 0x230,
	HDR_RELOCATABLE = 0x234,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_SETUP_DATA = 0x250,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_END_MAX = 0x290,
	ZP_E820_TABLE = 0x2d0,
	E820_ENTRY_BYTES = 20,

	BOOT_FLAG = 0xaa55,
	VERSION_MIN = 0x020c, /* 2.12, Linux 3.8: the first with a 64-bit entry */
	LOADFLAG_HIGH = 1 << 0,
	XLOADFLAG_64 = 1 << 0,
	LOADER_TYPE_OTHER = 0xff,
	VID_MODE_NORMAL = 0xffff,
	SECTOR_BYTES = 512,
	SETUP_SECTS_OLD = 4, /* what 0 means */
	ENTRY64_OFF = 0x200,
};

/* What of the header is used, copied and checked. */
struct bzimage {
	const uint8_t *file;
	const uint8_t *body; /* the protected-mode kernel */
	size_t body_bytes;
	uint64_t initrd_end;
	uint64_t alignment;
	bool relocatable;
	uint32_t cmdline_max;
	uint64_t pref_address;
	uint64_t init_bytes;
};

bool bzimage_probe(const void *kernel, size_t len_bytes)
{
	const uint8_t *f = kernel;
	return len_bytes >= HDR_END_MAX && get_le16(f + HDR_BOOT_FLAG) == BOOT_FLAG &&
	       !memcmp(f + HDR_MAGIC, "HdrS", 4);
}

static int parse(const struct boot_config *cfg, struct bzimage *b)
{
	const uint8_t *f = cfg->kernel;
	if (get_le16(f + HDR_VERSION) < VERSION_MIN || !(f[HDR_LOADFLAGS] & LOADFLAG_HIGH) ||
	    !(get_le16(f + HDR_XLOADFLAGS) & XLOADFLAG_64)) {
		log_error("%s: this kernel has no 64-bit entry; an x86-64 Linux 3.8 or later is "
			  "needed",
			  cfg->kernel_name);
		return -ENOTSUP;
	}
	size_t sects = f[HDR_SETUP_SECTS] ? f[HDR_SETUP_SECTS] : SETUP_SECTS_OLD;
	size_t setup_bytes = (sects + 1) * SECTOR_BYTES;
	if (setup_bytes + ENTRY64_OFF >= cfg->kernel_bytes) {
		log_error("%s: the kernel is cut off: %zu bytes, and its set-up code alone has %zu",
			  cfg->kernel_name, cfg->kernel_bytes, setup_bytes);
		return -EINVAL;
	}
	*b = (struct bzimage){
		.file = f,
		.body = f + setup_bytes,
		.body_bytes = cfg->kernel_bytes - setup_bytes,
		.initrd_end = (uint64_t)get_le32(f + HDR_INITRD_MAX) + 1,
		.alignment = get_le32(f + HDR_ALIGNMENT),
		.relocatable = f[HDR_RELOCATABLE],
		.cmdline_max = get_le32(f + HDR_CMDLINE_SIZE),
		.pref_address = get_le64(f + HDR_PREF_ADDRESS),
		.init_bytes = get_le32(f + HDR_INIT_SIZE),
	};
	if (b->body_bytes > b->init_bytes || !is_pow2(b->alignment)) {
		log_error("%s: the kernel's header is damaged (init_size, kernel_alignment)",
			  cfg->kernel_name);
		return -EINVAL;
	}
	return 0;
}

/* Where it wants to be, or else as low as it can be. */
static int choose_address(const struct guestmem *gm, const struct boot_config *cfg,
			  const struct bzimage *b, uint64_t *load)
{
	*load = b->pref_address;
	if (boot_is_kernel_ram(gm, *load, b->init_bytes))
		return 0;
	*load = align_up(BOOT_KERNEL_MIN, b->alignment);
	if (b->relocatable && boot_is_kernel_ram(gm, *load, b->init_bytes))
		return 0;
	uint64_t needed;
	if (!ck_add(b->pref_address, b->init_bytes, &needed) || needed > X86_LOW_RAM_MAX) {
		log_error("%s: the kernel wants to be loaded at 0x%llx, where there is no memory",
			  cfg->kernel_name, (unsigned long long)b->pref_address);
		return -EINVAL;
	}
	return boot_no_room(gm, cfg, needed);
}

/* Identity mapping of the first 4 GiB in 2 MiB pages: PML4, PDPT, four page directories. */
static int put_page_tables(const struct guestmem *gm, struct boot_entry *out)
{
	enum { PRESENT_WRITE = 3, LARGE = 1 << 7, NPAGES = 6, PER_PAGE = 512 };
	uint8_t *t = guestmem_ptr(gm, BOOT_TABLES_GPA, NPAGES * BOOT_PAGE_BYTES);
	if (!t)
		return -EFAULT;
	memset(t, 0, 2 * BOOT_PAGE_BYTES);
	put_le64(t, (BOOT_TABLES_GPA + BOOT_PAGE_BYTES) | PRESENT_WRITE);
	for (uint64_t i = 0; i < 4; i++)
		put_le64(t + BOOT_PAGE_BYTES + 8 * i,
			 (BOOT_TABLES_GPA + (2 + i) * BOOT_PAGE_BYTES) | PRESENT_WRITE);
	for (uint64_t i = 0; i < 4 * PER_PAGE; i++)
		put_le64(t + 2 * BOOT_PAGE_BYTES + 8 * i, (i * 2 * MIB) | PRESENT_WRITE | LARGE);
	out->cr3 = BOOT_TABLES_GPA;
	return 0;
}

static void put_e820(const struct guestmem *gm, uint8_t *zp)
{
	struct boot_map_entry map[BOOT_MAP_MAX];
	unsigned int n = boot_memory_map(gm, map);
	for (unsigned int i = 0; i < n; i++) {
		uint8_t *e = zp + ZP_E820_TABLE + i * E820_ENTRY_BYTES;
		put_le64(e, map[i].gpa);
		put_le64(e + 8, map[i].len_bytes);
		put_le32(e + 16, map[i].type);
	}
	zp[ZP_E820_ENTRIES] = (uint8_t)n;
}

static int put_zero_page(const struct guestmem *gm, const struct boot_config *cfg,
			 const struct bzimage *b, uint64_t initrd_gpa)
{
	uint8_t zp[BOOT_PAGE_BYTES] = { 0 };
	size_t end = MIN((size_t)HDR_MAGIC + b->file[HDR_JUMP_LEN], (size_t)HDR_END_MAX);
	memcpy(zp + HDR_START, b->file + HDR_START, end - HDR_START);
	zp[HDR_LOADER_TYPE] = LOADER_TYPE_OTHER;
	put_le16(zp + HDR_VID_MODE, VID_MODE_NORMAL);
	put_le64(zp + HDR_SETUP_DATA, 0);
	put_le32(zp + HDR_CMDLINE_PTR, (uint32_t)BOOT_CMDLINE_GPA);
	put_le32(zp + HDR_RAMDISK_IMAGE, (uint32_t)initrd_gpa);
	put_le32(zp + HDR_RAMDISK_SIZE, initrd_gpa ? (uint32_t)cfg->initrd_bytes : 0);
	put_le64(zp + ZP_ACPI_RSDP, cfg->rsdp_gpa);
	put_e820(gm, zp);
	return guestmem_write(gm, BOOT_PARAMS_GPA, zp, sizeof(zp));
}

int bzimage_load(const struct guestmem *gm, const struct boot_config *cfg, struct boot_entry *out)
{
	struct bzimage b;
	uint64_t load, initrd_gpa;
	int err = parse(cfg, &b);
	if (!err)
		err = choose_address(gm, cfg, &b, &load);
	if (!err)
		err = boot_put_initrd(gm, cfg, load + b.init_bytes, b.initrd_end, &initrd_gpa);
	if (!err)
		err = boot_put_cmdline(gm, cfg, b.cmdline_max);
	if (!err)
		err = put_zero_page(gm, cfg, &b, initrd_gpa);
	if (!err)
		err = put_page_tables(gm, out);
	if (!err)
		err = boot_put_gdt(gm, BOOT_LINUX64, out);
	if (!err)
		err = guestmem_write(gm, load, b.body, b.body_bytes);
	if (err)
		return err;
	out->rip = load + ENTRY64_OFF;
	out->rsi = BOOT_PARAMS_GPA;
	return 0;
}
