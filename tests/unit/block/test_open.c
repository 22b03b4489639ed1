/* SPDX-License-Identifier: Apache-2.0 */
/* What can be wrong with an image or the way it is named: one line, the right error, nothing changed. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/block/scratch.h"

/* Exactly one line was logged, and it says @what. */
static void check_message(const char *what)
{
	const char *m = logged();
	const char *nl = strchr(m, '\n');
	if (!strstr(m, what) || !nl || nl[1])
		printf("  logged: \"%s\", wanted one line with \"%s\"\n", m, what);
	CHECK(strstr(m, what));
	CHECK(nl && !nl[1]);
}

TEST(missing_file_is_named)
{
	scratch();
	CHECK_EQ(try_open("nowhere.img", NULL, BLK_OPEN_RDWR), -ENOENT);
	check_message("nowhere.img: there is no such file");
}

TEST(directory_is_refused)
{
	scratch();
	mkdir("dir", 0700);
	CHECK_EQ(try_open("dir", NULL, BLK_OPEN_RDWR), -EISDIR);
	check_message("dir: this is a directory");
	CHECK_EQ(try_open("dir", NULL, 0), -EISDIR);
}

TEST(fifo_is_refused_without_waiting)
{
	scratch();
	mkfifo("pipe", 0600);
	CHECK_EQ(try_open("pipe", NULL, 0), -EINVAL);
	check_message("neither a file nor a block device");
}

TEST(empty_file_is_refused)
{
	make_file("empty.img", "", 0, 0);
	CHECK_EQ(try_open("empty.img", NULL, BLK_OPEN_RDWR), -EINVAL);
	check_message("empty.img: the file is empty");
}

TEST(file_of_odd_length_reads_zeroes_behind_its_end)
{
	make_file("odd.raw", "abc", 3, 3);
	struct blk_node *n;
	char buf[512];
	CHECK_EQ(blk_open(the_loop(), "odd.raw", "raw", 0, &n), 0);
	CHECK_EQ(blk_size(n), 512);
	CHECK_EQ(blk_pread(n, buf, 512, 0), 0);
	CHECK(buf[0] == 'a' && buf[2] == 'c' && buf[3] == 0 && buf[511] == 0);
	CHECK_EQ(blk_close(n), 0);
}

TEST(not_a_qcow2_is_told_when_qcow2_was_asked_for)
{
	make_file("plain.img", "hello", 5, 4096);
	CHECK_EQ(try_open("plain.img", "qcow2", BLK_OPEN_RDWR), -EINVAL);
	check_message("not a qcow2 image");
	CHECK_EQ(try_open("plain.img", NULL, BLK_OPEN_RDWR), 0);
}

TEST(foreign_formats_are_named)
{
	make_file("a.vmdk", "KDMV", 4, 4096);
	CHECK_EQ(try_open("a.vmdk", NULL, 0), -ENOTSUP);
	check_message("this is a vmdk image");
	CHECK_EQ(try_open("a.vmdk", "vhdx", 0), -ENOTSUP);
	check_message("format \"vhdx\" is not supported");
}

TEST(truncated_qcow2_is_told)
{
	make_qcow2("cut.qcow2", NULL);
	CHECK_EQ(truncate("cut.qcow2", 65536), 0);
	CHECK_EQ(try_open("cut.qcow2", NULL, BLK_OPEN_RDWR), -EINVAL);
	check_message("truncated?");
}

TEST(unknown_incompatible_feature_is_named)
{
	make_qcow2("future.qcow2", NULL);
	poke_be64("future.qcow2", 72, UINT64_C(1) << 40);
	CHECK_EQ(try_open("future.qcow2", NULL, BLK_OPEN_RDWR), -ENOTSUP);
	check_message("incompatible feature bit 40");
}

TEST(encryption_is_named)
{
	make_qcow2("luks.qcow2", NULL);
	poke_be32("luks.qcow2", 32, 2);
	CHECK_EQ(try_open("luks.qcow2", NULL, 0), -ENOTSUP);
	check_message("encrypted (LUKS)");
}

TEST(corrupt_bit_forbids_writing_and_allows_reading)
{
	make_qcow2("marked.qcow2", NULL);
	poke_be64("marked.qcow2", 72, 2);
	CHECK_EQ(try_open("marked.qcow2", NULL, BLK_OPEN_RDWR), -EINVAL);
	check_message("check -r all");
	CHECK_EQ(try_open("marked.qcow2", NULL, 0), 0);
}

TEST(unreadable_file_says_so)
{
	if (geteuid() == 0)
		SKIP("root may read everything");
	make_file("secret.img", "x", 1, 512);
	chmod("secret.img", 0);
	CHECK_EQ(try_open("secret.img", NULL, 0), -EACCES);
	check_message("you may not read it");
}

/* ---- backing files ---- */

static void overlay(const char *name, const char *backing, const char *format)
{
	struct qcow2_create o = { .size = 1 << 20, .backing = backing, .backing_format = format };
	make_qcow2(name, &o);
}

TEST(missing_backing_file_is_named)
{
	overlay("o1.qcow2", "gone.raw", "raw");
	CHECK_EQ(try_open("o1.qcow2", NULL, BLK_OPEN_RDWR), -ENOENT);
	check_message("backing file gone.raw cannot be opened");
}

TEST(backing_file_that_is_its_own_is_a_loop)
{
	overlay("self.qcow2", "self.qcow2", "qcow2");
	CHECK_EQ(try_open("self.qcow2", NULL, 0), -ELOOP);
	check_message("loop");
}

TEST(two_backing_files_in_a_circle_are_a_loop)
{
	overlay("ring1.qcow2", "ring2.qcow2", "qcow2");
	overlay("ring2.qcow2", "ring1.qcow2", "qcow2");
	CHECK_EQ(try_open("ring1.qcow2", NULL, 0), -ELOOP);
	check_message("loop");
}

TEST(backing_file_outside_the_directory_needs_leave)
{
	scratch();
	mkdir("inner", 0700);
	make_file("private.raw", "secret", 6, 4096);
	overlay("inner/top.qcow2", "../private.raw", "raw");
	CHECK_EQ(try_open("inner/top.qcow2", NULL, BLK_OPEN_RDWR), -EPERM);
	check_message("--allow-backing");
	CHECK_EQ(try_open("inner/top.qcow2", NULL, BLK_OPEN_ANY_BACKING), 0);
	const char *allow[] = { "private.raw", NULL };
	struct blk_open_opts opts = { .allow_backing = allow };
	struct blk_node *n;
	CHECK_EQ(blk_open_with(the_loop(), "inner/top.qcow2", NULL, 0, &opts, &n), 0);
	CHECK_EQ(blk_close(n), 0);
}

TEST(symbolic_link_out_of_the_directory_needs_leave)
{
	scratch();
	mkdir("links", 0700);
	make_file("private2.raw", "secret", 6, 4096);
	CHECK(symlink("../private2.raw", "links/base.raw") == 0 || errno == EEXIST);
	overlay("links/top.qcow2", "base.raw", "raw");
	CHECK_EQ(try_open("links/top.qcow2", NULL, 0), -EPERM);
}

TEST(backing_file_without_a_format_needs_leave)
{
	make_file("base.raw", "x", 1, 4096);
	overlay("o2.qcow2", "base.raw", NULL);
	CHECK_EQ(try_open("o2.qcow2", NULL, 0), -EPERM);
	check_message("does not record the format");
	CHECK_EQ(try_open("o2.qcow2", NULL, BLK_OPEN_ANY_BACKING), 0);
}

TEST(backing_file_by_protocol_is_refused)
{
	overlay("o3.qcow2", "nbd://localhost/x", "raw");
	CHECK_EQ(try_open("o3.qcow2", NULL, BLK_OPEN_ANY_BACKING), -ENOTSUP);
	check_message("not a local file");
}

TEST_MAIN(T(missing_file_is_named), T(directory_is_refused), T(fifo_is_refused_without_waiting),
	  T(empty_file_is_refused), T(file_of_odd_length_reads_zeroes_behind_its_end),
	  T(not_a_qcow2_is_told_when_qcow2_was_asked_for), T(foreign_formats_are_named),
	  T(truncated_qcow2_is_told), T(unknown_incompatible_feature_is_named),
	  T(encryption_is_named), T(corrupt_bit_forbids_writing_and_allows_reading),
	  T(unreadable_file_says_so), T(missing_backing_file_is_named),
	  T(backing_file_that_is_its_own_is_a_loop), T(two_backing_files_in_a_circle_are_a_loop),
	  T(backing_file_outside_the_directory_needs_leave),
	  T(symbolic_link_out_of_the_directory_needs_leave),
	  T(backing_file_without_a_format_needs_leave), T(backing_file_by_protocol_is_refused))
