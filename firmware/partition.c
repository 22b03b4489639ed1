/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading partition tables, with 512-byte sectors, which is what the guest sees.
 *
 * Limits: a GPT's entry array of at most GPT_ARRAY_BYTES_MAX, PARTITIONS_MAX partitions in use, and
 * a chain of logical partitions that is given up after PARTITIONS_MAX links, so that a cycle ends
 * too. A partition that reaches over the end of the disk is cut there; one that starts there is
 * left out.
 */
#include "firmware/partition.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "devices/block/block.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	SECTOR = BLK_SECTOR_BYTES,

	MBR_DISK_ID = 440,
	MBR_ENTRIES = 446,
	MBR_ENTRY_BYTES = 16,
	MBR_NENTRIES = 4,
	MBR_SIGNATURE = 510,
	MBR_MAGIC = 0xaa55,
	MBR_TYPE_GPT = 0xee,
	MBR_LOGICAL_FIRST = 5,

	GPT_HEADER_BYTES_MIN = 92,
	GPT_ENTRY_BYTES_MIN = 128,
	GPT_ARRAY_BYTES_MAX = 1 << 20,
	GUID_BYTES = 16,
};

struct mbr_entry {
	uint8_t status;
	uint8_t type;
	uint32_t first;
	uint32_t nsectors;
};

static bool is_extended(uint8_t type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static struct mbr_entry mbr_entry(const uint8_t sector[SECTOR], unsigned int i)
{
	const uint8_t *p = sector + MBR_ENTRIES + i * MBR_ENTRY_BYTES;
	return (struct mbr_entry){ p[0], p[4], get_le32(p + 8), get_le32(p + 12) };
}

/* A boot sector of a file system ends with the same signature, but has code where the entries would
 * be. */
static bool is_mbr(const uint8_t sector[SECTOR])
{
	if (get_le16(sector + MBR_SIGNATURE) != MBR_MAGIC)
		return false;
	for (unsigned int i = 0; i < MBR_NENTRIES; i++)
		if (mbr_entry(sector, i).status & 0x7f)
			return false;
	return true;
}

/* The next free entry for [first, first+n) in sectors, cut at the disk's end; NULL: nothing to
 * keep. */
static struct partition *add(struct partition_table *t, const struct blk_node *disk,
			     unsigned int number, uint64_t first, uint64_t nsectors)
{
	uint64_t disk_sectors = blk_size(disk) / SECTOR;
	if (t->n == PARTITIONS_MAX || !first || first >= disk_sectors || !nsectors)
		return NULL;
	struct partition *p = &t->parts[t->n++];
	*p = (struct partition){
		.number = number,
		.off = first * SECTOR,
		.len = MIN(nsectors, disk_sectors - first) * SECTOR,
	};
	return p;
}

static void add_mbr(struct partition_table *t, const struct blk_node *disk, unsigned int number,
		    uint32_t disk_id, struct mbr_entry e, uint64_t base)
{
	struct partition *p = add(t, disk, number, base + e.first, e.nsectors);
	if (!p)
		return;
	snprintf(p->type, sizeof(p->type), "%02x", e.type);
	snprintf(p->uuid, sizeof(p->uuid), "%08x-%02x", disk_id, number);
}

/*
 * Logical partitions: each link of the chain is a sector with two entries, the partition (relative
 * to the link) and the next link (relative to the extended partition).
 */
static int scan_logical(struct blk_node *disk, struct partition_table *t, uint32_t disk_id,
			uint32_t extended)
{
	uint64_t link = extended;
	for (unsigned int i = 0; i < PARTITIONS_MAX; i++) {
		uint8_t sector[SECTOR];
		if (link >= blk_size(disk) / SECTOR)
			return 0;
		int err = blk_pread(disk, sector, SECTOR, link * SECTOR);
		if (err)
			return err;
		if (get_le16(sector + MBR_SIGNATURE) != MBR_MAGIC)
			return 0;
		struct mbr_entry part = mbr_entry(sector, 0), next = mbr_entry(sector, 1);
		if (part.type && !is_extended(part.type))
			add_mbr(t, disk, MBR_LOGICAL_FIRST + i, disk_id, part, link);
		if (!is_extended(next.type) || !next.first)
			return 0;
		link = (uint64_t)extended + next.first;
	}
	t->endless = true;
	return 0;
}

static int scan_mbr(struct blk_node *disk, struct partition_table *t, const uint8_t sector[SECTOR])
{
	uint32_t disk_id = get_le32(sector + MBR_DISK_ID);
	t->scheme = PARTITION_MBR;
	for (unsigned int i = 0; i < MBR_NENTRIES; i++) {
		struct mbr_entry e = mbr_entry(sector, i);
		if (e.type && !is_extended(e.type))
			add_mbr(t, disk, i + 1, disk_id, e, 0);
	}
	for (unsigned int i = 0; i < MBR_NENTRIES; i++) {
		struct mbr_entry e = mbr_entry(sector, i);
		if (is_extended(e.type) && e.first)
			return scan_logical(disk, t, disk_id, e.first);
	}
	return 0;
}

/* The first three fields are little-endian on the disk (UEFI 2.10, appendix A). */
static void format_guid(char out[PARTITION_UUID_CHARS], const uint8_t g[GUID_BYTES])
{
	snprintf(out, PARTITION_UUID_CHARS, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 get_le32(g), get_le16(g + 4), get_le16(g + 6), g[8], g[9], g[10], g[11], g[12],
		 g[13], g[14], g[15]);
}

static uint32_t crc(const void *p, size_t len_bytes)
{
	return (uint32_t)crc32(0, p, (uInt)len_bytes);
}

static bool gpt_header_ok(uint8_t h[SECTOR], uint64_t lba)
{
	uint32_t header_bytes = get_le32(h + 12), sum = get_le32(h + 16);
	if (memcmp(h, "EFI PART", 8) || header_bytes < GPT_HEADER_BYTES_MIN ||
	    header_bytes > SECTOR)
		return false;
	put_le32(h + 16, 0);
	return crc(h, header_bytes) == sum && get_le64(h + 24) == lba;
}

static void add_gpt(struct partition_table *t, const struct blk_node *disk, unsigned int number,
		    const uint8_t *e)
{
	static const uint8_t unused[GUID_BYTES];
	uint64_t first = get_le64(e + 32), last = get_le64(e + 40);
	if (!memcmp(e, unused, GUID_BYTES) || last < first || last == UINT64_MAX)
		return;
	struct partition *p = add(t, disk, number, first, last - first + 1);
	if (!p)
		return;
	format_guid(p->type, e);
	format_guid(p->uuid, e + GUID_BYTES);
}

/* -> 0, -EINVAL (no sound GPT here), or an error of reading. */
static int scan_gpt(struct blk_node *disk, struct partition_table *t, uint64_t lba)
{
	uint8_t h[SECTOR];
	int err = blk_pread(disk, h, SECTOR, lba * SECTOR);
	if (err)
		return err;
	if (!gpt_header_ok(h, lba))
		return -EINVAL;
	uint64_t array_lba = get_le64(h + 72), array_off;
	uint32_t nentries = get_le32(h + 80), entry_bytes = get_le32(h + 84);
	uint64_t array_bytes = (uint64_t)nentries * entry_bytes;
	uint64_t read_bytes = align_up(array_bytes, SECTOR);
	if (entry_bytes < GPT_ENTRY_BYTES_MIN || !array_bytes ||
	    array_bytes > GPT_ARRAY_BYTES_MAX || !ck_mul(array_lba, (uint64_t)SECTOR, &array_off) ||
	    !ck_range(array_off, read_bytes, blk_size(disk)))
		return -EINVAL;
	uint8_t *array = malloc(read_bytes);
	if (!array)
		return -ENOMEM;
	err = blk_pread(disk, array, read_bytes, array_off);
	if (!err && crc(array, array_bytes) != get_le32(h + 88))
		err = -EINVAL;
	for (uint32_t i = 0; !err && i < nentries; i++)
		add_gpt(t, disk, i + 1, array + (size_t)i * entry_bytes);
	free(array);
	return err;
}

static int scan_gpt_or_backup(struct blk_node *disk, struct partition_table *t)
{
	t->scheme = PARTITION_GPT;
	int err = scan_gpt(disk, t, 1);
	if (err != -EINVAL)
		return err;
	t->from_backup = true;
	return scan_gpt(disk, t, blk_size(disk) / SECTOR - 1);
}

static bool has_gpt_entry(const uint8_t sector[SECTOR])
{
	for (unsigned int i = 0; i < MBR_NENTRIES; i++)
		if (mbr_entry(sector, i).type == MBR_TYPE_GPT)
			return true;
	return false;
}

int partition_scan(struct blk_node *disk, struct partition_table *out)
{
	uint8_t sector[SECTOR];
	*out = (struct partition_table){ .scheme = PARTITION_NONE };
	if (blk_size(disk) < 2 * SECTOR)
		return 0;
	int err = blk_pread(disk, sector, SECTOR, 0);
	if (err)
		return err;
	if (is_mbr(sector) && has_gpt_entry(sector))
		return scan_gpt_or_backup(disk, out);
	if (is_mbr(sector))
		err = scan_mbr(disk, out, sector);
	if (err || out->n)
		return err;
	/* An MBR without a partition is a file system's boot sector as well as anything. */
	*out = (struct partition_table){
		.scheme = PARTITION_NONE,
		.n = 1,
		.parts[0] = { .number = 0, .off = 0, .len = blk_size(disk) },
	};
	return 0;
}

const char *partition_scheme_name(enum partition_scheme scheme)
{
	switch (scheme) {
	case PARTITION_NONE: return "no partition table";
	case PARTITION_MBR: return "MBR";
	case PARTITION_GPT: return "GPT";
	}
	return "";
}
