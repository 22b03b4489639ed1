/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block node in memory, for the firmware's tests: it stands in for devices/block, and counts
 * requests. Link fake_blk.c and blk_pread() and friends are these.
 */
#ifndef TESTS_FAKE_BLK_H
#define TESTS_FAKE_BLK_H

#include <stddef.h>
#include <stdint.h>

struct blk_node {
	uint8_t *data;
	size_t len_bytes;
	unsigned int nreads;
	uint64_t bytes_read;
	uint64_t fail_at; /* reads that cover this offset give -EIO; UINT64_MAX: none */
};

/* A zeroed disk. */
struct blk_node *fake_blk_new(size_t len_bytes);
/* A copy of the host file @path, padded to sectors; NULL when it cannot be read. */
struct blk_node *fake_blk_file(const char *path);
void fake_blk_free(struct blk_node *n);

#endif
