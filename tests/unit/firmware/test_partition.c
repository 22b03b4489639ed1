/* SPDX-License-Identifier: Apache-2.0 */
/* Partition tables: made by sfdisk where it is installed, and by hand where they are to be wrong.
 */
#include "firmware/image_fs.h"
#include "firmware/partition.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/unit/firmware/capture.h"
#include "tests/unit/firmware/fake_blk.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum { DISK_SECTORS = 20480, ENTRY0 = 2 * 512 };

static const uint8_t linux_type[16] = { 0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
					0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4 };

static void mbr_entry(uint8_t *sector, int i, uint8_t type, uint32_t first, uint32_t n)
{
	uint8_t *e = sector + 446 + 16 * i;
	e[4] = type;
	put_le32(e + 8, first);
	put_le32(e + 12, n);
	put_le16(sector + 510, 0xaa55);
}

/* Checksums of the header at @lba with its array at @array_lba. */
static void gpt_seal(struct blk_node *d, uint64_t lba, uint64_t array_lba)
{
	uint8_t *h = d->data + lba * 512;
	memcpy(h, "EFI PART", 8);
	put_le32(h + 8, 0x10000);
	put_le32(h + 12, 92);
	put_le64(h + 24, lba);
	put_le64(h + 72, array_lba);
	put_le32(h + 80, 128);
	put_le32(h + 84, 128);
	put_le32(h + 88, (uint32_t)crc32(0, d->data + array_lba * 512, 128 * 128));
	put_le32(h + 16, 0);
	put_le32(h + 16, (uint32_t)crc32(0, h, 92));
}

static void gpt_entry(struct blk_node *d, int i, uint64_t first, uint64_t last)
{
	uint8_t *e = d->data + ENTRY0 + 128 * i;
	memcpy(e, linux_type, 16);
	memset(e + 16, 0x10 + i, 16);
	put_le64(e + 32, first);
	put_le64(e + 40, last);
}

static struct blk_node *gpt_disk(void)
{
	struct blk_node *d = fake_blk_new(DISK_SECTORS * 512);
	mbr_entry(d->data, 0, 0xee, 1, DISK_SECTORS - 1);
	gpt_entry(d, 0, 2048, 4095);
	gpt_entry(d, 3, 4096, 20000);
	memcpy(d->data + (DISK_SECTORS - 33) * 512, d->data + ENTRY0, 128 * 128);
	gpt_seal(d, 1, 2);
	gpt_seal(d, DISK_SECTORS - 1, DISK_SECTORS - 33);
	return d;
}

TEST(gpt_partitions_keep_their_numbers_and_uuids)
{
	struct blk_node *d = gpt_disk();
	struct partition_table t;
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK_EQ(t.scheme, PARTITION_GPT);
	CHECK_EQ(t.n, 2);
	CHECK_EQ(t.parts[0].number, 1);
	CHECK_EQ(t.parts[0].off, 2048 * 512);
	CHECK_EQ(t.parts[0].len, 2048 * 512);
	CHECK_STR(t.parts[0].type, "0fc63daf-8483-4772-8e79-3d69d8477de4");
	CHECK_STR(t.parts[0].uuid, "10101010-1010-1010-1010-101010101010");
	CHECK_EQ(t.parts[1].number, 4);
	CHECK(!t.from_backup);
	fake_blk_free(d);
}

TEST(damaged_gpt_is_read_from_its_backup_and_a_lost_one_is_an_error)
{
	struct blk_node *d = gpt_disk();
	struct partition_table t;
	struct capture c;
	d->data[512 + 60] ^= 1; /* header checksum */
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK(t.from_backup);
	CHECK_EQ(t.n, 2);
	d->data[512 + 60] ^= 1;
	d->data[ENTRY0 + 40] ^= 1; /* entries' checksum */
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK(t.from_backup);
	CHECK_EQ(t.n, 2);
	CHECK_EQ(t.parts[0].len, 2048 * 512);
	d->data[(DISK_SECTORS - 1) * 512 + 60] ^= 1;
	CHECK_EQ(partition_scan(d, &t), -EINVAL);
	/* Several look into an image, and one of them tells what is wrong. */
	struct image_fs im;
	capture_begin(&c);
	CHECK_EQ(image_fs_open(&im, d, true), -EINVAL);
	CHECK_EQ(capture_end(&c), 0);
	capture_begin(&c);
	CHECK_EQ(image_fs_open(&im, d, false), -EINVAL);
	CHECK_EQ(capture_end(&c), 1);
	fake_blk_free(d);
}

TEST(gpt_with_giant_or_absurd_counts_is_not_believed)
{
	static const struct {
		unsigned int off, bytes;
		uint64_t value;
	} cases[] = {
		{ 80, 4, 0xffffffff },
		{ 80, 4, 0 },
		{ 84, 4, 0 },
		{ 84, 4, 64 },
		{ 84, 4, 0x80000000 },
		{ 72, 8, UINT64_MAX },
		{ 72, 8, DISK_SECTORS - 1 },
		{ 12, 4, 0 },
		{ 12, 4, 4096 },
		{ 24, 8, 5 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct blk_node *d = gpt_disk();
		struct partition_table t;
		uint8_t v[8], *h = d->data + 512;
		put_le64(v, cases[i].value);
		memcpy(h + cases[i].off, v, cases[i].bytes);
		put_le32(h + 16, 0);
		put_le32(h + 16, (uint32_t)crc32(0, h, 92));
		CHECK_EQ(partition_scan(d, &t), 0);
		CHECK(t.from_backup);
		CHECK_EQ(t.n, 2);
		fake_blk_free(d);
	}
}

TEST(partitions_outside_the_disk_are_cut_or_left_out)
{
	struct blk_node *d = gpt_disk();
	struct partition_table t;
	gpt_entry(d, 0, 20000, UINT64_MAX - 1);
	gpt_entry(d, 1, DISK_SECTORS, DISK_SECTORS + 5);
	gpt_entry(d, 2, 3000, 2000);
	gpt_entry(d, 4, 0, UINT64_MAX);
	gpt_seal(d, 1, 2);
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK_EQ(t.n, 2);
	CHECK_EQ(t.parts[0].off + t.parts[0].len, DISK_SECTORS * 512);
	CHECK_EQ(t.parts[1].number, 4);
	fake_blk_free(d);
}

TEST(mbr_with_logical_partitions)
{
	struct blk_node *d = fake_blk_new(DISK_SECTORS * 512);
	struct partition_table t;
	put_le32(d->data + 440, 0xdeadbeef);
	mbr_entry(d->data, 0, 0x83, 2048, 2048);
	mbr_entry(d->data, 2, 0x05, 8192, 8192);
	mbr_entry(d->data + 8192 * 512, 0, 0x83, 2, 1000);
	mbr_entry(d->data + 8192 * 512, 1, 0x05, 2048, 2048);
	mbr_entry(d->data + 10240 * 512, 0, 0x82, 2, 500);
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK_EQ(t.scheme, PARTITION_MBR);
	CHECK_EQ(t.n, 3);
	CHECK_STR(t.parts[0].uuid, "deadbeef-01");
	CHECK_EQ(t.parts[1].number, 5);
	CHECK_EQ(t.parts[1].off, 8194 * 512);
	CHECK_STR(t.parts[1].uuid, "deadbeef-05");
	CHECK_EQ(t.parts[2].number, 6);
	CHECK_EQ(t.parts[2].off, 10242 * 512);
	CHECK_STR(t.parts[2].type, "82");
	fake_blk_free(d);
}

TEST(cyclic_logical_partitions_end)
{
	struct blk_node *d = fake_blk_new(DISK_SECTORS * 512);
	struct partition_table t;
	struct capture c;
	mbr_entry(d->data, 0, 0x05, 8192, 8192);
	mbr_entry(d->data + 8192 * 512, 0, 0x83, 2, 1000);
	mbr_entry(d->data + 8192 * 512, 1, 0x05, 100, 2048);
	mbr_entry(d->data + 8292 * 512, 1, 0x05, 100, 2048); /* itself */
	capture_begin(&c);
	CHECK_EQ(partition_scan(d, &t), 0);
	capture_end(&c);
	CHECK_EQ(t.n, 1);
	CHECK(d->nreads < 200);
	mbr_entry(d->data + 8192 * 512, 1, 0x05, 0xffffffff, 1); /* outside */
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK_EQ(t.n, 1);
	fake_blk_free(d);
}

TEST(disk_without_a_table_is_one_partition_and_a_tiny_one_is_none)
{
	struct blk_node *d = fake_blk_new(1 << 20);
	struct partition_table t;
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK_EQ(t.scheme, PARTITION_NONE);
	CHECK_EQ(t.n, 1);
	CHECK_EQ(t.parts[0].number, 0);
	CHECK_EQ(t.parts[0].len, 1 << 20);
	put_le16(d->data + 510, 0xaa55);
	memset(d->data + 440, 0x77, 60); /* a boot sector's code */
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK_EQ(t.scheme, PARTITION_NONE);
	fake_blk_free(d);
	d = fake_blk_new(512);
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK_EQ(t.n, 0);
	fake_blk_free(d);
}

TEST(errors_of_reading_are_told)
{
	struct blk_node *d = gpt_disk();
	struct partition_table t;
	d->fail_at = 0;
	CHECK_EQ(partition_scan(d, &t), -EIO);
	d->fail_at = ENTRY0 + 600;
	CHECK_EQ(partition_scan(d, &t), -EIO);
	fake_blk_free(d);
}

static struct blk_node *sfdisk(const char *script)
{
	char path[] = "/tmp/charmvm-part-XXXXXX", cmd[512];
	if (system("command -v sfdisk >/dev/null"))
		SKIP("sfdisk is not installed (fdisk)");
	int fd = mkstemp(path);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, 64 << 20), 0);
	close(fd);
	snprintf(cmd, sizeof(cmd), "printf '%s' | sfdisk -q %s", script, path);
	CHECK_EQ(system(cmd), 0);
	struct blk_node *d = fake_blk_file(path);
	unlink(path);
	CHECK(d);
	return d;
}

TEST(gpt_of_sfdisk_is_read_as_linux_would)
{
	struct blk_node *d = sfdisk("label: gpt\\nsize=4M, type=U\\n"
				    "size=20M, type=bc13c2ff-59e6-4262-a352-b275fd6f7172\\n"
				    "type=4f68bce3-e8cd-4db1-96e7-fbcaf984b709, "
				    "uuid=01234567-89AB-CDEF-0123-456789ABCDEF\\n");
	struct partition_table t;
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK_EQ(t.n, 3);
	CHECK_EQ(t.parts[0].off, 1 << 20);
	CHECK_EQ(t.parts[0].len, 4 << 20);
	CHECK_STR(t.parts[1].type, PARTITION_TYPE_XBOOTLDR);
	CHECK_STR(t.parts[2].type, PARTITION_TYPE_ROOT_X86_64);
	CHECK_STR(t.parts[2].uuid, "01234567-89ab-cdef-0123-456789abcdef");
	fake_blk_free(d);
}

TEST(mbr_of_sfdisk_is_read_as_linux_would)
{
	struct blk_node *d =
		sfdisk("label: dos\\nlabel-id: 0x12ab34cd\\nsize=4M, type=83, bootable\\n"
		       "type=5\\nsize=8M, type=83\\nsize=8M, type=82\\ntype=83\\n");
	struct partition_table t;
	CHECK_EQ(partition_scan(d, &t), 0);
	CHECK_EQ(t.scheme, PARTITION_MBR);
	CHECK_EQ(t.n, 4);
	CHECK_STR(t.parts[0].uuid, "12ab34cd-01");
	CHECK_STR(t.parts[1].uuid, "12ab34cd-05");
	CHECK_EQ(t.parts[1].len, 8 << 20);
	CHECK_STR(t.parts[3].uuid, "12ab34cd-07");
	CHECK_EQ(t.parts[3].off + t.parts[3].len, 64 << 20);
	fake_blk_free(d);
}

TEST_MAIN(T(gpt_partitions_keep_their_numbers_and_uuids),
	  T(damaged_gpt_is_read_from_its_backup_and_a_lost_one_is_an_error),
	  T(gpt_with_giant_or_absurd_counts_is_not_believed),
	  T(partitions_outside_the_disk_are_cut_or_left_out), T(mbr_with_logical_partitions),
	  T(cyclic_logical_partitions_end),
	  T(disk_without_a_table_is_one_partition_and_a_tiny_one_is_none),
	  T(errors_of_reading_are_told), T(gpt_of_sfdisk_is_read_as_linux_would),
	  T(mbr_of_sfdisk_is_read_as_linux_would))
