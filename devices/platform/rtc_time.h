/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time registers of a real-time clock: BCD or binary, 24 or 12 hours, to and from seconds since
 * 1970. Pure functions on the register file.
 */
#ifndef PLATFORM_RTC_TIME_H
#define PLATFORM_RTC_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* Register numbers (MC146818 data sheet, address map; the century where PCs have it). */
enum {
	RTC_SECONDS = 0,
	RTC_SECONDS_ALARM = 1,
	RTC_MINUTES = 2,
	RTC_MINUTES_ALARM = 3,
	RTC_HOURS = 4,
	RTC_HOURS_ALARM = 5,
	RTC_WEEKDAY = 6,
	RTC_DAY = 7,
	RTC_MONTH = 8,
	RTC_YEAR = 9,
	RTC_A = 10,
	RTC_B = 11,
	RTC_C = 12,
	RTC_D = 13,
	RTC_CENTURY = 0x32,
	RTC_REGS = 128,

	RTC_B_24H = 0x02,
	RTC_B_BINARY = 0x04,
};

/* Writes the time into @regs, in the format that regs[RTC_B] asks for. Years 0 to 9999. */
void rtc_time_to_regs(int64_t unix_s, uint8_t regs[RTC_REGS]);
/* -> true and *unix_s, or false when the registers hold no valid date and time. */
bool rtc_time_from_regs(const uint8_t regs[RTC_REGS], int64_t *unix_s);
/*
 * The first second after @after_s that the alarm registers match (0xc0 and above: any value).
 * -> false when there is none.
 */
bool rtc_next_alarm(const uint8_t regs[RTC_REGS], int64_t after_s, int64_t *alarm_s);

#endif
