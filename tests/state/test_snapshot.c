/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of a whole machine on the real /dev/kvm. */
#include "tests/state/world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/block/qcow2/create.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot.h"
#include "firmware/acpi.h"
#include "vmm/base/log.h"

enum { ROUNDS = 1000 };

TEST(new_process_starts_from_ram_and_disk_of_one_instant)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well, mark_222, is_222) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	check_image("one,");
	struct world v = { .count = w.count, STEPS(count_is_of_then, count_went_on, is_111) };
	CHECK_EQ(live(&v, "one", "--discard", NULL), EXIT_STATUS_OK);
	CHECK_EQ(v.cfg.mem_bytes, 64 * MIB);
	check_image("one,");
	remove_files();
}

TEST(present_disk_is_not_dropped_unless_told)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well, mark_222) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	struct world v = { STEPS(is_111) };
	CHECK_EQ(live(&v, "one", NULL, NULL), EXIT_STATUS_FILE);
	struct world u = { STEPS(is_111) };
	CHECK_EQ(live(&u, "one", "--discard", NULL), EXIT_STATUS_OK);
	/* Nothing was written since: there is nothing to drop. */
	struct world t = { STEPS(is_111) };
	CHECK_EQ(live(&t, "one", NULL, NULL), EXIT_STATUS_OK);
	remove_files();
}

TEST(other_size_and_unknown_name_are_refused)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	struct world v = { STEPS(is_111) };
	CHECK_EQ(live(&v, "one", "--discard", "128M"), EXIT_STATUS_FILE);
	CHECK_EQ(live(&v, "none", "--discard", NULL), EXIT_STATUS_FILE);
	check_image("one,");
	remove_files();
}

static void save_one_again(struct world *w)
{
	machine_snapshot_save(w->m, "one", NULL, on_answer, w);
}
static void save_bad_name(struct world *w)
{
	machine_snapshot_save(w->m, "a\nb", NULL, on_answer, w);
}

TEST(refused_save_leaves_machine_and_image_as_they_were)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well, save_one_again, is_refused,
				 save_bad_name, is_refused, is_111) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	check_image("one,");
	remove_files();
}

TEST(running_machine_reverts_in_place)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well, mark_222, revert_one, is_well, is_111,
				 count_went_on) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	check_image("one,");
	remove_files();
}

/* With clusters smaller than a page RAM is read, for it cannot be mapped. */
static void make_small_clusters(void)
{
	int fd = open(image, O_TRUNC | O_RDWR);
	const struct qcow2_create o = { .size = 64 * MIB, .cluster_bytes = 512 };
	CHECK_EQ(qcow2_create(fd, &o), 0);
	close(fd);
}

TEST(memory_that_cannot_be_mapped_comes_back_each_time)
{
	make_files();
	make_small_clusters();
	struct world w = { STEPS(mark_111, save_one, is_well, mark_222, revert_one, is_well, is_111,
				 mark_222, revert_one, is_well, is_111, count_went_on) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	check_image("one,");
	remove_files();
}

/* ---- many times ---- */

static long count_fds(void)
{
	long n = 0;
	DIR *d = opendir("/proc/self/fd");
	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static long count_maps(void)
{
	long n = 0;
	int c;
	FILE *f = fopen("/proc/self/maps", "r");
	CHECK(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

/* Of the sanitizer's run-time, which all state tests are built with. What was freed does not count. */
size_t __sanitizer_get_current_allocated_bytes(void);

static uint64_t image_blocks(void)
{
	struct stat st;
	CHECK_EQ(stat(image, &st), 0);
	return (uint64_t)st.st_blocks;
}

static uint64_t image_bytes(void)
{
	struct stat st;
	CHECK_EQ(stat(image, &st), 0);
	return (uint64_t)st.st_size;
}

static void revert_again(struct world *w);
static void on_reverted(void *opaque, enum exit_status status, const char *message)
{
	struct world *w = opaque;
	w->status = status;
	if (status)
		printf("    (%d: %s)\n", status, message);
	w->at--;
	machine_when_stopped(w->m, &w->task);
}
static void revert_again(struct world *w)
{
	CHECK_EQ(w->status, EXIT_STATUS_OK);
	if (w->rounds)
		check_mark(w, 111);
	if (w->rounds == 3) { /* everything that is made once has been made */
		w->fds = count_fds();
		w->maps = count_maps();
		w->heap_bytes = __sanitizer_get_current_allocated_bytes();
		w->file_blocks = image_bytes();
	}
	if (w->rounds++ == ROUNDS) {
		next(w);
		return;
	}
	mark(w, 1000 + w->rounds);
	machine_snapshot_revert(w->m, "one", on_reverted, w);
}
static void nothing_leaked(struct world *w)
{
	CHECK_EQ(count_fds(), w->fds);
	/* freed memory is kept for a while by the sanitizer */
	CHECK(count_maps() < w->maps + ROUNDS / 10);
	CHECK(__sanitizer_get_current_allocated_bytes() < w->heap_bytes + ROUNDS);
	CHECK(image_bytes() <= w->file_blocks + 4 * MIB);
	next(w);
}

TEST(many_reverts_leak_nothing)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well, revert_again, nothing_leaked) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	CHECK(w.rounds > ROUNDS);
	check_image("one,");
	remove_files();
}

/* ---- only what was written since ---- */

static void fill_much(struct world *w)
{
	fill_bulk(w, BULK_BYTES, 0x5a);
	next(w);
}
static void note_blocks(struct world *w)
{
	CHECK_EQ(w->status, EXIT_STATUS_OK);
	w->file_blocks = image_blocks();
	next(w);
}
static void fill_little(struct world *w)
{
	fill_bulk(w, MIB, 0x33);
	next(w);
}
static void little_was_written(struct world *w)
{
	CHECK_EQ(w->status, EXIT_STATUS_OK);
	uint64_t grown = (image_blocks() - w->file_blocks) * SECTOR;
	printf("    (the second save took %llu KiB)\n", (unsigned long long)(grown >> 10));
	CHECK(grown < 4 * MIB);
	next(w);
}
static void bulk_is_as_left(struct world *w)
{
	const uint8_t *p = guestmem_ptr(&w->m->ram.mem, BULK_GPA, BULK_BYTES);
	for (uint64_t i = 0; i < BULK_BYTES; i += 4096)
		CHECK_EQ(p[i], i < MIB ? 0x33 : 0x5a);
	next(w);
}

TEST(second_save_writes_what_changed_since_the_first)
{
	make_files();
	struct world w = { STEPS(fill_much, save_one, note_blocks, fill_little, save_two,
				 little_was_written) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	check_image("one,two,");
	struct world v = { STEPS(bulk_is_as_left) };
	CHECK_EQ(live(&v, "two", "--discard", NULL), EXIT_STATUS_OK);
	remove_files();
}

static void save_three(struct world *w)
{
	machine_snapshot_save(w->m, "three", NULL, on_answer, w);
}
static void delete_one(struct world *w)
{
	machine_snapshot_delete(w->m, "one", on_answer, w);
}

TEST(save_after_a_restore_shares_with_what_it_came_from)
{
	make_files();
	struct world w = { STEPS(fill_much, save_one, is_well) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	struct world v = { .file_blocks = image_blocks(),
			   STEPS(fill_little, save_two, little_was_written, delete_one, is_well,
				 bulk_is_as_left, save_three, is_well) };
	CHECK_EQ(live(&v, "one", "--discard", NULL), EXIT_STATUS_OK);
	check_image("two,three,");
	struct world u = { STEPS(bulk_is_as_left) };
	CHECK_EQ(live(&u, "three", "--discard", NULL), EXIT_STATUS_OK);
	struct world t = { STEPS(bulk_is_as_left) };
	CHECK_EQ(live(&t, "two", "--discard", NULL), EXIT_STATUS_OK);
	remove_files();
}

/* ---- forks ---- */

static struct world *original;

static int co_delete_one(struct blk_node *n, void *arg)
{
	(void)arg;
	return qcow2_co_snapshot_delete(n, "one");
}
static void original_cannot_delete_it(struct world *w)
{
	CHECK_EQ(qcow2_run(original->hosts.disks[0], co_delete_one, NULL), -EBUSY);
	next(w);
}
static void fork_of_fork(struct world *w)
{
	struct world v = { STEPS(is_111, count_went_on, mark_222, is_222) };
	CHECK_EQ(live(&v, "one", "--throw-away", NULL), EXIT_STATUS_OK);
	next(w);
}
/* The original is stopped meanwhile, in the middle of its life. */
static void fork_it(struct world *w)
{
	original = w;
	struct world v = { STEPS(is_111, count_went_on, mark_222, is_222, fork_of_fork,
				 original_cannot_delete_it, save_two, is_refused, is_222) };
	CHECK_EQ(live(&v, "one", "--throw-away", NULL), EXIT_STATUS_OK);
	next(w);
}
static void mark_333(struct world *w)
{
	mark(w, 333);
	next(w);
}
static void is_333(struct world *w)
{
	check_mark(w, 333);
	next(w);
}

TEST(forks_run_beside_the_original_and_change_nothing)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well, mark_333, fork_it, is_333, fork_it,
				 delete_one, is_well, is_333) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	check_image("");
	remove_files();
}

/* ---- a new life ---- */

static void remember_generation(struct world *w)
{
	CHECK_EQ(w->status, EXIT_STATUS_OK);
	w->count = word_at(w, ACPI_VM_GENERATION_GPA);
	next(w);
}
static void generation_is_new(struct world *w)
{
	CHECK_EQ(w->status, EXIT_STATUS_OK);
	uint32_t now = word_at(w, ACPI_VM_GENERATION_GPA);
	CHECK(now != w->count);
	w->count = now;
	next(w);
}

TEST(every_revert_and_start_has_a_generation_of_its_own)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, remember_generation, revert_one,
				 generation_is_new, revert_one, generation_is_new) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	struct world v = { .count = w.count, STEPS(generation_is_new) };
	CHECK_EQ(live(&v, "one", "--discard", NULL), EXIT_STATUS_OK);
	remove_files();
}

/* ---- a save that dies ---- */

static struct machine_task killer;

static void kill_child(void *opaque)
{
	char path[64], line[32] = "";
	(void)opaque;
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	FILE *f = fopen(path, "r");
	CHECK(f && fgets(line, sizeof(line), f));
	fclose(f);
	CHECK_EQ(kill(atoi(line), SIGKILL), 0);
}
static void kill_me(void *opaque)
{
	(void)opaque;
	kill(getpid(), SIGKILL);
}
/* The killer's turn comes in the same stop, right after the save has forked. */
static void save_and_kill(struct world *w)
{
	machine_snapshot_save(w->m, "two", NULL, on_answer, w);
	killer = (struct machine_task){ .fn = kill_child, .opaque = w };
	machine_when_stopped(w->m, &killer);
}

TEST(save_whose_child_is_killed_leaves_the_image_as_it_was)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well, fill_much, save_and_kill, is_refused,
				 is_111, save_two, is_well) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	check_image("one,two,");
	remove_files();
}

static void save_and_die(struct world *w)
{
	machine_snapshot_save(w->m, "two", NULL, on_answer, w);
	killer = (struct machine_task){ .fn = kill_me, .opaque = w };
	machine_when_stopped(w->m, &killer);
}

TEST(killed_machine_leaves_nothing_that_the_next_one_does_not_clean)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	pid_t pid = fork();
	if (!pid) {
		struct world v = { STEPS(fill_much, save_and_die) };
		live(&v, NULL, NULL, "64M");
		_exit(1);
	}
	int status;
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	usleep(300000); /* its writer dies with it, and the image's lock with that */
	check_image("one,charmvm:,");
	struct world u = { STEPS(mark_222, is_222) };
	CHECK_EQ(live(&u, NULL, NULL, "64M"), EXIT_STATUS_OK);
	check_image("one,");
	remove_files();
}

/* ---- hostile data ---- */

/* Flips a bit of the tree in the file: where the text "charmvm,machine-1" stands. */
static void flip_a_bit(void)
{
	char command[512];
	snprintf(command, sizeof(command),
		 "o=$(grep -abo charmvm,machine-1 %s | head -n 1 | cut -d: -f1); "
		 "printf X | dd of=%s bs=1 seek=$((o + 200)) conv=notrunc status=none",
		 image, image);
	CHECK_EQ(system(command), 0);
}

TEST(damaged_state_is_refused_and_the_machine_goes_on)
{
	make_files();
	struct world w = { STEPS(mark_111, save_one, is_well) };
	CHECK_EQ(live(&w, NULL, NULL, "64M"), EXIT_STATUS_OK);
	flip_a_bit();
	struct world v = { STEPS(is_111) };
	CHECK_EQ(live(&v, "one", "--discard", NULL), EXIT_STATUS_FILE);
	struct world u = { STEPS(mark_222, revert_one, is_refused, is_222) };
	CHECK_EQ(live(&u, NULL, NULL, "64M"), EXIT_STATUS_OK);
	check_image("one,");
	remove_files();
}

TEST_MAIN(T(new_process_starts_from_ram_and_disk_of_one_instant),
	  T(present_disk_is_not_dropped_unless_told), T(other_size_and_unknown_name_are_refused),
	  T(refused_save_leaves_machine_and_image_as_they_were),
	  T(running_machine_reverts_in_place), T(memory_that_cannot_be_mapped_comes_back_each_time),
	  T(many_reverts_leak_nothing), T(second_save_writes_what_changed_since_the_first),
	  T(save_after_a_restore_shares_with_what_it_came_from),
	  T(save_whose_child_is_killed_leaves_the_image_as_it_was),
	  T(forks_run_beside_the_original_and_change_nothing),
	  T(every_revert_and_start_has_a_generation_of_its_own),
	  T(killed_machine_leaves_nothing_that_the_next_one_does_not_clean),
	  T(damaged_state_is_refused_and_the_machine_goes_on))
