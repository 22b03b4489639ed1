/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole machine on the real /dev/kvm, for tests. The guest is a few bytes of code that count in memory.
 *
 * A test is a row of steps, each run with the machine stopped; a step that asks for a snapshot is followed by the next
 * one when that is answered. What a step writes into RAM and onto the disk stands for what a guest does.
 */
#ifndef TESTS_STATE_WORLD_H
#define TESTS_STATE_WORLD_H

#include "devices/block/block.h"
#include "tests/unit/test.h"
#include "vmm/backends.h"
#include "vmm/core/guestmem.h"
#include "vmm/core/loop.h"
#include "vmm/machine_priv.h"

enum {
	COUNT_GPA = 0x200000,
	MARK_GPA = 0x300000,
	BULK_GPA = 0x1000000, /* 16 MiB of it: what a busy guest dirties */
	BULK_BYTES = 0x1000000,
	SECTOR = 512,
	STEPS_MAX = 16,
};

/* Where the files of the test are: an image, and an ELF file with a PVH entry whose code counts for ever. */
extern char dir[64], image[96], kernel[96];

void make_files(void);
/* KEEP=DIRECTORY in the environment: the image is kept there (tests/state/corpus). */
void remove_files(void);

struct world {
	struct machine_config cfg;
	struct loop *loop;
	struct backends hosts;
	struct machine *m;
	const char *const *args;

	void (*steps[STEPS_MAX])(struct world *w);
	unsigned int at;
	struct machine_task task;
	struct loop_timer pause; /* the guest runs for a while between two steps */

	enum exit_status status; /* of the last snapshot operation */
	char message[512];
	unsigned int answers, rounds, looks;
	uint32_t count;
	uint64_t file_blocks;
	long fds, maps;
	size_t heap_bytes;
};

#define STEPS(...) .steps = { __VA_ARGS__ }

/* -> what the machine's life came to; @from: a snapshot to begin with, or NULL; @option: one more. */
enum exit_status live(struct world *w, const char *from, const char *option, const char *mem);
/* From within a step: the next one, after the guest has run for a while. */
void next(struct world *w);
/* The answer to a snapshot operation, as its callback. */
void on_answer(void *opaque, enum exit_status status, const char *message);

/* qemu-img is the referee of what is in the image: its snapshots, each with a comma behind it. */
void check_image(const char *listed);

/* ---- what a guest would do, and looking at it ---- */

void mark(struct world *w, uint32_t v);
void check_mark(struct world *w, uint32_t v);
uint32_t word_at(const struct world *w, uint64_t gpa);
void fill_bulk(struct world *w, uint64_t bytes, int v);

/* ---- steps ---- */

void mark_111(struct world *w);
void mark_222(struct world *w);
void save_one(struct world *w);
void save_two(struct world *w);
void revert_one(struct world *w);
void is_well(struct world *w);
void is_refused(struct world *w);
void is_111(struct world *w);
void is_222(struct world *w);
void count_is_of_then(struct world *w);
void count_went_on(struct world *w);

#endif
