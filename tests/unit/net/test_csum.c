/* SPDX-License-Identifier: Apache-2.0 */
/* The Internet checksum, against a slow one and the example of RFC 1071. */
#include "devices/net/csum.h"

#include "devices/net/net.h"
#include "tests/unit/test.h"
#include "vmm/base/endian.h"

static uint16_t slow_sum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

TEST(sums_the_example_of_the_rfc)
{
	static const uint8_t p[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
	uint16_t sum = csum_sum(p, sizeof(p), 0);
	CHECK_EQ(get_be16(&sum), 0xddf2);
}

TEST(sums_every_length_and_alignment)
{
	uint8_t p[400];
	for (size_t i = 0; i < sizeof(p); i++)
		p[i] = (uint8_t)(i * 37 + (i >> 3) * 5 + 200);
	for (size_t at = 0; at < 9; at++)
		for (size_t len = 0; len < 300; len++) {
			uint16_t sum = csum_sum(p + at, len, 0);
			CHECK_EQ(get_be16(&sum), slow_sum(p + at, len));
		}
}

TEST(carries_of_all_ones_are_kept)
{
	static uint8_t p[65536];
	memset(p, 0xff, sizeof(p));
	uint16_t sum = csum_sum(p, sizeof(p), 0);
	CHECK_EQ(sum, 0xffff);
}

TEST(seed_continues_a_sum)
{
	static const uint8_t p[] = { 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54 };
	uint16_t first = csum_sum(p, 4, 0);
	CHECK_EQ(csum_sum(p + 4, 2, first), csum_sum(p, 6, 0));
}

TEST(completed_checksum_verifies)
{
	uint8_t frame[64];
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 11);
	/* What stands in the field is the sum of the pseudo header: the receiver adds that itself.
	 */
	uint16_t pseudo = 0x1234;
	memcpy(frame + 34 + 16, &pseudo, 2);
	struct net_offload off = { .needs_csum = true, .csum_start = 34, .csum_offset = 16 };
	CHECK(csum_complete(frame, sizeof(frame), &off));
	CHECK_EQ(csum_sum(frame + 34, sizeof(frame) - 34, pseudo), 0xffff);
}

TEST(offload_outside_of_the_frame_is_refused)
{
	uint8_t frame[64] = { 0 }, before[64] = { 0 };
	static const struct net_offload bad[] = {
		{ .needs_csum = true, .csum_start = 63, .csum_offset = 0 },
		{ .needs_csum = true, .csum_start = 34, .csum_offset = 29 },
		{ .needs_csum = true, .csum_start = 0xffff, .csum_offset = 0xffff },
		{ .needs_csum = true, .csum_start = 0xffff, .csum_offset = 0 },
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!csum_complete(frame, sizeof(frame), &bad[i]));
	CHECK(!memcmp(frame, before, sizeof(frame)));
}

TEST_MAIN(T(sums_the_example_of_the_rfc), T(sums_every_length_and_alignment),
	  T(carries_of_all_ones_are_kept), T(seed_continues_a_sum), T(completed_checksum_verifies),
	  T(offload_outside_of_the_frame_is_refused))
