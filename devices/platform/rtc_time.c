/* SPDX-License-Identifier: Apache-2.0 */
/* Time registers to and from seconds. */
#include "devices/platform/rtc_time.h"

#include <string.h>
#include <time.h>

enum {
	HOURS_PM = 0x80,
	ALARM_ANY = 0xc0,
	SECONDS_A_DAY = 24 * 60 * 60,
};

static uint8_t encode(const uint8_t *regs, int v)
{
	if (regs[RTC_B] & RTC_B_BINARY)
		return (uint8_t)v;
	return (uint8_t)(v / 10 << 4 | v % 10);
}

/* -1 for what is no number. */
static int decode(const uint8_t *regs, uint8_t v)
{
	if (regs[RTC_B] & RTC_B_BINARY)
		return v;
	return (v & 0x0f) <= 9 && v >> 4 <= 9 ? (v >> 4) * 10 + (v & 0x0f) : -1;
}

static uint8_t encode_hour(const uint8_t *regs, int hour)
{
	if (regs[RTC_B] & RTC_B_24H)
		return encode(regs, hour);
	int h12 = hour % 12 ? hour % 12 : 12;
	return encode(regs, h12) | (hour >= 12 ? HOURS_PM : 0);
}

static int decode_hour(const uint8_t *regs, uint8_t v)
{
	if (regs[RTC_B] & RTC_B_24H)
		return decode(regs, v);
	int h12 = decode(regs, v & (uint8_t)~HOURS_PM);
	if (h12 < 1 || h12 > 12)
		return -1;
	return h12 % 12 + (v & HOURS_PM ? 12 : 0);
}

void rtc_time_to_regs(int64_t unix_s, uint8_t regs[RTC_REGS])
{
	time_t t = unix_s;
	struct tm tm;
	if (!gmtime_r(&t, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
		memset(&tm, 0, sizeof(tm));
	int year = tm.tm_year + 1900;
	regs[RTC_SECONDS] = encode(regs, tm.tm_sec);
	regs[RTC_MINUTES] = encode(regs, tm.tm_min);
	regs[RTC_HOURS] = encode_hour(regs, tm.tm_hour);
	regs[RTC_WEEKDAY] = encode(regs, tm.tm_wday + 1);
	regs[RTC_DAY] = encode(regs, tm.tm_mday);
	regs[RTC_MONTH] = encode(regs, tm.tm_mon + 1);
	regs[RTC_YEAR] = encode(regs, year % 100);
	regs[RTC_CENTURY] = encode(regs, year / 100);
}

static bool in(int v, int min, int max)
{
	return v >= min && v <= max;
}

bool rtc_time_from_regs(const uint8_t regs[RTC_REGS], int64_t *unix_s)
{
	int century = decode(regs, regs[RTC_CENTURY]);
	int year = decode(regs, regs[RTC_YEAR]);
	struct tm tm = {
		.tm_sec = decode(regs, regs[RTC_SECONDS]),
		.tm_min = decode(regs, regs[RTC_MINUTES]),
		.tm_hour = decode_hour(regs, regs[RTC_HOURS]),
		.tm_mday = decode(regs, regs[RTC_DAY]),
		.tm_mon = decode(regs, regs[RTC_MONTH]) - 1,
		.tm_year = century * 100 + year - 1900,
	};
	if (!in(tm.tm_sec, 0, 59) || !in(tm.tm_min, 0, 59) || !in(tm.tm_hour, 0, 23) ||
	    !in(tm.tm_mday, 1, 31) || !in(tm.tm_mon, 0, 11) || !in(century, 0, 99) ||
	    !in(year, 0, 99))
		return false;
	*unix_s = timegm(&tm);
	return true;
}

enum { ANY = -2 };

static bool matches(int want, int64_t have)
{
	return want == ANY || want == have;
}

static int alarm_field(const uint8_t *regs, unsigned int reg)
{
	if (regs[reg] >= ALARM_ANY)
		return ANY;
	return reg == RTC_HOURS_ALARM ? decode_hour(regs, regs[reg]) : decode(regs, regs[reg]);
}

static bool can_match(int want, int max)
{
	return want == ANY || in(want, 0, max);
}

bool rtc_next_alarm(const uint8_t regs[RTC_REGS], int64_t after_s, int64_t *alarm_s)
{
	int hour = alarm_field(regs, RTC_HOURS_ALARM);
	int minute = alarm_field(regs, RTC_MINUTES_ALARM);
	int second = alarm_field(regs, RTC_SECONDS_ALARM);
	int64_t t = after_s + 1, end = t + SECONDS_A_DAY;
	if (!can_match(hour, 23) || !can_match(minute, 59) || !can_match(second, 59))
		return false;
	/* Steps over whole hours and minutes that cannot match: some 150 steps at the most. */
	while (t < end) {
		int64_t of_day = (t % SECONDS_A_DAY + SECONDS_A_DAY) % SECONDS_A_DAY;
		if (!matches(hour, of_day / 3600))
			t += 3600 - of_day % 3600;
		else if (!matches(minute, of_day / 60 % 60))
			t += 60 - of_day % 60;
		else if (!matches(second, of_day % 60))
			t++;
		else
			break;
	}
	*alarm_s = t;
	return t < end;
}
