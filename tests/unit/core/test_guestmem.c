/* SPDX-License-Identifier: Apache-2.0 */
/* The door to guest memory lets RAM through and nothing else. */
#include "vmm/core/guestmem.h"

#include <errno.h>

#include "tests/unit/test.h"

enum { LOW = 0x4000, HIGH = 0x2000 };
#define HIGH_GPA UINT64_C(0x100000000)

struct fixture {
	uint8_t low[LOW], high[HIGH], next[HIGH];
	struct guestmem gm;
};

/* RAM at 0, and at 4 GiB two regions that adjoin there but not in the host. */
static void setup(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	CHECK_EQ(guestmem_add(&f->gm, 0, LOW, f->low), 0);
	CHECK_EQ(guestmem_add(&f->gm, HIGH_GPA, HIGH, f->high), 0);
	CHECK_EQ(guestmem_add(&f->gm, HIGH_GPA + HIGH, HIGH, f->next), 0);
}

TEST(pointer_is_given_only_for_a_range_inside_one_region)
{
	struct fixture f;
	setup(&f);
	CHECK(guestmem_ptr(&f.gm, 0, LOW) == f.low);
	CHECK(guestmem_ptr(&f.gm, LOW - 1, 1) == f.low + LOW - 1);
	CHECK(guestmem_ptr(&f.gm, LOW - 1, 2) == NULL);
	CHECK(guestmem_ptr(&f.gm, LOW, 1) == NULL);
	CHECK(guestmem_ptr(&f.gm, HIGH_GPA + HIGH - 1, 2) == NULL);
}

TEST(length_that_wraps_is_refused)
{
	struct fixture f;
	struct iovec iov[4];
	unsigned int n = 0;
	setup(&f);
	CHECK(guestmem_ptr(&f.gm, 8, UINT64_MAX) == NULL);
	CHECK(guestmem_ptr(&f.gm, UINT64_MAX, 2) == NULL);
	CHECK_EQ(guestmem_iov(&f.gm, HIGH_GPA, UINT64_MAX, iov, 4, &n), -EFAULT);
	CHECK_EQ(n, 0);
}

TEST(copy_crosses_adjoining_regions)
{
	struct fixture f;
	uint8_t buf[4] = { 1, 2, 3, 4 }, back[4] = { 0 };
	setup(&f);
	CHECK_EQ(guestmem_write(&f.gm, HIGH_GPA + HIGH - 2, buf, 4), 0);
	CHECK_EQ(f.high[HIGH - 1], 2);
	CHECK_EQ(f.next[0], 3);
	CHECK_EQ(guestmem_read(&f.gm, HIGH_GPA + HIGH - 2, back, 4), 0);
	CHECK_EQ(memcmp(buf, back, 4), 0);
}

TEST(copy_that_leaves_ram_moves_no_byte)
{
	struct fixture f;
	uint8_t buf[4] = { 9, 9, 9, 9 };
	setup(&f);
	CHECK_EQ(guestmem_write(&f.gm, LOW - 2, buf, 4), -EFAULT);
	CHECK_EQ(f.low[LOW - 2], 0);
}

TEST(iov_stops_at_its_room)
{
	struct fixture f;
	struct iovec iov[2];
	unsigned int n = 1;
	setup(&f);
	CHECK_EQ(guestmem_iov(&f.gm, HIGH_GPA, 2 * HIGH, iov, 2, &n), -ENOSPC);
	CHECK_EQ(n, 1);
	n = 0;
	CHECK_EQ(guestmem_iov(&f.gm, HIGH_GPA, 2 * HIGH, iov, 2, &n), 0);
	CHECK_EQ(n, 2);
	CHECK(iov[1].iov_base == f.next);
}

TEST(overlapping_or_wrapping_region_is_refused)
{
	struct fixture f;
	setup(&f);
	CHECK_EQ(guestmem_add(&f.gm, HIGH_GPA, 16, f.low), -EINVAL);
	CHECK_EQ(guestmem_add(&f.gm, UINT64_MAX - 4, 16, f.low), -EINVAL);
	CHECK_EQ(guestmem_size(&f.gm), LOW + 2 * HIGH);
}

TEST_MAIN(T(pointer_is_given_only_for_a_range_inside_one_region), T(length_that_wraps_is_refused),
	  T(copy_crosses_adjoining_regions), T(copy_that_leaves_ram_moves_no_byte),
	  T(iov_stops_at_its_room), T(overlapping_or_wrapping_region_is_refused))
