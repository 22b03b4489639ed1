/* SPDX-License-Identifier: Apache-2.0 */
/* Rings, alone: what a correct driver gets and what breaks the queue. */
#include "devices/virtio/virtqueue.h"

#include <errno.h>

#include <linux/virtio_ring.h>

#include "tests/unit/test.h"

enum { RAM = 1 << 20, HIGH_RAM = 1 << 16, SIZE = 8, DESC = 0x1000, AVAIL = 0x2000, USED = 0x3000 };
enum { BUF = 0x8000, TABLE = 0x4000 };
#define HIGH_GPA UINT64_C(0x100000000)

struct rig {
	uint8_t *ram;
	struct guestmem mem;
	struct virtqueue vq;
	struct vring_desc *desc;
	uint16_t *avail, *used;
	struct iovec iov[VQ_IOV_MAX];
	struct vq_chain c;
};

static void setup(struct rig *r, bool event_idx, bool indirect)
{
	memset(r, 0, sizeof(*r));
	r->ram = aligned_alloc(4096, RAM + HIGH_RAM);
	memset(r->ram, 0, RAM + HIGH_RAM);
	CHECK_EQ(guestmem_add(&r->mem, 0, RAM, r->ram), 0);
	CHECK_EQ(guestmem_add(&r->mem, HIGH_GPA, HIGH_RAM, r->ram + RAM), 0);
	vq_init(&r->vq, &r->mem, SIZE);
	r->vq.desc_gpa = DESC;
	r->vq.avail_gpa = AVAIL;
	r->vq.used_gpa = USED;
	CHECK_EQ(vq_enable(&r->vq, event_idx, indirect), 0);
	r->desc = (struct vring_desc *)(r->ram + DESC);
	r->avail = (uint16_t *)(r->ram + AVAIL);
	r->used = (uint16_t *)(r->ram + USED);
	r->c = (struct vq_chain){ .iov = r->iov, .iov_max = VQ_IOV_MAX };
}

static void teardown(struct rig *r)
{
	free(r->ram);
}

static void set_desc(struct rig *r, unsigned int i, uint64_t gpa, uint32_t len, uint16_t flags,
		     uint16_t next)
{
	r->desc[i] = (struct vring_desc){ .addr = gpa, .len = len, .flags = flags, .next = next };
}

static void offer(struct rig *r, uint16_t head)
{
	r->avail[2 + r->avail[1] % SIZE] = head;
	r->avail[1]++;
}

/* Offers descriptor 0 and expects the queue to break. */
static void breaks(struct rig *r)
{
	offer(r, 0);
	CHECK_EQ(vq_pop(&r->vq, &r->c), -EPROTO);
	CHECK(r->vq.broken);
	CHECK_EQ(vq_pop(&r->vq, &r->c), 0);
	teardown(r);
}

TEST(chain_is_split_into_readable_and_writable)
{
	struct rig r;
	setup(&r, true, true);
	set_desc(&r, 3, BUF, 16, VRING_DESC_F_NEXT, 5);
	set_desc(&r, 5, BUF + 0x1000, 512, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1);
	set_desc(&r, 1, HIGH_GPA, 1, VRING_DESC_F_WRITE, 0);
	offer(&r, 3);
	CHECK_EQ(vq_pop(&r.vq, &r.c), 1);
	CHECK_EQ(r.c.head, 3);
	CHECK_EQ(r.c.nout, 1);
	CHECK_EQ(r.c.nin, 2);
	CHECK_EQ(r.c.out_bytes, 16);
	CHECK_EQ(r.c.in_bytes, 513);
	CHECK(r.iov[0].iov_base == r.ram + BUF);
	CHECK(r.iov[2].iov_base == r.ram + RAM);
	CHECK_EQ(vq_pop(&r.vq, &r.c), 0);
	teardown(&r);
}

TEST(indices_wrap_at_65536)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 0, BUF, 4, VRING_DESC_F_WRITE, 0);
	for (unsigned int i = 0; i < 70000; i++) {
		offer(&r, 0);
		CHECK_EQ(vq_pop(&r.vq, &r.c), 1);
		vq_push(&r.vq, r.c.head, i);
		vq_publish(&r.vq);
		CHECK_EQ(r.used[1], (uint16_t)(i + 1));
	}
	CHECK(!r.vq.broken);
	teardown(&r);
}

TEST(pushed_chains_show_only_when_published)
{
	struct rig r;
	setup(&r, false, false);
	set_desc(&r, 0, BUF, 4, VRING_DESC_F_WRITE, 0);
	offer(&r, 0);
	offer(&r, 0);
	CHECK_EQ(vq_pop(&r.vq, &r.c), 1);
	vq_push(&r.vq, 0, 4);
	CHECK_EQ(vq_pop(&r.vq, &r.c), 1);
	vq_push(&r.vq, 0, 3);
	CHECK_EQ(r.used[1], 0);
	CHECK(vq_publish(&r.vq));
	CHECK_EQ(r.used[1], 2);
	CHECK_EQ(r.used[2 + 4 + 2], 3); /* len of the second element */
	CHECK(!vq_publish(&r.vq));
	teardown(&r);
}

TEST(unpopped_chain_is_popped_again)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 2, BUF, 4, 0, 0);
	offer(&r, 2);
	CHECK_EQ(vq_pop(&r.vq, &r.c), 1);
	vq_unpop(&r.vq, 1);
	CHECK_EQ(r.vq.in_use, 0);
	CHECK_EQ(vq_pop(&r.vq, &r.c), 1);
	CHECK_EQ(r.c.head, 2);
	teardown(&r);
}

TEST(indirect_table_is_walked_at_any_alignment)
{
	struct rig r;
	setup(&r, true, true);
	struct vring_desc d[2] = {
		{ .addr = BUF, .len = 16, .flags = VRING_DESC_F_NEXT, .next = 1 },
		{ .addr = BUF + 64, .len = 32, .flags = VRING_DESC_F_WRITE },
	};
	memcpy(r.ram + TABLE + 3, d, sizeof(d));
	set_desc(&r, 0, TABLE + 3, sizeof(d), VRING_DESC_F_INDIRECT, 0);
	offer(&r, 0);
	CHECK_EQ(vq_pop(&r.vq, &r.c), 1);
	CHECK_EQ(r.c.out_bytes, 16);
	CHECK_EQ(r.c.in_bytes, 32);
	teardown(&r);
}

TEST(direct_descriptors_may_precede_an_indirect_one)
{
	struct rig r;
	setup(&r, true, true);
	struct vring_desc d = { .addr = BUF + 64, .len = 32, .flags = VRING_DESC_F_WRITE };
	memcpy(r.ram + TABLE, &d, sizeof(d));
	set_desc(&r, 0, BUF, 16, VRING_DESC_F_NEXT, 4);
	set_desc(&r, 4, TABLE, sizeof(d), VRING_DESC_F_INDIRECT, 0);
	offer(&r, 0);
	CHECK_EQ(vq_pop(&r.vq, &r.c), 1);
	CHECK_EQ(r.c.nout + r.c.nin, 2);
	teardown(&r);
}

/* ---- what breaks it ---- */

TEST(avail_index_too_far_ahead_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 0, BUF, 4, 0, 0);
	r.avail[1] = SIZE; /* breaks() adds one more */
	breaks(&r);
}

TEST(head_beyond_the_queue_breaks_it)
{
	struct rig r;
	setup(&r, true, false);
	offer(&r, SIZE);
	CHECK_EQ(vq_pop(&r.vq, &r.c), -EPROTO);
	teardown(&r);
}

TEST(next_beyond_the_queue_breaks_it)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 0, BUF, 4, VRING_DESC_F_NEXT, SIZE);
	breaks(&r);
}

TEST(chain_that_loops_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 0, BUF, 4, VRING_DESC_F_NEXT, 1);
	set_desc(&r, 1, BUF, 4, VRING_DESC_F_NEXT, 0);
	breaks(&r);
}

TEST(indirect_table_that_loops_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, true);
	struct vring_desc d = { .addr = BUF, .len = 16, .flags = VRING_DESC_F_NEXT, .next = 0 };
	memcpy(r.ram + TABLE, &d, sizeof(d));
	set_desc(&r, 0, TABLE, sizeof(d), VRING_DESC_F_INDIRECT, 0);
	breaks(&r);
}

TEST(buffer_outside_ram_breaks_the_queue)
{
	static const struct {
		uint64_t gpa;
		uint32_t len;
	} bad[] = {
		{ RAM, 1 },
		{ RAM - 1, 2 },
		{ UINT64_C(0xe0000000), 4 },
		{ UINT64_MAX, 2 },
		{ UINT64_MAX, 1 },
		{ HIGH_GPA - 1, 1 },
		{ HIGH_GPA, HIGH_RAM + 1 },
		{ BUF, UINT32_MAX },
	};
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig r;
		setup(&r, true, false);
		set_desc(&r, 0, bad[i].gpa, bad[i].len, 0, 0);
		breaks(&r);
	}
}

TEST(empty_buffer_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 0, BUF, 0, 0, 0);
	breaks(&r);
}

TEST(readable_behind_writable_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 0, BUF, 4, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	set_desc(&r, 1, BUF, 4, 0, 0);
	breaks(&r);
}

/* A table at @gpa with one good buffer in it. */
static void good_table(struct rig *r, uint64_t gpa)
{
	struct vring_desc d = { .addr = BUF, .len = 16 };
	memcpy(r->ram + gpa, &d, sizeof(d));
}

TEST(indirect_without_the_feature_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, false);
	good_table(&r, TABLE);
	set_desc(&r, 0, TABLE, 16, VRING_DESC_F_INDIRECT, 0);
	breaks(&r);
}

TEST(indirect_inside_indirect_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, true);
	struct vring_desc d = { .addr = TABLE + 64, .len = 16, .flags = VRING_DESC_F_INDIRECT };
	memcpy(r.ram + TABLE, &d, sizeof(d));
	good_table(&r, TABLE + 64);
	set_desc(&r, 0, TABLE, sizeof(d), VRING_DESC_F_INDIRECT, 0);
	breaks(&r);
}

TEST(indirect_with_a_successor_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, true);
	good_table(&r, TABLE);
	set_desc(&r, 0, TABLE, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1);
	set_desc(&r, 1, BUF, 4, 0, 0);
	breaks(&r);
}

TEST(indirect_table_of_a_bad_length_breaks_the_queue)
{
	static const uint32_t bad[] = { 0, 1, 15, 17, 16 * (SIZE + 1), UINT32_MAX & ~15u };
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig r;
		setup(&r, true, true);
		set_desc(&r, 0, TABLE, bad[i], VRING_DESC_F_INDIRECT, 0);
		breaks(&r);
	}
}

TEST(indirect_table_outside_ram_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, true);
	set_desc(&r, 0, RAM - 8, 16, VRING_DESC_F_INDIRECT, 0);
	breaks(&r);
}

TEST(more_chains_in_flight_than_the_queue_has_break_it)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 0, BUF, 4, 0, 0);
	for (unsigned int i = 0; i < SIZE; i++) {
		offer(&r, 0);
		CHECK_EQ(vq_pop(&r.vq, &r.c), 1);
	}
	breaks(&r);
}

TEST(chain_of_more_ranges_than_the_caller_takes_breaks_the_queue)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 0, BUF, 4, VRING_DESC_F_NEXT, 1);
	set_desc(&r, 1, BUF, 4, 0, 0);
	r.c.iov_max = 1;
	breaks(&r);
}

TEST(rings_that_are_misaligned_or_outside_ram_are_refused)
{
	static const uint64_t bad[][3] = {
		{ DESC + 8, AVAIL, USED },	 { DESC, AVAIL + 1, USED },
		{ DESC, AVAIL, USED + 2 },	 { RAM - 16, AVAIL, USED },
		{ DESC, RAM - 2, USED },	 { DESC, AVAIL, RAM - 4 },
		{ DESC, AVAIL, UINT64_MAX - 3 }, { UINT64_MAX - 15, AVAIL, USED },
	};
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rig r;
		setup(&r, true, false);
		vq_reset(&r.vq);
		r.vq.desc_gpa = bad[i][0];
		r.vq.avail_gpa = bad[i][1];
		r.vq.used_gpa = bad[i][2];
		CHECK_EQ(vq_enable(&r.vq, true, false), -EINVAL);
		CHECK(r.vq.broken);
		CHECK_EQ(vq_pop(&r.vq, &r.c), 0);
		teardown(&r);
	}
}

/* ---- interrupts and kicks ---- */

static bool push_one(struct rig *r)
{
	offer(r, 0);
	if (vq_pop(&r->vq, &r->c) != 1)
		return false;
	vq_push(&r->vq, 0, 0);
	return vq_publish(&r->vq);
}

TEST(interrupt_flag_is_honoured)
{
	struct rig r;
	setup(&r, false, false);
	set_desc(&r, 0, BUF, 4, 0, 0);
	CHECK(push_one(&r));
	r.avail[0] = VRING_AVAIL_F_NO_INTERRUPT;
	CHECK(!push_one(&r));
	teardown(&r);
}

TEST(used_event_is_honoured)
{
	struct rig r;
	setup(&r, true, false);
	set_desc(&r, 0, BUF, 4, 0, 0);
	push_one(&r); /* the first one may always interrupt */
	r.avail[2 + SIZE] = 2;
	CHECK(!push_one(&r)); /* used.idx 2: the event is at 2 -> 3 */
	CHECK(push_one(&r));
	CHECK(!push_one(&r));
	teardown(&r);
}

TEST(kicks_off_silences_a_driver_however_far_it_goes)
{
	struct rig r;
	setup(&r, true, false);
	uint16_t *avail_event = &r.used[2 + 4 * SIZE];
	vq_kicks_off(&r.vq);
	for (uint16_t n = 1; n <= SIZE; n++)
		CHECK(!vring_need_event(*avail_event, n, 0));
	CHECK(!vq_kicks_on(&r.vq));
	CHECK(vring_need_event(*avail_event, 1, 0));
	teardown(&r);
}

TEST(kicks_on_tells_of_chains_that_came_in_meanwhile)
{
	for (int event_idx = 0; event_idx < 2; event_idx++) {
		struct rig r;
		setup(&r, event_idx, false);
		set_desc(&r, 0, BUF, 4, 0, 0);
		vq_kicks_off(&r.vq);
		CHECK_EQ(r.used[0], event_idx ? 0 : VRING_USED_F_NO_NOTIFY);
		CHECK(!vq_kicks_on(&r.vq));
		CHECK_EQ(r.used[0], 0);
		vq_kicks_off(&r.vq);
		offer(&r, 0);
		CHECK(vq_kicks_on(&r.vq));
		teardown(&r);
	}
}

/* ---- iovecs ---- */

TEST(iov_copies_cross_ranges_and_stop_at_the_end)
{
	char a[3] = "abc", b[4] = "defg", out[16] = "";
	struct iovec iov[2] = { { a, 3 }, { b, 4 } };
	CHECK_EQ(iov_get(iov, 2, 2, out, sizeof(out)), 5);
	CHECK(!memcmp(out, "cdefg", 5));
	CHECK_EQ(iov_put(iov, 2, 1, "XYZ", 3), 3);
	CHECK(!memcmp(a, "aXY", 3) && !memcmp(b, "Zefg", 4));
	CHECK_EQ(iov_get(iov, 2, 7, out, 1), 0);
	struct iovec *p = iov;
	unsigned int n = 2;
	iov_skip(&p, &n, 4);
	CHECK_EQ(n, 1);
	CHECK_EQ(p->iov_len, 3);
	CHECK(p->iov_base == b + 1);
	iov_skip(&p, &n, 100);
	CHECK_EQ(n, 0);
}

TEST_MAIN(T(chain_is_split_into_readable_and_writable), T(indices_wrap_at_65536),
	  T(pushed_chains_show_only_when_published), T(unpopped_chain_is_popped_again),
	  T(indirect_table_is_walked_at_any_alignment),
	  T(direct_descriptors_may_precede_an_indirect_one),
	  T(avail_index_too_far_ahead_breaks_the_queue), T(head_beyond_the_queue_breaks_it),
	  T(next_beyond_the_queue_breaks_it), T(chain_that_loops_breaks_the_queue),
	  T(indirect_table_that_loops_breaks_the_queue), T(buffer_outside_ram_breaks_the_queue),
	  T(empty_buffer_breaks_the_queue), T(readable_behind_writable_breaks_the_queue),
	  T(indirect_without_the_feature_breaks_the_queue),
	  T(indirect_inside_indirect_breaks_the_queue),
	  T(indirect_with_a_successor_breaks_the_queue),
	  T(indirect_table_of_a_bad_length_breaks_the_queue),
	  T(indirect_table_outside_ram_breaks_the_queue),
	  T(more_chains_in_flight_than_the_queue_has_break_it),
	  T(chain_of_more_ranges_than_the_caller_takes_breaks_the_queue),
	  T(rings_that_are_misaligned_or_outside_ram_are_refused), T(interrupt_flag_is_honoured),
	  T(used_event_is_honoured), T(kicks_off_silences_a_driver_however_far_it_goes),
	  T(kicks_on_tells_of_chains_that_came_in_meanwhile),
	  T(iov_copies_cross_ranges_and_stop_at_the_end))
