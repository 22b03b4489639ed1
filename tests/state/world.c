/* SPDX-License-Identifier: Apache-2.0 */
/* A machine for tests, its files and its steps. */
#include "tests/state/world.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/qcow2/create.h"
#include "vmm/base/clock.h"

/* ---- files: an image, and an ELF file with a PVH entry whose code counts for ever ---- */

char dir[64], image[96], kernel[96];

enum { CODE_GPA = 0x100000, COUNTS_OF_A_MOMENT = 100 * 1000 * 1000 };

static void make_kernel(void)
{
	static const uint8_t code[] = { 0xff, 0x05, 0x00, 0x00, 0x20, 0x00, /* incl COUNT_GPA */
					0xeb, 0xf8 };			    /* jmp to it */
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph[2];
		uint32_t note[5];
		uint32_t pad;
		uint8_t code[sizeof(code)];
	} f = {
		.eh = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2 },
		.note = { 4, 4, 18, 0x006e6558, CODE_GPA }, /* "Xen", XEN_ELFNOTE_PHYS32_ENTRY */
	};
	memcpy(f.code, code, sizeof(code));
	f.ph[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
				.p_offset = (Elf64_Off)((char *)f.code - (char *)&f),
				.p_paddr = CODE_GPA,
				.p_filesz = sizeof(code),
				.p_memsz = sizeof(code),
				.p_align = 1 };
	f.ph[1] = (Elf64_Phdr){ .p_type = PT_NOTE,
				.p_offset = (Elf64_Off)((char *)f.note - (char *)&f),
				.p_filesz = sizeof(f.note),
				.p_memsz = sizeof(f.note),
				.p_align = 4 };
	int fd = open(kernel, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	CHECK_EQ(write(fd, &f, sizeof(f)), (ssize_t)sizeof(f));
	close(fd);
}

void make_files(void)
{
	const char *base = getenv("LAB_SCRATCH");
	snprintf(dir, sizeof(dir), "%s/snapXXXXXX", base ? base : "/tmp");
	CHECK(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/i.qcow2", dir);
	snprintf(kernel, sizeof(kernel), "%s/k.elf", dir);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	setenv("XDG_CONFIG_HOME", dir, 1);
	make_kernel();
	int fd = open(image, O_CREAT | O_RDWR, 0600);
	const struct qcow2_create o = { .size = 64 * MIB };
	CHECK_EQ(qcow2_create(fd, &o), 0);
	close(fd);
}

void remove_files(void)
{
	const char *keep = getenv("KEEP");
	char command[512];
	snprintf(command, sizeof(command), "cp %s %s", image, keep ? keep : "");
	CHECK(!keep || system(command) == 0);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	CHECK_EQ(system(command), 0);
}

/* ---- a machine and its steps ---- */

static void run_step(void *opaque)
{
	struct world *w = opaque;
	if (w->steps[w->at])
		w->steps[w->at++](w);
	else
		machine_quit(w->m, EXIT_STATUS_OK);
}

/* The next step, after the guest has run for a while. */
static void on_pause(void *opaque)
{
	struct world *w = opaque;
	machine_when_stopped(w->m, &w->task);
}

void next(struct world *w)
{
	loop_timer_arm(w->loop, &w->pause, clock_now_ns() + 100 * 1000000ULL);
}

void on_answer(void *opaque, enum exit_status status, const char *message)
{
	struct world *w = opaque;
	w->status = status;
	snprintf(w->message, sizeof(w->message), "%s", message);
	w->answers++;
	if (status)
		printf("    (%d: %s)\n", status, message);
	next(w);
}

enum exit_status live(struct world *w, const char *from, const char *option, const char *mem)
{
	char *argv[32] = {
		(char *)"charmvm",
		(char *)"--image",
		image,
		(char *)"--kernel",
		kernel,
		(char *)"--net",
		(char *)"none",
		(char *)"--console",
		(char *)"none",
		(char *)"--cpu", /* any host can be it: an image of a test is of use elsewhere */
		(char *)"baseline"
	};
	int argc = 11;
	if (mem) {
		argv[argc++] = (char *)"--mem";
		argv[argc++] = (char *)mem;
	}
	if (from) {
		argv[argc++] = (char *)"--from";
		argv[argc++] = (char *)from;
	}
	if (option)
		argv[argc++] = (char *)option;
	CHECK_EQ(config_parse(&w->cfg, argc, argv), 0);
	CHECK_EQ(loop_create(&w->loop), 0);
	enum exit_status status = backends_open(&w->hosts, &w->cfg, w->loop);
	CHECK_EQ(status, EXIT_STATUS_OK);
	if (from)
		status = snapshot_configure(&w->cfg, &w->hosts);
	if (!status)
		status = backends_connect(&w->hosts, &w->cfg, NULL);
	if (!status)
		status = machine_create(&w->cfg, &w->hosts, &w->m);
	if (!status) {
		w->at = 0;
		w->task = (struct machine_task){ .fn = run_step, .opaque = w };
		w->pause = (struct loop_timer){ .fn = on_pause, .opaque = w };
		machine_when_stopped(w->m, &w->task);
		status = machine_run(w->m);
		loop_timer_disarm(w->loop, &w->pause);
		machine_destroy(w->m);
	}
	CHECK_EQ(backends_close(&w->hosts), EXIT_STATUS_OK);
	loop_destroy(w->loop);
	return status;
}

/* qemu-img is the referee of what is in the image. */
void check_image(const char *listed)
{
	char command[512];
	snprintf(command, sizeof(command), "qemu-img check -q %s", image);
	CHECK_EQ(system(command), 0);
	snprintf(command, sizeof(command),
		 "qemu-img snapshot -l %s | awk 'NR>2{printf \"%%s,\", $2}' >%s/list", image, dir);
	CHECK_EQ(system(command), 0);
	char have[256] = "", path[128];
	snprintf(path, sizeof(path), "%s/list", dir);
	FILE *f = fopen(path, "r");
	CHECK(f);
	if (!fgets(have, sizeof(have), f))
		have[0] = '\0';
	fclose(f);
	CHECK_STR(have, listed);
}

/* ---- what a guest would do, and looking at it ---- */

void mark(struct world *w, uint32_t v)
{
	uint8_t sector[SECTOR] = { 0 };
	memcpy(sector, &v, sizeof(v));
	CHECK_EQ(guestmem_write(&w->m->ram.mem, MARK_GPA, &v, sizeof(v)), 0);
	CHECK_EQ(blk_pwrite(w->hosts.disks[0], sector, sizeof(sector), 4096), 0);
}

uint32_t word_at(const struct world *w, uint64_t gpa)
{
	uint32_t v = 0;
	CHECK_EQ(guestmem_read(&w->m->ram.mem, gpa, &v, sizeof(v)), 0);
	return v;
}

void check_mark(struct world *w, uint32_t v)
{
	uint8_t sector[SECTOR];
	uint32_t on_disk;
	CHECK_EQ(blk_pread(w->hosts.disks[0], sector, sizeof(sector), 4096), 0);
	memcpy(&on_disk, sector, sizeof(on_disk));
	CHECK_EQ(word_at(w, MARK_GPA), v);
	CHECK_EQ(on_disk, v);
}

void fill_bulk(struct world *w, uint64_t bytes, int v)
{
	memset(guestmem_ptr(&w->m->ram.mem, BULK_GPA, BULK_BYTES), v, bytes);
}

/* A host with much else to do may not have run the vCPU yet: then this step is done again. -> whether it need not. */
static bool has_come(struct world *w, bool come)
{
	enum { LOOKS_MAX = 100 };
	if (come) {
		w->looks = 0;
		return true;
	}
	CHECK(++w->looks < LOOKS_MAX);
	w->at--;
	next(w);
	return false;
}

void mark_111(struct world *w)
{
	if (!has_come(w, word_at(w, COUNT_GPA)))
		return;
	mark(w, 111);
	next(w);
}
void mark_222(struct world *w)
{
	mark(w, 222);
	next(w);
}
void save_one(struct world *w)
{
	w->count = word_at(w, COUNT_GPA);
	CHECK(w->count);
	machine_snapshot_save(w->m, "one", "a note", on_answer, w);
}
void save_two(struct world *w)
{
	machine_snapshot_save(w->m, "two", NULL, on_answer, w);
}
void revert_one(struct world *w)
{
	machine_snapshot_revert(w->m, "one", on_answer, w);
}
void is_well(struct world *w)
{
	CHECK_EQ(w->status, EXIT_STATUS_OK);
	next(w);
}
void is_refused(struct world *w)
{
	CHECK(w->status);
	w->status = 0;
	next(w);
}
void is_111(struct world *w)
{
	check_mark(w, 111);
	next(w);
}
void is_222(struct world *w)
{
	check_mark(w, 222);
	next(w);
}
/* Just started from "one": it goes on from there, and has not gone far, whoever of loop and vCPU was the first. */
void count_is_of_then(struct world *w)
{
	uint32_t now = word_at(w, COUNT_GPA);
	CHECK(now >= w->count && now - w->count < COUNTS_OF_A_MOMENT);
	w->count = now;
	next(w);
}
void count_went_on(struct world *w)
{
	if (has_come(w, word_at(w, COUNT_GPA) != w->count))
		next(w);
}
