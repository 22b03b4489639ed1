/* SPDX-License-Identifier: Apache-2.0 */
/* The bounded byte queue. */
#include "devices/chardev/ring.h"

#include "tests/unit/test.h"

static uint8_t room[16];

static void fill(struct ring *r, const char *text)
{
	CHECK_EQ(ring_push(r, (const uint8_t *)text, strlen(text)), strlen(text));
}

TEST(bytes_come_out_in_order_over_the_edge)
{
	struct ring r;
	uint8_t out[16];
	ring_init(&r, room, sizeof(room));
	fill(&r, "abcdefghijkl");
	ring_drop(&r, 10);
	fill(&r, "mnopqrstuv");
	CHECK_EQ(ring_used(&r), 12);
	CHECK_EQ(ring_copy(&r, out, sizeof(out)), 12);
	CHECK(!memcmp(out, "klmnopqrstuv", 12));
	for (const char *p = "klmnopqrstuv"; *p; p++)
		CHECK_EQ(ring_pop(&r), *p);
	CHECK_EQ(ring_used(&r), 0);
}

TEST(full_ring_takes_what_fits)
{
	struct ring r;
	ring_init(&r, room, sizeof(room));
	fill(&r, "0123456789");
	CHECK_EQ(ring_push(&r, (const uint8_t *)"abcdefghij", 10), 6);
	CHECK_EQ(ring_room(&r), 0);
	CHECK_EQ(ring_push(&r, (const uint8_t *)"x", 1), 0);
}

TEST(front_is_one_stretch)
{
	struct ring r;
	uint32_t len;
	ring_init(&r, room, sizeof(room));
	fill(&r, "0123456789abcd");
	ring_drop(&r, 12);
	fill(&r, "efgh");
	CHECK(!memcmp(ring_front(&r, &len), "cdef", 4));
	CHECK_EQ(len, 4);
	ring_drop(&r, 4);
	CHECK(!memcmp(ring_front(&r, &len), "gh", 2));
	CHECK_EQ(len, 2);
}

TEST(emptied_ring_starts_over)
{
	struct ring r;
	ring_init(&r, room, sizeof(room));
	fill(&r, "0123456789");
	ring_drop(&r, 10);
	CHECK_EQ(r.tail, 0);
}

TEST(copy_is_limited_and_leaves_the_bytes)
{
	struct ring r;
	uint8_t out[4];
	ring_init(&r, room, sizeof(room));
	fill(&r, "0123456789");
	CHECK_EQ(ring_copy(&r, out, 4), 4);
	CHECK(!memcmp(out, "0123", 4));
	CHECK_EQ(ring_used(&r), 10);
}

TEST_MAIN(T(bytes_come_out_in_order_over_the_edge), T(full_ring_takes_what_fits),
	  T(front_is_one_stretch), T(emptied_ring_starts_over),
	  T(copy_is_limited_and_leaves_the_bytes))
