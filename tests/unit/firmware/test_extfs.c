/* SPDX-License-Identifier: Apache-2.0 */
/* Files out of file systems that mke2fs made, sound and damaged. */
#include "firmware/extfs.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/firmware/fake_fs.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

#define UUID "11111111-2222-3333-4444-555555555555"

/* "big" has 5 MB of counted lines; "holes" has data at 0 and at 3 MiB only. */
static const char tree[] =
	"mkdir -p boot/sub etc; echo hello > boot/hello; : > boot/empty;"
	"seq -w 600000 1299999 | head -c 5000001 > big;"
	"printf start > holes; printf end | dd of=holes bs=1M seek=3 status=none;"
	"ln -s boot/hello link; ln -s /boot/hello abs; ln -s loop loop;"
	"ln -s boot dirlink; ln -s ../../../etc up; echo x > etc/fstab;"
	"ln -s boot/./././././././././././././././././././././././././././././hello"
	" slow";

static struct blk_node *disk_of(const char *mke2fs)
{
	if (!fake_fs_can())
		SKIP("mke2fs is not installed (e2fsprogs)");
	char options[256];
	snprintf(options, sizeof(options), "%s -U " UUID " -L label", mke2fs);
	struct blk_node *d = fake_fs_new(16384, options, tree, "");
	CHECK(d);
	return d;
}

static struct extfs *open_whole(struct blk_node *d)
{
	struct extfs *fs;
	CHECK_EQ(extfs_open(d, 0, d->len_bytes, &fs), 0);
	return fs;
}

static void check_text(struct extfs *fs, const char *path, const char *want)
{
	char *text;
	size_t len;
	CHECK_EQ(extfs_read_text(fs, path, 1000, &text, &len), 0);
	CHECK_STR(text, want);
	free(text);
}

static void check_big(struct extfs *fs)
{
	struct blob b;
	char line[32];
	CHECK_EQ(extfs_read_file(fs, "/big", BLOB_BYTES_MAX, &b), 0);
	CHECK_EQ(b.len_bytes, 5000001);
	for (size_t off = 0; off + 8 < b.len_bytes; off += 8) {
		snprintf(line, sizeof(line), "%07zu\n", (size_t)600000 + off / 8);
		CHECK(!memcmp(b.data + off, line, 8));
	}
	blob_free(&b);
}

static void check_holes(struct extfs *fs)
{
	struct blob b;
	CHECK_EQ(extfs_read_file(fs, "/holes", BLOB_BYTES_MAX, &b), 0);
	CHECK_EQ(b.len_bytes, (3 << 20) + 3);
	CHECK(!memcmp(b.data, "start\0", 6));
	CHECK(!memcmp(b.data + (3 << 20), "end", 3));
	for (size_t i = 5; i < 3 << 20; i += 511)
		CHECK_EQ(b.data[i], 0);
	blob_free(&b);
}

static void check_all(const char *mke2fs, const char *type)
{
	struct blk_node *d = disk_of(mke2fs);
	struct extfs *fs = open_whole(d);
	CHECK_STR(extfs_uuid(fs), UUID);
	CHECK_STR(extfs_label(fs), "label");
	CHECK_STR(extfs_type(fs), type);
	CHECK(!extfs_needs_recovery(fs));
	check_text(fs, "/boot/hello", "hello\n");
	check_text(fs, "/boot/empty", "");
	check_big(fs);
	check_holes(fs);
	extfs_close(fs);
	fake_blk_free(d);
}

TEST(ext4_ext3_and_ext2_are_read_with_all_block_sizes)
{
	check_all("-t ext4", "ext4");
	check_all("-t ext4 -b 1024", "ext4");
	check_all("-t ext4 -O ^64bit,^metadata_csum,inline_data -I 256", "ext4");
	check_all("-t ext3 -b 1024", "ext3");
	check_all("-t ext2 -b 4096", "ext2");
}

TEST(symlinks_are_followed_inside_and_loops_end)
{
	struct blk_node *d = disk_of("-t ext4");
	struct extfs *fs = open_whole(d);
	check_text(fs, "/link", "hello\n");
	check_text(fs, "/abs", "hello\n");
	check_text(fs, "/slow", "hello\n");
	check_text(fs, "/dirlink/hello", "hello\n");
	check_text(fs, "/up/fstab", "x\n");
	char *text;
	size_t len;
	CHECK_EQ(extfs_read_text(fs, "/loop", 1000, &text, &len), -ENOENT);
	CHECK(extfs_is_file(fs, "/link", true));
	CHECK(extfs_is_file(fs, "/boot/empty", false));
	CHECK(!extfs_is_file(fs, "/boot/empty", true));
	CHECK(!extfs_is_file(fs, "/boot", false));
	CHECK(extfs_is_dir(fs, "/dirlink"));
	CHECK(!extfs_is_dir(fs, "/boot/hello"));
	extfs_close(fs);
	fake_blk_free(d);
}

TEST(what_cannot_be_read_is_told_apart)
{
	struct blk_node *d = disk_of("-t ext4");
	struct extfs *fs = open_whole(d);
	struct blob b;
	CHECK_EQ(extfs_read_file(fs, "/none", 100, &b), -ENOENT);
	CHECK_EQ(extfs_read_file(fs, "/boot/hello/x", 100, &b), -ENOENT);
	CHECK_EQ(extfs_read_file(fs, "/boot", 100, &b), -EISDIR);
	CHECK_EQ(extfs_read_file(fs, "/big", 100, &b), -EFBIG);
	CHECK(!b.data);
	d->fail_at = d->len_bytes; /* none, to begin with */
	extfs_close(fs);
	fs = open_whole(d);
	CHECK_EQ(extfs_read_file(fs, "/boot/hello", 100, &b), 0);
	blob_free(&b);
	for (uint64_t off = 0; off < d->len_bytes; off += 512)
		if (!memcmp(d->data + off, "0600000\n", 8))
			d->fail_at = off + 100000;
	CHECK_EQ(extfs_read_file(fs, "/big", BLOB_BYTES_MAX, &b), -EIO);
	extfs_close(fs);
	fake_blk_free(d);
}

static void count_cb(void *opaque, const char *name)
{
	CHECK(strcmp(name, ".") && strcmp(name, ".."));
	++*(unsigned int *)opaque;
}

TEST(directories_are_listed_large_ones_too)
{
	if (!fake_fs_can())
		SKIP("mke2fs is not installed (e2fsprogs)");
	struct blk_node *d = fake_fs_new(
		16384, "-t ext4 -N 4096",
		"mkdir d; cd d; seq 3000 | sed s/^/file-with-a-name-/ | xargs touch", "");
	CHECK(d);
	struct extfs *fs = open_whole(d);
	unsigned int n = 0;
	CHECK_EQ(extfs_list(fs, "/d", count_cb, &n), 0);
	CHECK_EQ(n, 3000);
	CHECK_EQ(extfs_list(fs, "/d/file-with-a-name-7", count_cb, &n), -ENOTDIR);
	CHECK_EQ(extfs_list(fs, "/e", count_cb, &n), -ENOENT);
	extfs_close(fs);
	fake_blk_free(d);
}

TEST(contents_come_in_few_large_requests)
{
	/* 5 MB: 1221 blocks of 4 KiB in extents, 4883 of 1 KiB in a block map. */
	static const char *const kinds[] = { "-t ext4", "-t ext3 -b 1024" };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct blk_node *d = disk_of(kinds[i]);
		struct extfs *fs = open_whole(d);
		unsigned int before = d->nreads;
		check_big(fs);
		CHECK(d->nreads - before < 60);
		extfs_close(fs);
		fake_blk_free(d);
	}
}

TEST(blocks_that_were_never_written_read_as_zeroes)
{
	if (!fake_fs_can())
		SKIP("mke2fs is not installed (e2fsprogs)");
	struct blk_node *d = fake_fs_new(4096, "-t ext4 -b 4096 -O ^metadata_csum",
					 "head -c 24576 /dev/zero | tr \"\\0\" x > stale", "");
	/* Its only extent: 6 blocks from 0 on, right behind the header (one entry of four). */
	static const uint8_t extent[] = {
		0x0a, 0xf3, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0
	};
	CHECK(d);
	uint8_t *p = memmem(d->data, d->len_bytes, extent, sizeof(extent));
	CHECK(p);
	p[17] = 0x80; /* allocated, not written */
	struct extfs *fs = open_whole(d);
	struct blob b;
	CHECK_EQ(extfs_read_file(fs, "/stale", BLOB_BYTES_MAX, &b), 0);
	CHECK_EQ(b.len_bytes, 24576);
	CHECK(!memchr(b.data, 'x', b.len_bytes));
	blob_free(&b);
	extfs_close(fs);
	fake_blk_free(d);
}

TEST(journal_that_needs_recovery_is_told_and_not_touched)
{
	if (!fake_fs_can())
		SKIP("mke2fs is not installed (e2fsprogs)");
	struct blk_node *d =
		fake_fs_new(16384, "-t ext4", tree,
			    "debugfs -w -R 'feature +needs_recovery' $1 >/dev/null 2>&1");
	CHECK(d);
	struct extfs *fs = open_whole(d);
	CHECK(extfs_needs_recovery(fs));
	check_text(fs, "/boot/hello", "hello\n");
	extfs_close(fs);
	fake_blk_free(d);
}

TEST(what_is_no_file_system_is_no_error_and_a_wrong_size_is)
{
	struct blk_node *d = disk_of("-t ext4");
	struct extfs *fs;
	CHECK_EQ(extfs_open(d, 512, d->len_bytes - 512, &fs), -ENODEV);
	CHECK_EQ(extfs_open(d, 0, 1024, &fs), -ENODEV);
	CHECK_EQ(extfs_open(d, 0, d->len_bytes - 512, &fs), -EINVAL);
	static const struct {
		unsigned int off;
		uint32_t value;
	} cases[] = { { 4, 0xffffffff }, { 0x18, 31 }, { 0x18, 7 },	    { 0x20, 0 },
		      { 0x20, 1 },	 { 0x28, 0 },  { 0x58, 0xffff0003 } };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t was = get_le32(d->data + 1024 + cases[i].off);
		put_le32(d->data + 1024 + cases[i].off, cases[i].value);
		CHECK(extfs_open(d, 0, d->len_bytes, &fs) < 0);
		put_le32(d->data + 1024 + cases[i].off, was);
	}
	put_le32(d->data + 1024 + 0x60, 0x80000000); /* a feature of the future */
	CHECK(extfs_open(d, 0, d->len_bytes, &fs) < 0);
	fake_blk_free(d);
}

/* Bytes of the metadata are changed at random, and everything is read: it may fail, and it ends. */
static void read_everything(struct blk_node *d)
{
	static const char *const paths[] = { "/big", "/holes", "/link", "/boot/hello", "/slow" };
	struct extfs *fs;
	struct blob b;
	unsigned int n = 0;
	if (extfs_open(d, 0, d->len_bytes, &fs))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (!extfs_read_file(fs, paths[i], 64 << 20, &b))
			blob_free(&b);
	extfs_list(fs, "/", count_cb, &n);
	extfs_list(fs, "/boot", count_cb, &n);
	extfs_close(fs);
}

TEST(damaged_file_systems_end_in_an_error_or_in_garbage_but_soon)
{
	static const char *const kinds[] = { "-t ext4 -O ^metadata_csum", "-t ext3 -b 1024" };
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct blk_node *d = disk_of(kinds[k]);
		uint8_t *sound = malloc(d->len_bytes);
		memcpy(sound, d->data, d->len_bytes);
		srand(4711);
		clock_t start = clock();
		for (int round = 0; round < 50; round++) {
			for (int i = 0; i < 40; i++) {
				/* Superblock, groups, inodes and the first directories. */
				size_t at = 1024 + (size_t)rand() % (600 << 10);
				d->data[at] = rand() % 3 ? (uint8_t)rand() : 0xff;
			}
			read_everything(d);
			memcpy(d->data, sound, 700 << 10);
		}
		CHECK((clock() - start) / CLOCKS_PER_SEC < 60);
		free(sound);
		fake_blk_free(d);
	}
}

TEST_MAIN(T(ext4_ext3_and_ext2_are_read_with_all_block_sizes),
	  T(symlinks_are_followed_inside_and_loops_end), T(what_cannot_be_read_is_told_apart),
	  T(directories_are_listed_large_ones_too), T(contents_come_in_few_large_requests),
	  T(blocks_that_were_never_written_read_as_zeroes),
	  T(journal_that_needs_recovery_is_told_and_not_touched),
	  T(what_is_no_file_system_is_no_error_and_a_wrong_size_is),
	  T(damaged_file_systems_end_in_an_error_or_in_garbage_but_soon))
