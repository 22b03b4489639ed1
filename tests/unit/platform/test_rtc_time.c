/* SPDX-License-Identifier: Apache-2.0 */
/* Dates in registers, and when an alarm rings next. */
#include "devices/platform/rtc_time.h"

#include "tests/unit/test.h"

static const uint8_t formats[] = { 0, RTC_B_24H, RTC_B_BINARY, RTC_B_24H | RTC_B_BINARY };

TEST(every_hour_of_odd_days_survives_in_every_format)
{
	/* 1970, the end of 1999, 29 February 2000 and 2024, 2038, 2262. */
	static const int64_t days[] = { 0, 10956, 11016, 19782, 24855, 106751 };
	uint8_t regs[RTC_REGS] = { 0 };
	int64_t back;
	for (size_t f = 0; f < sizeof(formats); f++)
		for (size_t d = 0; d < sizeof(days) / sizeof(days[0]); d++)
			for (int64_t s = 0; s < 86400; s += 1801) {
				regs[RTC_B] = formats[f];
				rtc_time_to_regs(days[d] * 86400 + s, regs);
				CHECK(rtc_time_from_regs(regs, &back));
				CHECK_EQ(back, days[d] * 86400 + s);
			}
}

TEST(impossible_seconds_do_not_break_it)
{
	uint8_t regs[RTC_REGS] = { 0 };
	int64_t s;
	rtc_time_to_regs(INT64_MAX, regs);
	CHECK(!rtc_time_from_regs(regs, &s));
	rtc_time_to_regs(INT64_MIN, regs);
	CHECK(!rtc_time_from_regs(regs, &s));
}

/* The alarm (bytes as written) after 12:34:56; in seconds from there, -1 for never. */
static int64_t ring(uint8_t format, uint8_t h, uint8_t min, uint8_t s)
{
	uint8_t regs[RTC_REGS] = { 0 };
	int64_t now = INT64_C(20000) * 86400 + 12 * 3600 + 34 * 60 + 56, at;
	regs[RTC_B] = format;
	regs[RTC_HOURS_ALARM] = h;
	regs[RTC_MINUTES_ALARM] = min;
	regs[RTC_SECONDS_ALARM] = s;
	return rtc_next_alarm(regs, now, &at) ? at - now : -1;
}

TEST(alarm_rings_at_the_next_match)
{
	static const struct {
		uint8_t format, h, min, s;
		int64_t want;
	} table[] = {
		{ RTC_B_24H, 0xff, 0xff, 0xff, 1 },
		{ RTC_B_24H, 0xc0, 0xc0, 0x00, 4 },
		{ RTC_B_24H, 0xff, 0xff, 0x56, 60 },
		{ RTC_B_24H, 0xff, 0x35, 0xff, 4 },
		{ RTC_B_24H, 0xff, 0x34, 0xff, 1 },
		{ RTC_B_24H, 0xff, 0x00, 0x00, 25 * 60 + 4 },
		{ RTC_B_24H, 0x12, 0x34, 0x56, 86400 },
		{ RTC_B_24H, 0x12, 0x34, 0x55, 86399 },
		{ RTC_B_24H, 0x00, 0x00, 0x00, 11 * 3600 + 25 * 60 + 4 },
		{ RTC_B_24H | RTC_B_BINARY, 23, 59, 59, 11 * 3600 + 25 * 60 + 3 },
		{ 0, 0x81, 0x00, 0x00, 25 * 60 + 4 }, /* 1 pm */
		{ 0, 0x12, 0x00, 0x00, 11 * 3600 + 25 * 60 + 4 },
	};
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		CHECK_EQ(ring(table[i].format, table[i].h, table[i].min, table[i].s),
			 table[i].want);
}

TEST(impossible_alarm_never_rings)
{
	CHECK_EQ(ring(RTC_B_24H, 0x24, 0x00, 0x00), -1);
	CHECK_EQ(ring(RTC_B_24H, 0xff, 0x60, 0xff), -1);
	CHECK_EQ(ring(RTC_B_24H, 0xff, 0xff, 0x6a), -1);
	CHECK_EQ(ring(RTC_B_24H | RTC_B_BINARY, 0xff, 0xff, 60), -1);
	CHECK_EQ(ring(0, 0x13, 0xff, 0xff), -1);
}

TEST_MAIN(T(every_hour_of_odd_days_survives_in_every_format), T(impossible_seconds_do_not_break_it),
	  T(alarm_rings_at_the_next_match), T(impossible_alarm_never_rings))
