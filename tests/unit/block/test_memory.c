/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in memory: read, and nothing else. */
#include "devices/block/memory.h"

#include <errno.h>

#include "devices/block/node.h"
#include "tests/unit/block/scratch.h"

enum { BYTES = 4096 };

static struct blk_node *disk(void)
{
	struct blk_node *n;
	uint8_t *data = malloc(BYTES);
	CHECK(data);
	for (size_t i = 0; i < BYTES; i++)
		data[i] = (uint8_t)(i / 512 + i);
	CHECK_EQ(blk_memory(the_loop(), "a disk", data, BYTES, &n), 0);
	return n;
}

TEST(memory_is_read_at_its_place)
{
	struct blk_node *n = disk();
	uint8_t buf[1024];
	CHECK_EQ(blk_pread(n, buf, sizeof(buf), 1536), 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		CHECK_EQ(buf[i], (uint8_t)((1536 + i) / 512 + i));
	CHECK_EQ(blk_size(n), BYTES);
	CHECK_EQ(blk_close(n), 0);
}

TEST(memory_is_never_written)
{
	struct blk_node *n = disk();
	uint8_t buf[512] = { 1 };
	CHECK(blk_read_only(n));
	CHECK_EQ(blk_pwrite(n, buf, sizeof(buf), 0), -EROFS);
	CHECK_EQ(blk_flush(n), 0);
	CHECK_EQ(blk_pread(n, buf, sizeof(buf), 0), 0);
	CHECK_EQ(buf[0], 0);
	CHECK_EQ(blk_close(n), 0);
}

TEST(memory_ends_where_it_ends)
{
	struct blk_node *n = disk();
	uint8_t buf[1024];
	CHECK_EQ(blk_pread(n, buf, 1024, BYTES - 512), -EINVAL);
	CHECK_EQ(blk_pread(n, buf, 512, BYTES), -EINVAL);
	CHECK_EQ(blk_pread(n, buf, 512, BYTES - 512), 0);
	CHECK_EQ(blk_close(n), 0);
}

TEST(memory_of_odd_length_is_refused)
{
	struct blk_node *n;
	uint8_t data[513];
	CHECK_EQ(blk_memory(the_loop(), "a disk", data, 513, &n), -EINVAL);
	CHECK_EQ(blk_memory(the_loop(), "a disk", data, 0, &n), -EINVAL);
}

TEST_MAIN(T(memory_is_read_at_its_place), T(memory_is_never_written), T(memory_ends_where_it_ends),
	  T(memory_of_odd_length_is_refused))
