/* SPDX-License-Identifier: Apache-2.0 */
/* The qcow2 node by small examples: what is read, written, freed, refused. */
#include <errno.h>
#include <unistd.h>
#include <sys/stat.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/check.h"
#include "devices/block/qcow2/int.h"
#include "devices/block/qcow2/snapshot.h"
#include "devices/block/qcow2/refcount_bits.h"
#include "tests/unit/block/scratch.h"
#include "vmm/base/endian.h"

enum { K = 1024, M = 1024 * 1024 };

static struct blk_node *open_rw(const char *name)
{
	struct blk_node *n;
	CHECK_EQ(blk_open(the_loop(), name, "qcow2", BLK_OPEN_RDWR, &n), 0);
	return n;
}

static void fill(struct blk_node *n, uint64_t off, size_t len, int byte)
{
	uint8_t *buf = malloc(len);
	CHECK(buf);
	memset(buf, byte, len);
	int err = blk_pwrite(n, buf, len, off);
	free(buf);
	CHECK_EQ(err, 0);
}

static bool holds(struct blk_node *n, uint64_t off, size_t len, int byte)
{
	uint8_t *buf = malloc(len);
	CHECK(buf);
	int err = blk_pread(n, buf, len, off);
	bool same = !err;
	for (size_t i = 0; same && i < len; i++)
		same = buf[i] == byte;
	free(buf);
	return same;
}

struct wait {
	bool done;
	int err;
};

static void on_done(struct blk_req *req, int err)
{
	struct wait *w = req->opaque;
	w->err = err;
	w->done = true;
}

static int request(struct blk_node *n, enum blk_op op, uint32_t flags, uint64_t off, uint64_t len,
		   struct blk_status *st)
{
	struct wait w = { 0 };
	struct blk_req req = { .op = op,
			       .flags = flags,
			       .off = off,
			       .len = len,
			       .status = st,
			       .done = on_done,
			       .opaque = &w };
	blk_submit(n, &req);
	CHECK(!w.done); /* never from inside submit */
	CHECK_EQ(loop_run_until(the_loop(), &w.done), 0);
	return w.err;
}

static int do_check(struct blk_node *n, void *arg)
{
	struct qcow2_check *r = arg;
	return qcow2_co_check(n, QCOW2_FIX_NONE, r);
}

static int do_repair(struct blk_node *n, void *arg)
{
	return qcow2_co_check(n, QCOW2_FIX_ALL, arg);
}

static bool is_clean(struct blk_node *n)
{
	struct qcow2_check r;
	return qcow2_run(n, do_check, &r) == 0 && !r.corruptions && !r.leaks;
}

TEST(new_image_reads_zeroes_and_is_clean)
{
	make_qcow2("new.qcow2", NULL);
	struct blk_node *n = open_rw("new.qcow2");
	CHECK_EQ(blk_size(n), M);
	CHECK(holds(n, 0, M, 0));
	CHECK(is_clean(n));
	CHECK_EQ(blk_close(n), 0);
}

TEST(written_data_is_there_after_reopening)
{
	make_qcow2("w.qcow2", NULL);
	struct blk_node *n = open_rw("w.qcow2");
	fill(n, 512, 1024, 0xab);
	fill(n, 200 * K, 300 * K, 0xcd);
	CHECK_EQ(blk_close(n), 0);
	n = open_rw("w.qcow2");
	CHECK(holds(n, 0, 512, 0));
	CHECK(holds(n, 512, 1024, 0xab));
	CHECK(holds(n, 1536, 64 * K - 1536, 0));
	CHECK(holds(n, 200 * K, 300 * K, 0xcd));
	CHECK(is_clean(n));
	CHECK_EQ(blk_close(n), 0);
}

TEST(opening_and_reading_changes_no_byte)
{
	make_qcow2("ro.qcow2", NULL);
	struct stat before, after;
	CHECK_EQ(system("cp ro.qcow2 ro.copy"), 0);
	CHECK_EQ(stat("ro.qcow2", &before), 0);
	struct blk_node *n = open_rw("ro.qcow2");
	CHECK(holds(n, 0, M, 0));
	CHECK_EQ(blk_close(n), 0);
	CHECK_EQ(stat("ro.qcow2", &after), 0);
	CHECK_EQ(after.st_size, before.st_size);
	CHECK_EQ(system("cmp -s ro.qcow2 ro.copy"), 0);
}

TEST(discard_gives_the_space_back)
{
	struct qcow2_create o = { .size = 8 * M };
	make_qcow2("d.qcow2", &o);
	struct blk_node *n = open_rw("d.qcow2");
	fill(n, 0, 4 * M, 1);
	CHECK_EQ(blk_flush(n), 0);
	uint64_t full = blk_allocated_bytes(n);
	CHECK_EQ(request(n, BLK_DISCARD, 0, 0, 4 * M, NULL), 0);
	CHECK_EQ(blk_flush(n), 0);
	CHECK_EQ(blk_close(n), 0);
	n = open_rw("d.qcow2");
	CHECK(holds(n, 0, 4 * M, 0));
	CHECK(is_clean(n));
	CHECK(blk_allocated_bytes(n) + 3 * M < full);
	CHECK_EQ(blk_close(n), 0);
}

TEST(requests_outside_the_disk_are_refused)
{
	make_qcow2("r.qcow2", NULL);
	struct blk_node *n = open_rw("r.qcow2");
	uint8_t buf[512];
	CHECK_EQ(blk_pread(n, buf, 512, M), -EINVAL);
	CHECK_EQ(blk_pread(n, buf, 512, UINT64_MAX - 511), -EINVAL);
	CHECK_EQ(blk_pread(n, buf, 100, 0), -EINVAL);
	CHECK_EQ(request(n, BLK_DISCARD, 0, M - 512, 1024, NULL), -EINVAL);
	CHECK_EQ(blk_close(n), 0);
}

TEST(read_only_image_refuses_writes)
{
	make_qcow2("ro2.qcow2", NULL);
	struct blk_node *n;
	uint8_t buf[512] = { 0 };
	CHECK_EQ(blk_open(the_loop(), "ro2.qcow2", NULL, 0, &n), 0);
	CHECK(blk_read_only(n));
	CHECK_EQ(blk_pwrite(n, buf, 512, 0), -EROFS);
	CHECK_EQ(blk_close(n), 0);
}

TEST(status_tells_data_from_holes)
{
	make_qcow2("s.qcow2", NULL);
	struct blk_node *n = open_rw("s.qcow2");
	fill(n, 128 * K, 64 * K, 7);
	struct blk_status st;
	CHECK_EQ(request(n, BLK_STATUS, 0, 0, M, &st), 0);
	CHECK(st.flags & BLK_STATUS_ZERO);
	CHECK_EQ(st.len, 128 * K);
	CHECK_EQ(request(n, BLK_STATUS, 0, 128 * K, 512 * K, &st), 0);
	CHECK(st.flags & BLK_STATUS_DATA);
	CHECK_EQ(st.len, 64 * K);
	CHECK_EQ(blk_close(n), 0);
}

/* ---- damage ---- */

/* The place of the first L2 entry of an image with something in its first cluster. */
static uint64_t first_l2_entry(const char *name)
{
	struct blk_node *n = open_rw(name);
	fill(n, 0, 64 * K, 1);
	uint64_t l1 = qcow2_header_of(n)->l1_off;
	CHECK_EQ(blk_close(n), 0);
	uint8_t b[8];
	FILE *f = fopen(name, "re");
	CHECK(f && fseek(f, (long)l1, SEEK_SET) == 0 && fread(b, 1, 8, f) == 8);
	fclose(f);
	return get_be64(b) & Q_OFF_MASK;
}

static bool is_marked(const char *name)
{
	uint8_t b[8];
	FILE *f = fopen(name, "re");
	CHECK(f && fseek(f, 72, SEEK_SET) == 0 && fread(b, 1, 8, f) == 8);
	fclose(f);
	return get_be64(b) & QCOW2_INCOMPAT_CORRUPT;
}

static void expect_damage(const char *name, uint64_t entry, bool readable)
{
	make_qcow2(name, NULL);
	uint64_t at = first_l2_entry(name);
	poke_be64(name, at, entry);
	struct blk_node *n = open_rw(name);
	uint8_t buf[512] = { 0 };
	CHECK_EQ(blk_pread(n, buf, 512, 0), readable ? 0 : -EIO);
	CHECK_EQ(blk_pwrite(n, buf, 512, 0), -EIO);
	CHECK_EQ(blk_pwrite(n, buf, 512, 512 * K), -EIO);
	blk_close(n);
	CHECK(is_marked(name));
}

TEST(entry_behind_the_end_of_the_file_is_damage)
{
	expect_damage("e1.qcow2", Q_COPIED | UINT64_C(1) << 50, false);
}

TEST(misaligned_entry_is_damage)
{
	expect_damage("e2.qcow2", Q_COPIED | (5 * 64 * K + 512), false);
}

TEST(reserved_bits_in_an_entry_are_damage)
{
	expect_damage("e3.qcow2", Q_COPIED | UINT64_C(1) << 58, false);
}

TEST(entry_that_points_at_the_header_is_not_written_through)
{
	expect_damage("e4.qcow2", Q_COPIED | 64 * K, true); /* the refcount table */
}

TEST(entry_that_claims_a_free_cluster_is_not_written_through)
{
	make_qcow2("e5.qcow2", NULL);
	uint64_t at = first_l2_entry("e5.qcow2");
	CHECK_EQ(truncate("e5.qcow2", 20 * 64 * K), 0);
	poke_be64("e5.qcow2", at, Q_COPIED | 15 * 64 * K);
	struct blk_node *n = open_rw("e5.qcow2");
	uint8_t buf[512] = { 0 };
	CHECK_EQ(blk_pwrite(n, buf, 512, 0), -EIO);
	blk_close(n);
	CHECK(is_marked("e5.qcow2"));
}

TEST(repair_makes_a_damaged_image_usable)
{
	expect_damage("e6.qcow2", Q_COPIED | UINT64_C(1) << 50, false);
	struct blk_node *n;
	struct qcow2_check r;
	CHECK_EQ(blk_open(the_loop(), "e6.qcow2", "qcow2", BLK_OPEN_RDWR | BLK_OPEN_CHECK, &n), 0);
	CHECK_EQ(qcow2_run(n, do_repair, &r), 0);
	CHECK(r.corruptions_fixed >= 1);
	CHECK_EQ(r.corruptions, 0);
	CHECK_EQ(blk_close(n), 0);
	CHECK(!is_marked("e6.qcow2"));
	n = open_rw("e6.qcow2");
	CHECK(is_clean(n));
	fill(n, 0, 64 * K, 3);
	CHECK(holds(n, 0, 64 * K, 3));
	CHECK_EQ(blk_close(n), 0);
}

TEST(image_that_was_not_closed_is_repaired_when_it_is_opened_for_writing)
{
	make_qcow2("dirty.qcow2", NULL);
	struct blk_node *n = open_rw("dirty.qcow2");
	fill(n, 0, 64 * K, 1);
	uint64_t block = 2 * 64 * K;
	CHECK_EQ(blk_close(n), 0);
	uint8_t none[64] = { 0 };
	poke("dirty.qcow2", block, none,
	     sizeof(none)); /* refcounts never written, as lazy ones are */
	poke_be64("dirty.qcow2", 72, QCOW2_INCOMPAT_DIRTY);
	n = open_rw("dirty.qcow2");
	CHECK(!(qcow2_header_of(n)->incompat & QCOW2_INCOMPAT_DIRTY));
	CHECK(is_clean(n));
	CHECK(holds(n, 0, 64 * K, 1));
	CHECK_EQ(blk_close(n), 0);
}

static int do_resize(struct blk_node *n, void *arg)
{
	return qcow2_co_resize(n, *(uint64_t *)arg);
}

TEST(what_a_smaller_disk_cut_off_does_not_come_back)
{
	make_qcow2("size.qcow2", NULL);
	struct blk_node *n = open_rw("size.qcow2");
	uint64_t less = 300 * K, more = UINT64_C(2) << 40;
	fill(n, 0, M, 1);
	CHECK_EQ(qcow2_run(n, do_resize, &less), 0);
	CHECK_EQ(blk_size(n), less);
	CHECK_EQ(qcow2_run(n, do_resize, &more), 0);
	CHECK(holds(n, 0, 300 * K, 1));
	CHECK(holds(n, 300 * K, 724 * K, 0));
	fill(n, more - 4096, 4096, 2);
	CHECK(is_clean(n));
	CHECK_EQ(blk_close(n), 0);
}

/* ---- snapshots ---- */

static int do_create(struct blk_node *n, void *arg)
{
	struct qcow2_snapshot_new s = { .name = arg, .parent = "7" };
	return qcow2_co_snapshot_create(n, &s);
}

static int do_apply(struct blk_node *n, void *arg)
{
	return qcow2_co_snapshot_apply(n, arg);
}

static int do_delete(struct blk_node *n, void *arg)
{
	return qcow2_co_snapshot_delete(n, arg);
}

static char snap_a[] = "a", snap_none[] = "none", bad_name[] = "x\n";

TEST(snapshot_brings_the_disk_back)
{
	make_qcow2("snap.qcow2", NULL);
	struct blk_node *n = open_rw("snap.qcow2");
	fill(n, 0, 256 * K, 1);
	CHECK_EQ(qcow2_run(n, do_create, snap_a), 0);
	fill(n, 64 * K, 4096, 2);
	fill(n, 512 * K, 4096, 2);
	CHECK_EQ(qcow2_run(n, do_apply, snap_a), 0);
	CHECK(holds(n, 0, 256 * K, 1));
	CHECK(holds(n, 512 * K, 4096, 0));
	CHECK(is_clean(n));
	CHECK_EQ(qcow2_run(n, do_delete, snap_a), 0);
	CHECK(holds(n, 0, 256 * K, 1));
	CHECK(is_clean(n));
	CHECK_EQ(blk_close(n), 0);
}

TEST(snapshot_names_are_checked)
{
	make_qcow2("names.qcow2", NULL);
	struct blk_node *n = open_rw("names.qcow2");
	CHECK_EQ(qcow2_run(n, do_create, snap_a), 0);
	CHECK_EQ(qcow2_run(n, do_create, snap_a), -EEXIST);
	CHECK_EQ(qcow2_run(n, do_create, bad_name), -EINVAL);
	CHECK_EQ(qcow2_run(n, do_apply, snap_none), -ENOENT);
	CHECK_EQ(qcow2_run(n, do_delete, snap_none), -ENOENT);
	CHECK_EQ(blk_close(n), 0);
}

TEST(snapshot_is_a_source_of_its_own)
{
	make_qcow2("src.qcow2", NULL);
	struct blk_node *n = open_rw("src.qcow2");
	fill(n, 0, 64 * K, 1);
	CHECK_EQ(qcow2_run(n, do_create, snap_a), 0);
	fill(n, 0, 64 * K, 2);
	CHECK_EQ(blk_close(n), 0);
	struct blk_open_opts opts = { .snapshot = "a" };
	CHECK_EQ(blk_open_with(the_loop(), "src.qcow2", NULL, 0, &opts, &n), 0);
	CHECK(holds(n, 0, 64 * K, 1));
	CHECK(blk_read_only(n));
	CHECK_EQ(blk_close(n), 0);
}

static int do_are_current(struct blk_node *n, void *arg)
{
	*(bool *)arg = qcow2_co_snapshots_are_current(n);
	return 0;
}

TEST(reader_without_a_lock_sees_that_snapshots_have_changed)
{
	bool current;
	make_qcow2("other.qcow2", NULL);
	struct blk_node *n = open_rw("other.qcow2"), *reader;
	CHECK_EQ(qcow2_run(n, do_create, snap_a), 0);
	CHECK_EQ(blk_open(the_loop(), "other.qcow2", NULL, BLK_OPEN_NO_LOCK, &reader), 0);
	CHECK_EQ(qcow2_run(reader, do_are_current, &current), 0);
	CHECK(current);
	CHECK_EQ(qcow2_run(n, do_delete, snap_a), 0);
	CHECK_EQ(qcow2_run(reader, do_are_current, &current), 0);
	CHECK(!current);
	CHECK_EQ(blk_close(reader), 0);
	CHECK_EQ(blk_close(n), 0);
}

struct vm {
	uint64_t host;
	struct qcow2_vm_extent *v;
	uint32_t n;
};

static int do_reserve(struct blk_node *n, void *arg)
{
	struct vm *vm = arg;
	return qcow2_co_reserve(n, 3 * 64 * K, &vm->host);
}

static int do_publish(struct blk_node *n, void *arg)
{
	struct vm *vm = arg;
	struct qcow2_vm_extent x = { 64 * K, vm->host, 2 * 64 * K };
	struct qcow2_snapshot_new s = {
		.name = "vm", .vm_state_bytes = 192 * K, .extents = &x, .n_extents = 1
	};
	return qcow2_co_snapshot_create(n, &s);
}

static int do_extents(struct blk_node *n, void *arg)
{
	struct vm *vm = arg;
	return qcow2_co_vm_extents(n, "vm", &vm->v, &vm->n);
}

TEST(reserved_clusters_become_vm_state)
{
	struct qcow2_create o = { .size = 4 * M };
	make_qcow2("vm.qcow2", &o);
	struct blk_node *n = open_rw("vm.qcow2");
	struct vm vm;
	fill(n, 0, 64 * K, 1);
	CHECK_EQ(qcow2_run(n, do_reserve, &vm), 0);
	fill(n, M, M, 2); /* goes around the reservation */
	char ram[128 * K];
	memset(ram, 9, sizeof(ram));
	poke("vm.qcow2", vm.host, ram, sizeof(ram));
	CHECK_EQ(qcow2_run(n, do_publish, &vm), 0);
	CHECK(is_clean(n));
	fill(n, 2 * M, M, 3);
	CHECK_EQ(qcow2_run(n, do_extents, &vm), 0);
	CHECK_EQ(vm.n, 1);
	CHECK_EQ(vm.v[0].vm_off, 64 * K);
	CHECK_EQ(vm.v[0].host_off, vm.host);
	CHECK_EQ(vm.v[0].bytes, 128 * K);
	free(vm.v);
	CHECK(is_clean(n));
	CHECK(holds(n, M, M, 2) && holds(n, 2 * M, M, 3));
	CHECK_EQ(blk_close(n), 0);
}

TEST(vm_state_at_the_end_of_the_file_stays_when_the_image_is_closed)
{
	struct qcow2_create o = { .size = 4 * M };
	make_qcow2("end.qcow2", &o);
	struct blk_node *n = open_rw("end.qcow2");
	struct vm vm;
	fill(n, 0, M, 1);
	CHECK_EQ(request(n, BLK_DISCARD, 0, 0, M, NULL), 0); /* room for tables in front of it */
	CHECK_EQ(request(n, BLK_FLUSH, 0, 0, 0, NULL), 0);
	CHECK_EQ(qcow2_run(n, do_reserve, &vm), 0);
	CHECK_EQ(qcow2_run(n, do_publish, &vm), 0);
	CHECK_EQ(blk_close(n), 0);
	struct stat st;
	CHECK_EQ(stat("end.qcow2", &st), 0);
	CHECK((uint64_t)st.st_size >= vm.host + 128 * K);
	n = open_rw("end.qcow2");
	CHECK(is_clean(n));
	CHECK_EQ(blk_close(n), 0);
}

/* ---- what a change that failed has written is not taken for zeroes ---- */

/* A little into each cluster of [from, to): what the guest did not write of them reads as zeroes. */
static bool rest_is_zero(struct blk_node *n, uint64_t from, uint64_t to, uint32_t cluster)
{
	bool zero = true;
	for (uint64_t at = from; at < to && zero; at += cluster) {
		fill(n, at + cluster - 512, 512, 5);
		zero = holds(n, at, cluster - 512, 0);
	}
	return zero;
}

static int do_release(struct blk_node *n, void *arg)
{
	return qcow2_co_reserve(n, 0, arg);
}

TEST(memory_of_a_save_that_failed_does_not_show_in_the_disk)
{
	struct qcow2_create o = { .size = 4 * M };
	make_qcow2("unsaved.qcow2", &o);
	struct blk_node *n = open_rw("unsaved.qcow2");
	struct vm vm;
	fill(n, 0, 64 * K, 1);
	CHECK_EQ(qcow2_run(n, do_reserve, &vm), 0);
	char ram[192 * K];
	memset(ram, 9, sizeof(ram));
	poke("unsaved.qcow2", vm.host, ram, sizeof(ram));
	CHECK_EQ(qcow2_run(n, do_release, &vm.host), 0);
	CHECK(rest_is_zero(n, M, 2 * M, 64 * K));
	CHECK(is_clean(n));
	CHECK_EQ(blk_close(n), 0);
}

TEST(tables_of_a_snapshot_that_failed_do_not_show_in_the_disk)
{
	static char name[3][2] = { "x", "y", "z" };
	struct qcow2_create o = { .size = 64 * M, .cluster_bytes = 4096, .refcount_bits = 2 };
	make_qcow2("narrow.qcow2", &o);
	struct blk_node *n = open_rw("narrow.qcow2");
	fill(n, 62 * M, 4 * K, 1);
	CHECK_EQ(qcow2_run(n, do_create, name[0]), 0);
	CHECK_EQ(qcow2_run(n, do_create, name[1]), 0);
	CHECK_EQ(blk_close(n), 0);
	n = open_rw("narrow.qcow2");
	for (uint64_t at = 0; at < 60 * M; at += 2 * M)
		fill(n, at, 4 * K, 1); /* tables that are copied before the full counter is met */
	CHECK_EQ(qcow2_run(n, do_create, name[2]), -EOVERFLOW);
	CHECK(rest_is_zero(n, M, 2 * M, 4 * K));
	CHECK(is_clean(n));
	CHECK_EQ(blk_close(n), 0);
}

/* ---- numbers ---- */

TEST(refcounts_of_every_width_are_read_as_written)
{
	for (uint32_t order = 0; order <= 6; order++) {
		uint8_t block[64] = { 0 };
		uint64_t max = order == 6 ? UINT64_MAX : (UINT64_C(1) << (1u << order)) - 1;
		q_rb_set(block, 3, order, max);
		CHECK(q_rb_get(block, 3, order) == max);
		CHECK_EQ(q_rb_get(block, 2, order), 0);
		CHECK_EQ(q_rb_get(block, 4, order), 0);
		q_rb_set(block, 3, order, 0);
		for (size_t i = 0; i < sizeof(block); i++)
			CHECK_EQ(block[i], 0);
	}
}

TEST(cluster_set_finds_what_is_in_it_after_removals)
{
	struct q_set s = { 0 };
	for (uint64_t i = 0; i < 1000; i++)
		CHECK_EQ(q_set_add(&s, i * 7919), 0);
	for (uint64_t i = 0; i < 1000; i += 2)
		q_set_remove(&s, i * 7919);
	for (uint64_t i = 0; i < 1000; i++)
		CHECK_EQ(q_set_has(&s, i * 7919), i % 2);
	q_set_clear(&s);
}

TEST(huge_disk_opens_with_little_memory_and_few_reads)
{
	struct qcow2_create o = { .size = UINT64_C(64) << 40 };
	make_qcow2("huge.qcow2", &o);
	struct blk_node *n = open_rw("huge.qcow2");
	CHECK(blk_size(n) == UINT64_C(64) << 40);
	CHECK(q_node(n)->cache.n_pages == 0); /* no table was read */
	fill(n, (UINT64_C(64) << 40) - 4096, 4096, 5);
	CHECK(holds(n, (UINT64_C(64) << 40) - 4096, 4096, 5));
	CHECK_EQ(blk_close(n), 0);
}

TEST_MAIN(T(new_image_reads_zeroes_and_is_clean), T(written_data_is_there_after_reopening),
	  T(opening_and_reading_changes_no_byte), T(discard_gives_the_space_back),
	  T(requests_outside_the_disk_are_refused), T(read_only_image_refuses_writes),
	  T(status_tells_data_from_holes), T(entry_behind_the_end_of_the_file_is_damage),
	  T(misaligned_entry_is_damage), T(reserved_bits_in_an_entry_are_damage),
	  T(entry_that_points_at_the_header_is_not_written_through),
	  T(entry_that_claims_a_free_cluster_is_not_written_through),
	  T(repair_makes_a_damaged_image_usable),
	  T(image_that_was_not_closed_is_repaired_when_it_is_opened_for_writing),
	  T(what_a_smaller_disk_cut_off_does_not_come_back), T(snapshot_brings_the_disk_back),
	  T(snapshot_names_are_checked), T(snapshot_is_a_source_of_its_own),
	  T(reader_without_a_lock_sees_that_snapshots_have_changed),
	  T(reserved_clusters_become_vm_state),
	  T(vm_state_at_the_end_of_the_file_stays_when_the_image_is_closed),
	  T(memory_of_a_save_that_failed_does_not_show_in_the_disk),
	  T(tables_of_a_snapshot_that_failed_do_not_show_in_the_disk),
	  T(refcounts_of_every_width_are_read_as_written),
	  T(cluster_set_finds_what_is_in_it_after_removals),
	  T(huge_disk_opens_with_little_memory_and_few_reads))
