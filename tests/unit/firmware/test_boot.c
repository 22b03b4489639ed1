/* SPDX-License-Identifier: Apache-2.0 */
/* Loading kernels made by hand, sound and hostile. */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>

#include "firmware/boot.h"
#include "tests/unit/firmware/capture.h"
#include "tests/unit/firmware/guest_ram.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum { KERNEL_BYTES = 1 << 16, SETUP_BYTES = 5 * 512 };

struct rig {
	struct guestmem gm;
	struct boot_config cfg;
	struct boot_entry entry;
	uint8_t *kernel;
};

static void rig_init(struct rig *r, uint64_t low, uint64_t high)
{
	*r = (struct rig){ .gm = guest_ram_new(low, high), .kernel = calloc(1, KERNEL_BYTES) };
	r->cfg = (struct boot_config){
		.kernel_name = "test-kernel",
		.kernel = r->kernel,
		.kernel_bytes = KERNEL_BYTES,
		.cmdline = "console=ttyS0",
		.rsdp_gpa = 0xe0000,
	};
}

static void rig_free(struct rig *r)
{
	guest_ram_free(&r->gm);
	free(r->kernel);
}

static void make_bzimage(uint8_t *f)
{
	f[0x1f1] = 4;
	put_le16(f + 0x1fe, 0xaa55);
	f[0x201] = 0x6a;
	memcpy(f + 0x202, "HdrS", 4);
	put_le16(f + 0x206, 0x20f);
	f[0x211] = 1;
	put_le32(f + 0x22c, 0x7fffffff);
	put_le32(f + 0x230, 0x200000);
	f[0x234] = 1;
	put_le16(f + 0x236, 0x3f);
	put_le32(f + 0x238, 2047);
	put_le64(f + 0x250, 0x1234); /* setup_data: never to be taken from a file */
	put_le64(f + 0x258, 0x1000000);
	put_le32(f + 0x260, 8 << 20);
	memset(f + SETUP_BYTES, 0x5a, KERNEL_BYTES - SETUP_BYTES);
}

/* Every failure is told in exactly one line. */
static int load(struct rig *r)
{
	struct capture c;
	capture_begin(&c);
	int err = boot_load(&r->gm, &r->cfg, &r->entry);
	CHECK_EQ(capture_end(&c), err ? 1 : 0);
	return err;
}

static struct rig bzimage_rig(uint64_t low, uint64_t high)
{
	struct rig r;
	rig_init(&r, low, high);
	make_bzimage(r.kernel);
	return r;
}

TEST(bzimage_is_loaded_where_it_prefers_and_entered_in_long_mode)
{
	struct rig r = bzimage_rig(64 * MIB, 0);
	CHECK_EQ(load(&r), 0);
	CHECK_EQ(r.entry.kind, BOOT_LINUX64);
	CHECK_EQ(r.entry.rip, 0x1000200);
	const uint8_t *body = guestmem_ptr(&r.gm, 0x1000000, KERNEL_BYTES - SETUP_BYTES);
	CHECK(!memcmp(body, r.kernel + SETUP_BYTES, KERNEL_BYTES - SETUP_BYTES));
	const uint8_t *zp = guestmem_ptr(&r.gm, r.entry.rsi, 4096);
	CHECK_EQ(zp[0x210], 0xff);
	CHECK_EQ(get_le64(zp + 0x070), 0xe0000);
	CHECK_EQ(get_le64(zp + 0x250), 0);
	CHECK_STR(guestmem_ptr(&r.gm, get_le32(zp + 0x228), 64), "console=ttyS0");
	rig_free(&r);
}

TEST(page_tables_map_four_gib_to_themselves)
{
	struct rig r = bzimage_rig(64 * MIB, 0);
	CHECK_EQ(load(&r), 0);
	for (uint64_t va = 0; va < 4 * GIB; va += 2 * MIB) {
		uint64_t e = r.entry.cr3 | 1;
		for (int shift = 39; shift >= 21; shift -= 9) {
			CHECK(e & 1);
			const uint8_t *t = guestmem_ptr(&r.gm, e & ~UINT64_C(0xfff), 4096);
			CHECK(t);
			e = get_le64(t + 8 * ((va >> shift) & 511));
		}
		CHECK_EQ(e, va | 0x83);
	}
	rig_free(&r);
}

TEST(memory_map_keeps_the_kernel_from_firmware_and_ecam_and_lists_high_memory)
{
	struct rig r = bzimage_rig(3 * GIB, 2 * GIB);
	CHECK_EQ(load(&r), 0);
	const uint8_t *zp = guestmem_ptr(&r.gm, r.entry.rsi, 4096);
	static const struct {
		uint64_t gpa, end;
		uint32_t type;
	} want[] = {
		{ 0, 0xa0000, 1 },
		{ 0xe0000, 0x100000, 2 },
		{ 0x100000, 0xc0000000, 1 },
		{ 0xe0000000, 0xe0100000, 2 },
		{ 0xfeffc000, 0xff000000, 2 },
		{ 0x100000000, 0x180000000, 1 },
	};
	CHECK_EQ(zp[0x1e8], ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const uint8_t *e = zp + 0x2d0 + 20 * i;
		CHECK_EQ(get_le64(e), want[i].gpa);
		CHECK_EQ(get_le64(e) + get_le64(e + 8), want[i].end);
		CHECK_EQ(get_le32(e + 16), want[i].type);
	}
	rig_free(&r);
}

TEST(initrd_goes_to_the_top_of_what_the_kernel_reaches_and_never_above_4_gib)
{
	struct rig r = bzimage_rig(3 * GIB, 1 * GIB);
	static const uint8_t initrd[5000] = { 1, 2, 3, [4999] = 9 };
	r.cfg.initrd = initrd;
	r.cfg.initrd_bytes = sizeof(initrd);
	CHECK_EQ(load(&r), 0);
	const uint8_t *zp = guestmem_ptr(&r.gm, r.entry.rsi, 4096);
	uint32_t at = get_le32(zp + 0x218);
	CHECK_EQ(at, 0x80000000 - 8192);
	CHECK_EQ(get_le32(zp + 0x21c), sizeof(initrd));
	CHECK(!memcmp(guestmem_ptr(&r.gm, at, sizeof(initrd)), initrd, sizeof(initrd)));
	rig_free(&r);
}

TEST(kernel_that_does_not_fit_where_it_prefers_is_moved_down_if_it_may)
{
	struct rig r = bzimage_rig(16 * MIB, 0);
	CHECK_EQ(load(&r), 0);
	CHECK_EQ(r.entry.rip, 0x200200);
	r.kernel[0x234] = 0;
	CHECK_EQ(load(&r), -ENOSPC);
	rig_free(&r);
}

TEST(too_little_memory_for_kernel_or_initrd_is_said)
{
	struct rig r = bzimage_rig(4 * MIB, 0);
	CHECK_EQ(load(&r), -ENOSPC);
	rig_free(&r);
	r = bzimage_rig(32 * MIB, 0);
	r.cfg.initrd_bytes = 30 * MIB;
	r.cfg.initrd = calloc(1, r.cfg.initrd_bytes);
	CHECK_EQ(load(&r), -ENOSPC);
	free((void *)(uintptr_t)r.cfg.initrd);
	rig_free(&r);
}

TEST(command_line_longer_than_the_kernel_takes_is_refused_whole)
{
	struct rig r = bzimage_rig(64 * MIB, 0);
	char line[3000];
	memset(line, 'x', sizeof(line));
	line[2047] = '\0';
	r.cfg.cmdline = line;
	CHECK_EQ(load(&r), 0);
	line[2047] = 'x';
	line[2048] = '\0';
	CHECK_EQ(load(&r), -E2BIG);
	rig_free(&r);
}

TEST(hostile_bzimage_headers_are_refused)
{
	static const struct {
		unsigned int off, bytes;
		uint64_t value;
		int err;
	} cases[] = {
		{ 0x1f1, 1, 255, -EINVAL },    /* more set-up code than file */
		{ 0x206, 2, 0x20b, -ENOTSUP }, /* before the 64-bit entry */
		{ 0x236, 2, 0, -ENOTSUP },     /* 32-bit kernel */
		{ 0x211, 1, 0, -ENOTSUP },     /* zImage */
		{ 0x230, 4, 0, -EINVAL },      /* alignment */
		{ 0x230, 4, 3, -EINVAL },
		{ 0x260, 4, 0, -EINVAL },	   /* init_size smaller than the file */
		{ 0x260, 4, 0xffffffff, -EINVAL }, /* larger than there is address space */
		{ 0x258, 8, UINT64_MAX - 5, 0 },   /* moved */
		{ 0x258, 8, 0, 0 },
		{ 0x258, 8, 0xe0000, 0 },
		{ 0x22c, 4, 0, 0 }, /* no initrd here, so no matter */
		{ 0x238, 4, 3, -E2BIG },
		{ 0x201, 1, 0xff, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r = bzimage_rig(64 * MIB, 0);
		uint8_t v[8];
		put_le64(v, cases[i].value);
		memcpy(r.kernel + cases[i].off, v, cases[i].bytes);
		if (cases[i].off == 0x1f1)
			r.cfg.kernel_bytes = 100000;
		CHECK_EQ(load(&r), cases[i].err);
		if (!cases[i].err)
			CHECK(r.entry.rip >= 1 * MIB);
		rig_free(&r);
	}
}

TEST(initrd_limit_below_the_kernel_leaves_no_room)
{
	struct rig r = bzimage_rig(64 * MIB, 0);
	r.cfg.initrd = "x";
	r.cfg.initrd_bytes = 1;
	put_le32(r.kernel + 0x22c, 0x200000);
	CHECK_EQ(load(&r), -ENOSPC);
	rig_free(&r);
}

TEST(files_of_every_shorter_length_are_refused)
{
	struct rig r = bzimage_rig(64 * MIB, 0);
	for (size_t n = 0; n <= SETUP_BYTES + 0x200; n += 7) {
		uint8_t *cut = malloc(n + 1); /* so that a read behind it is seen */
		memcpy(cut, r.kernel, n);
		r.cfg.kernel = cut;
		r.cfg.kernel_bytes = n;
		CHECK_EQ(load(&r), -EINVAL);
		free(cut);
	}
	rig_free(&r);
}

/* ELF: one note, two segments. */

enum { PH_OFF = 64, NOTE_OFF = 0x200, TEXT_OFF = 0x1000, DATA_OFF = 0x2000 };

static void put_phdr(uint8_t *f, unsigned int i, Elf64_Phdr ph)
{
	memcpy(f + PH_OFF + i * sizeof(ph), &ph, sizeof(ph));
}

static void make_elf(uint8_t *f)
{
	Elf64_Ehdr eh = { .e_machine = EM_X86_64,
			  .e_phoff = PH_OFF,
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = 3 };
	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(f, &eh, sizeof(eh));
	put_phdr(f, 0,
		 (Elf64_Phdr){ .p_type = PT_LOAD,
			       .p_offset = TEXT_OFF,
			       .p_paddr = 0x1000000,
			       .p_filesz = 0x1000,
			       .p_memsz = 0x1000 });
	put_phdr(f, 1,
		 (Elf64_Phdr){ .p_type = PT_LOAD,
			       .p_offset = DATA_OFF,
			       .p_paddr = 0x1200000,
			       .p_filesz = 0x100,
			       .p_memsz = 0x3000 });
	put_phdr(f, 2, (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = NOTE_OFF, .p_filesz = 40 });
	/* An unrelated note first. */
	put_le32(f + NOTE_OFF, 4);
	put_le32(f + NOTE_OFF + 8, 3);
	memcpy(f + NOTE_OFF + 12, "GNU", 4);
	put_le32(f + NOTE_OFF + 16, 4);
	put_le32(f + NOTE_OFF + 20, 8);
	put_le32(f + NOTE_OFF + 24, 18);
	memcpy(f + NOTE_OFF + 28, "Xen", 4);
	put_le64(f + NOTE_OFF + 32, 0x1000010);
	memset(f + TEXT_OFF, 0x77, 0x1000);
	memset(f + DATA_OFF, 0x88, 0x100);
}

static struct rig elf_rig(uint64_t low)
{
	struct rig r;
	rig_init(&r, low, 0);
	make_elf(r.kernel);
	return r;
}

TEST(elf_is_entered_by_its_pvh_note_with_segments_in_place)
{
	struct rig r = elf_rig(64 * MIB);
	uint8_t *data = guestmem_ptr(&r.gm, 0x1200000, 0x3000);
	r.cfg.initrd = "initrd";
	r.cfg.initrd_bytes = 6;
	CHECK_EQ(load(&r), 0);
	CHECK_EQ(r.entry.kind, BOOT_PVH);
	CHECK_EQ(r.entry.rip, 0x1000010);
	CHECK_EQ(data[0], 0x88);
	CHECK_EQ(data[0x100], 0);
	CHECK_EQ(data[0x2fff], 0);
	const uint8_t *si = guestmem_ptr(&r.gm, r.entry.rbx, 56);
	CHECK_EQ(get_le32(si), 0x336ec578);
	CHECK_EQ(get_le32(si + 12), 1);
	const uint8_t *mod = guestmem_ptr(&r.gm, get_le64(si + 16), 32);
	CHECK(!memcmp(guestmem_ptr(&r.gm, get_le64(mod), 6), "initrd", 6));
	CHECK_EQ(get_le64(mod + 8), 6);
	CHECK_STR(guestmem_ptr(&r.gm, get_le64(si + 24), 64), "console=ttyS0");
	CHECK_EQ(get_le64(si + 32), 0xe0000);
	const uint8_t *map = guestmem_ptr(&r.gm, get_le64(si + 40), 24);
	CHECK_EQ(get_le64(map + 8), 0xa0000);
	CHECK_EQ(get_le32(map + 16), 1);
	rig_free(&r);
}

static bool has_memory(struct rig *r, uint64_t gpa)
{
	unsigned char resident;
	CHECK_EQ(mincore(guestmem_ptr(&r->gm, gpa, 1), 1, &resident), 0);
	return resident & 1;
}

TEST(elf_pages_of_zeroes_take_no_memory_of_the_host)
{
	struct rig r = elf_rig(64 * MIB);
	memset(r.kernel + TEXT_OFF, 0, 0x1000);
	CHECK_EQ(load(&r), 0);
	CHECK(!has_memory(&r, 0x1000000)); /* of the file */
	CHECK(has_memory(&r, 0x1200000));
	CHECK(!has_memory(&r, 0x1201000)); /* behind what is in the file */
	rig_free(&r);
}

TEST(elf_larger_than_memory_is_said)
{
	struct rig r = elf_rig(16 * MIB);
	CHECK_EQ(load(&r), -ENOSPC);
	rig_free(&r);
}

TEST(hostile_elf_files_are_refused)
{
	enum { P0 = PH_OFF, P1 = PH_OFF + 56, P2 = PH_OFF + 112 };
	static const struct {
		unsigned int off, bytes;
		uint64_t value;
		int err;
	} cases[] = {
		{ 18, 2, EM_AARCH64, -ENOTSUP },
		{ EI_CLASS, 1, ELFCLASS32, -ENOTSUP },
		{ 56, 2, 0xffff, -EINVAL }, /* phnum */
		{ 56, 2, 0, -EINVAL },
		{ 54, 2, 8, -EINVAL },		     /* phentsize */
		{ 32, 8, UINT64_MAX - 10, -EINVAL }, /* phoff */
		{ 32, 8, KERNEL_BYTES - 8, -EINVAL },
		{ P0 + 8, 8, UINT64_MAX, -EINVAL },  /* offset */
		{ P0 + 32, 8, UINT64_MAX, -EINVAL }, /* filesz */
		{ P0 + 32, 8, 0x2000, -EINVAL },     /* filesz > memsz */
		{ P0 + 24, 8, 0x1000, -EINVAL },     /* into low memory: entry not in it, either */
		{ P1 + 24, 8, 0x90000, -EINVAL },    /* over our own tables */
		{ P1 + 24, 8, 0x1000800, -EINVAL },  /* overlap */
		{ P1 + 24, 8, UINT64_MAX - 0xfff, -EINVAL },
		{ P1 + 24, 8, 0x100000000, -EINVAL }, /* above 4 GiB */
		{ P1 + 40, 8, UINT64_MAX, -EINVAL },  /* memsz */
		{ P1 + 40, 8, GIB, -ENOSPC },
		{ P2, 4, PT_NULL, -ENOTSUP }, /* no note */
		{ P2 + 8, 8, KERNEL_BYTES - 4, -EINVAL },
		{ NOTE_OFF, 4, 0xfffffffd, -ENOTSUP },	   /* name length */
		{ NOTE_OFF + 4, 4, 0xffffffff, -ENOTSUP }, /* description length */
		{ NOTE_OFF + 20, 4, 5, -ENOTSUP },
		{ NOTE_OFF + 32, 8, 0x1001000, -EINVAL }, /* entry outside */
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r = elf_rig(64 * MIB);
		uint8_t v[8];
		put_le64(v, cases[i].value);
		memcpy(r.kernel + cases[i].off, v, cases[i].bytes);
		CHECK_EQ(load(&r), cases[i].err);
		rig_free(&r);
	}
}

TEST(what_is_no_kernel_at_all_is_said)
{
	struct rig r;
	rig_init(&r, 64 * MIB, 0);
	CHECK_EQ(load(&r), -EINVAL);
	r.cfg.kernel_bytes = 0;
	CHECK_EQ(load(&r), -EINVAL);
	rig_free(&r);
}

TEST_MAIN(T(bzimage_is_loaded_where_it_prefers_and_entered_in_long_mode),
	  T(page_tables_map_four_gib_to_themselves),
	  T(memory_map_keeps_the_kernel_from_firmware_and_ecam_and_lists_high_memory),
	  T(initrd_goes_to_the_top_of_what_the_kernel_reaches_and_never_above_4_gib),
	  T(kernel_that_does_not_fit_where_it_prefers_is_moved_down_if_it_may),
	  T(too_little_memory_for_kernel_or_initrd_is_said),
	  T(command_line_longer_than_the_kernel_takes_is_refused_whole),
	  T(hostile_bzimage_headers_are_refused), T(initrd_limit_below_the_kernel_leaves_no_room),
	  T(files_of_every_shorter_length_are_refused),
	  T(elf_is_entered_by_its_pvh_note_with_segments_in_place),
	  T(elf_pages_of_zeroes_take_no_memory_of_the_host), T(elf_larger_than_memory_is_said),
	  T(hostile_elf_files_are_refused), T(what_is_no_kernel_at_all_is_said))
