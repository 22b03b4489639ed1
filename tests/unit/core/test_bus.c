/* SPDX-License-Identifier: Apache-2.0 */
/* Address to handler. */
#include "vmm/core/bus.h"

#include <errno.h>

#include "tests/unit/test.h"

struct chip {
	struct bus_range range;
	pthread_mutex_t lock;
	uint64_t off, value;
	unsigned int size, reads, writes;
	bool was_locked;
};

static uint64_t chip_read(void *opaque, uint64_t off, unsigned int size)
{
	struct chip *c = opaque;
	c->off = off;
	c->size = size;
	c->reads++;
	c->was_locked = pthread_mutex_trylock(&c->lock) != 0;
	return UINT64_C(0x1122334455667788);
}

static void chip_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct chip *c = opaque;
	c->off = off;
	c->size = size;
	c->value = value;
	c->writes++;
}

static void plug(struct bus *b, struct chip *c, uint64_t base, uint64_t len)
{
	memset(c, 0, sizeof(*c));
	pthread_mutex_init(&c->lock, NULL);
	c->range = (struct bus_range){ .base = base,
				       .len_bytes = len,
				       .lock = &c->lock,
				       .read = chip_read,
				       .write = chip_write,
				       .opaque = c };
	CHECK_EQ(bus_map(b, &c->range), 0);
}

TEST(access_reaches_the_range_with_its_offset_size_and_lock)
{
	struct bus *b;
	struct chip c;
	uint64_t v;
	CHECK_EQ(bus_create(&b), 0);
	plug(b, &c, 0x100, 16);
	CHECK(bus_read(b, 0x108, 2, &v));
	CHECK_EQ(c.off, 8);
	CHECK_EQ(c.size, 2);
	CHECK_EQ(v, 0x7788); /* cut to the size */
	CHECK(c.was_locked);
	CHECK(bus_write(b, 0x10c, 4, 7));
	CHECK_EQ(c.value, 7);
	bus_destroy(b);
}

TEST(empty_place_reads_all_ones)
{
	struct bus *b;
	uint64_t v;
	CHECK_EQ(bus_create(&b), 0);
	CHECK(!bus_read(b, 0x80, 2, &v));
	CHECK_EQ(v, 0xffff);
	CHECK(!bus_read(b, 0x80, 8, &v));
	CHECK(v == UINT64_MAX);
	CHECK(!bus_write(b, 0x80, 1, 0));
	bus_destroy(b);
}

TEST(access_that_sticks_out_of_its_range_is_nobodys)
{
	struct bus *b;
	struct chip c;
	uint64_t v;
	CHECK_EQ(bus_create(&b), 0);
	plug(b, &c, 0x100, 16);
	CHECK(!bus_read(b, 0x10e, 4, &v));
	CHECK(!bus_read(b, 0xff, 2, &v));
	CHECK_EQ(c.reads, 0);
	bus_destroy(b);
}

TEST(overlap_and_nonsense_are_refused)
{
	struct bus *b;
	struct chip c;
	struct bus_range over = { .base = 0x10f, .len_bytes = 1 },
			 wrap = { .base = UINT64_MAX, .len_bytes = 2 };
	struct bus_range beside = { .base = 0x110, .len_bytes = 1 };
	CHECK_EQ(bus_create(&b), 0);
	plug(b, &c, 0x100, 16);
	CHECK_EQ(bus_map(b, &over), -EEXIST);
	CHECK_EQ(bus_map(b, &wrap), -EINVAL);
	CHECK_EQ(bus_map(b, &beside), 0);
	bus_destroy(b);
}

TEST(unmapped_range_is_not_called)
{
	struct bus *b;
	struct chip c;
	CHECK_EQ(bus_create(&b), 0);
	plug(b, &c, 0x100, 16);
	bus_unmap(b, &c.range);
	bus_unmap(b, &c.range);
	CHECK(!bus_write(b, 0x100, 1, 1));
	CHECK_EQ(c.writes, 0);
	bus_destroy(b);
}

TEST_MAIN(T(access_reaches_the_range_with_its_offset_size_and_lock), T(empty_place_reads_all_ones),
	  T(access_that_sticks_out_of_its_range_is_nobodys), T(overlap_and_nonsense_are_refused),
	  T(unmapped_range_is_not_called))
