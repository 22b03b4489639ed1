/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile disk: the input is its first sectors, and in front of them one byte with the size of the disk in
 * units of 32 KiB. Partition tables are read; checksums of a GPT are put right, so that the parser behind them is
 * reached. Whatever is returned lies inside the disk.
 */
#include <stdlib.h>
#include <zlib.h>

/* The disk is memory: the parser is compiled into this file with names of its own for the block layer. */
#define blk_size  fuzz_blk_size
#define blk_name  fuzz_blk_name
#define blk_pread fuzz_blk_pread
#include "firmware/partition.c"
#include "tests/unit/firmware/fake_blk.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void seal_gpt(struct blk_node *d, uint64_t lba)
{
	uint8_t *h = d->data + lba * 512;
	if (memcmp(h, "EFI PART", 8))
		return;
	uint64_t array = get_le64(h + 72), size = (uint64_t)get_le32(h + 80) * get_le32(h + 84);
	if (array < d->len_bytes / 512 && size <= d->len_bytes - array * 512)
		put_le32(h + 88, (uint32_t)crc32(0, d->data + array * 512, (uInt)size));
	uint32_t header = MIN(get_le32(h + 12), 512u);
	put_le32(h + 16, 0);
	put_le32(h + 16, (uint32_t)crc32(0, h, header));
}

static void check(const struct blk_node *d, const struct partition_table *t)
{
	if (t->n > PARTITIONS_MAX)
		abort();
	for (unsigned int i = 0; i < t->n; i++) {
		const struct partition *p = &t->parts[i];
		if (!p->len || !ck_range(p->off, p->len, d->len_bytes))
			abort();
		if (strlen(p->uuid) >= PARTITION_UUID_CHARS ||
		    strlen(p->type) >= PARTITION_UUID_CHARS)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct partition_table t;
	if (!len)
		return 0;
	struct blk_node *d = fake_blk_new((size_t)data[0] * 32768);
	memcpy(d->data, data + 1, MIN(len - 1, d->len_bytes));
	if (d->len_bytes) {
		seal_gpt(d, 1);
		seal_gpt(d, d->len_bytes / 512 - 1);
	}
	if (!partition_scan(d, &t))
		check(d, &t);
	fake_blk_free(d);
	return 0;
}
