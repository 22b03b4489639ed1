/* SPDX-License-Identifier: Apache-2.0 */
/* A block node in memory. */
#include "tests/unit/firmware/fake_blk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/block.h"
#include "vmm/base/checked.h"

struct blk_node *fake_blk_new(size_t len_bytes)
{
	struct blk_node *n = calloc(1, sizeof(*n));
	assert(n && len_bytes % BLK_SECTOR_BYTES == 0);
	n->data = calloc(1, len_bytes ? len_bytes : 1);
	assert(n->data);
	n->len_bytes = len_bytes;
	n->fail_at = UINT64_MAX;
	return n;
}

struct blk_node *fake_blk_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return NULL;
	fseek(f, 0, SEEK_END);
	size_t len = (size_t)ftell(f);
	rewind(f);
	struct blk_node *n = fake_blk_new(align_up(len, BLK_SECTOR_BYTES));
	size_t got = fread(n->data, 1, len, f);
	assert(got == len);
	(void)got;
	fclose(f);
	return n;
}

void fake_blk_free(struct blk_node *n)
{
	free(n->data);
	free(n);
}

uint64_t blk_size(const struct blk_node *n)
{
	return n->len_bytes;
}

const char *blk_name(const struct blk_node *n)
{
	(void)n;
	return "fake.img";
}

/* As strict as the real one: whole sectors inside the node. */
int blk_pread(struct blk_node *n, void *buf, size_t len_bytes, uint64_t off)
{
	if (off % BLK_SECTOR_BYTES || len_bytes % BLK_SECTOR_BYTES ||
	    !ck_range(off, len_bytes, n->len_bytes))
		return -EINVAL;
	if (n->fail_at >= off && n->fail_at - off < len_bytes)
		return -EIO;
	memcpy(buf, n->data + off, len_bytes);
	n->nreads++;
	n->bytes_read += len_bytes;
	return 0;
}
