/* SPDX-License-Identifier: Apache-2.0 */
/* The real-time clock, on a host clock that the tests move. */
#include "devices/platform/mc146818.h"

#include "devices/platform/rtc_time.h"
#include "tests/unit/platform/machine.h"
#include "vmm/base/checked.h"

enum { PORT = 0x70, GSI = 8 };
#define SECOND INT64_C(1000000000)
/* Sunday, 22 November 2026, 23:59:58 UTC. */
#define START (INT64_C(1795391998) * SECOND)

static struct machine m;
static struct device *rtc;
static int64_t host_ns;
static unsigned int looks; /* at the host's clock */

static int64_t host_now(void *opaque)
{
	(void)opaque;
	looks++;
	return host_ns;
}

static const struct mc146818_config config = { .port = PORT, .gsi = GSI, .now_ns = host_now };

static void setup(void)
{
	machine_init(&m);
	host_ns = START;
	rtc = machine_add(&m, &mc146818_ops, &config);
}

static void teardown(void)
{
	rtc->ops->destroy(rtc);
	machine_fini(&m);
}

static uint8_t rd(uint8_t reg)
{
	outb(&m, PORT, reg);
	return inb(&m, PORT + 1);
}

static void wr(uint8_t reg, uint8_t v)
{
	outb(&m, PORT, reg);
	outb(&m, PORT + 1, v);
}

static void check_date(const uint8_t want[8])
{
	static const uint8_t regs[] = { RTC_CENTURY, RTC_YEAR,	  RTC_MONTH,   RTC_DAY,
					RTC_HOURS,   RTC_MINUTES, RTC_SECONDS, RTC_WEEKDAY };
	for (int i = 0; i < 8; i++)
		CHECK_EQ(rd(regs[i]), want[i]);
}

TEST(date_is_the_hosts_in_bcd)
{
	setup();
	check_date((uint8_t[]){ 0x20, 0x26, 0x11, 0x22, 0x23, 0x59, 0x58, 0x01 });
	host_ns += 2 * SECOND;
	check_date((uint8_t[]){ 0x20, 0x26, 0x11, 0x23, 0x00, 0x00, 0x00, 0x02 });
	teardown();
}

TEST(binary_and_12_hours_are_options)
{
	setup();
	wr(RTC_B, RTC_B_24H | RTC_B_BINARY);
	check_date((uint8_t[]){ 20, 26, 11, 22, 23, 59, 58, 1 });
	wr(RTC_B, 0);
	CHECK_EQ(rd(RTC_HOURS), 0x91);
	host_ns += 2 * SECOND;
	CHECK_EQ(rd(RTC_HOURS), 0x12);
	host_ns += 12 * 3600 * SECOND;
	CHECK_EQ(rd(RTC_HOURS), 0x92);
	teardown();
}

TEST(update_in_progress_is_told_only_at_the_end_of_a_second)
{
	setup();
	CHECK_EQ(rd(RTC_A), 0x26);
	host_ns += SECOND - 245000;
	CHECK_EQ(rd(RTC_A), 0x26);
	host_ns += 2000;
	CHECK_EQ(rd(RTC_A), 0xa6);
	host_ns += 243000;
	CHECK_EQ(rd(RTC_A), 0x26);
	wr(RTC_B, 0x82);
	host_ns += SECOND - 1;
	CHECK_EQ(rd(RTC_A), 0x26); /* never while it is stopped */
	teardown();
}

/* As Linux sets it: SET, divider reset, date, and both back. */
static void set_date(const uint8_t date[8])
{
	static const uint8_t regs[] = { RTC_CENTURY, RTC_YEAR,	  RTC_MONTH,   RTC_DAY,
					RTC_HOURS,   RTC_MINUTES, RTC_SECONDS, RTC_WEEKDAY };
	wr(RTC_B, 0x82);
	wr(RTC_A, 0x76);
	for (int i = 0; i < 8; i++)
		wr(regs[i], date[i]);
	wr(RTC_B, 0x02);
	wr(RTC_A, 0x26);
}

TEST(time_can_be_set_and_goes_on_from_there)
{
	setup();
	set_date((uint8_t[]){ 0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59, 0x06 });
	check_date((uint8_t[]){ 0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59, 0x06 });
	host_ns += SECOND / 2 - 1;
	CHECK_EQ(rd(RTC_SECONDS), 0x59);
	host_ns += 1; /* half a second after the divider starts */
	check_date((uint8_t[]){ 0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0x07 });
	teardown();
}

TEST(stopped_clock_stands_still_and_holds_what_is_written)
{
	setup();
	wr(RTC_B, 0x82);
	host_ns += 3600 * SECOND;
	check_date((uint8_t[]){ 0x20, 0x26, 0x11, 0x22, 0x23, 0x59, 0x58, 0x01 });
	wr(RTC_MINUTES, 0x12);
	CHECK_EQ(rd(RTC_MINUTES), 0x12);
	wr(RTC_B, 0x02);
	CHECK_EQ(rd(RTC_MINUTES), 0x12);
	CHECK_EQ(rd(RTC_HOURS), 0x23);
	teardown();
}

TEST(nonsense_dates_leave_the_clock_as_it_was)
{
	static const uint8_t bad[][8] = {
		{ 0x20, 0x26, 0x13, 0x22, 0x23, 0x59, 0x58, 0x01 },
		{ 0x20, 0x26, 0x00, 0x22, 0x23, 0x59, 0x58, 0x01 },
		{ 0x20, 0x26, 0x11, 0x00, 0x23, 0x59, 0x58, 0x01 },
		{ 0x20, 0x26, 0x11, 0x22, 0x24, 0x59, 0x58, 0x01 },
		{ 0x20, 0x26, 0x11, 0x22, 0x23, 0x6a, 0x58, 0x01 },
		{ 0xff, 0x26, 0x11, 0x22, 0x23, 0x59, 0x58, 0x01 },
		{ 0x99, 0x99, 0x11, 0x22, 0x23, 0x59, 0x58, 0x01 }, /* too far for nanoseconds */
		{ 0x00, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00, 0x01 },
	};
	setup();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set_date(bad[i]);
		check_date((uint8_t[]){ 0x20, 0x26, 0x11, 0x22, 0x23, 0x59, 0x58, 0x01 });
	}
	teardown();
}

TEST(memory_keeps_bytes_and_d_says_that_the_battery_is_fine)
{
	setup();
	for (unsigned int reg = 14; reg < 128; reg++)
		if (reg != RTC_CENTURY)
			wr((uint8_t)reg, (uint8_t)(reg ^ 0x5a));
	for (unsigned int reg = 14; reg < 128; reg++)
		if (reg != RTC_CENTURY)
			CHECK_EQ(rd((uint8_t)(reg | 0x80)), reg ^ 0x5a);
	wr(RTC_D, 0);
	CHECK_EQ(rd(RTC_D), 0x80);
	CHECK_EQ(inb(&m, PORT), 0xff);
	teardown();
}

TEST(flags_tell_what_happened_since_the_last_look_without_interrupts)
{
	setup();
	rd(RTC_C);
	CHECK_EQ(rd(RTC_C), 0);
	host_ns += SECOND;
	CHECK_EQ(rd(RTC_C), 0x50); /* periodic and update */
	CHECK_EQ(rd(RTC_C), 0);
	host_ns += SECOND / 1024 + 1;
	CHECK_EQ(rd(RTC_C), 0x40);
	CHECK(!m.irq.level[GSI]);
	teardown();
}

/* Moves the host's clock so that the event is 20 ms away, then lets that time pass. */
static void pass(int64_t ns)
{
	host_ns += ns - 20000000;
	CHECK(!m.irq.level[GSI]);
	wr(RTC_SECONDS_ALARM, rd(RTC_SECONDS_ALARM)); /* the timer sees the new time */
	host_ns += 20000001;
	machine_run_ms(&m, 40);
}

TEST(update_interrupt_comes_with_the_next_second)
{
	setup();
	rd(RTC_C);
	wr(RTC_B, 0x12);
	pass(SECOND);
	CHECK(m.irq.level[GSI]);
	CHECK_EQ(rd(RTC_C) & 0x90, 0x90);
	CHECK(!m.irq.level[GSI]);
	teardown();
}

TEST(alarm_interrupt_comes_at_its_time)
{
	setup();
	wr(RTC_HOURS_ALARM, 0x00);
	wr(RTC_MINUTES_ALARM, 0x01);
	wr(RTC_SECONDS_ALARM, 0x30);
	wr(RTC_B, 0x22);
	rd(RTC_C);
	host_ns += 80 * SECOND;
	machine_run_ms(&m, 5);
	CHECK(!m.irq.level[GSI]);
	pass(12 * SECOND);
	CHECK(m.irq.level[GSI]);
	CHECK_EQ(rd(RTC_C) & 0xa0, 0xa0);
	CHECK(!m.irq.level[GSI]);
	teardown();
}

TEST(timer_that_comes_too_early_waits_for_the_rest)
{
	setup();
	rd(RTC_C);
	host_ns += SECOND - 10000000;
	wr(RTC_B, 0x12);
	machine_run_ms(&m, 30); /* the host's clock was stepped back meanwhile */
	CHECK(!m.irq.level[GSI]);
	host_ns += 10000000;
	machine_run_ms(&m, 30);
	CHECK(m.irq.level[GSI]);
	teardown();
}

TEST(periodic_interrupt_has_the_rate_of_register_a)
{
	setup();
	wr(RTC_A, 0x2d); /* 8 Hz */
	rd(RTC_C);
	wr(RTC_B, 0x42);
	pass(SECOND / 8);
	CHECK(m.irq.level[GSI]);
	CHECK_EQ(rd(RTC_C), 0xc0);
	wr(RTC_A, 0x20); /* none */
	host_ns += SECOND / 2;
	machine_run_ms(&m, 5);
	CHECK(!m.irq.level[GSI]);
	teardown();
}

TEST(unanswered_interrupt_does_not_keep_the_loop_busy)
{
	setup();
	wr(RTC_A, 0x23); /* 8192 Hz */
	wr(RTC_B, 0x52);
	host_ns += SECOND;
	machine_run_ms(&m, 5);
	CHECK(m.irq.level[GSI]);
	host_ns += SECOND;
	machine_run_ms(&m, 5);
	looks = 0;
	machine_run_ms(&m, 50);
	CHECK(looks < 5);
	CHECK_EQ(m.irq.rises[GSI], 1);
	teardown();
}

TEST(set_switches_the_update_interrupt_off)
{
	setup();
	wr(RTC_B, 0x92);
	CHECK_EQ(rd(RTC_B), 0x82);
	teardown();
}

TEST(reset_ends_interrupts_and_keeps_time_and_memory)
{
	setup();
	set_date((uint8_t[]){ 0x20, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07 });
	wr(0x40, 0x99);
	wr(RTC_B, 0x12);
	host_ns += SECOND;
	wr(RTC_SECONDS_ALARM, 0);
	CHECK(m.irq.level[GSI]);
	CHECK_EQ(rtc->ops->quiesce(rtc), 0);
	rtc->ops->reset(rtc);
	rtc->ops->resume(rtc);
	CHECK(!m.irq.level[GSI]);
	CHECK_EQ(rd(RTC_B), 0x02);
	CHECK_EQ(rd(0x40), 0x99);
	CHECK_EQ(rd(RTC_MINUTES), 0x05);
	teardown();
}

TEST(restored_clock_shows_the_present_and_keeps_its_offset)
{
	setup();
	set_date((uint8_t[]){ 0x20, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07 });
	wr(0x7f, 0x42);
	outb(&m, PORT, 0x7f);
	host_ns += 600 * SECOND;
	rtc = machine_round_trip(&m, rtc, &config);
	CHECK_EQ(inb(&m, PORT + 1), 0x42);
	check_date((uint8_t[]){ 0x20, 0x01, 0x02, 0x03, 0x04, 0x15, 0x06, 0x07 });
	teardown();
}

TEST(alarm_that_passed_while_saved_rings_after_the_restore)
{
	struct state_writer *w;
	setup();
	wr(RTC_HOURS_ALARM, 0xff);
	wr(RTC_MINUTES_ALARM, 0x30);
	wr(RTC_SECONDS_ALARM, 0x00);
	wr(RTC_B, 0x22);
	rd(RTC_C);
	struct state_node node = machine_save(rtc, &w);
	rtc->ops->destroy(rtc);
	host_ns += 3600 * SECOND;
	CHECK_EQ(mc146818_ops.create(&m.env, "dev0", &config, &node, &rtc), 0);
	CHECK(!m.irq.level[GSI]);
	rtc->ops->resume(rtc);
	CHECK(m.irq.level[GSI]);
	state_writer_destroy(w);
	teardown();
}

TEST(stopped_clock_survives_a_snapshot)
{
	setup();
	wr(RTC_B, 0x82);
	wr(RTC_YEAR, 0x11);
	rtc = machine_round_trip(&m, rtc, &config);
	CHECK_EQ(rd(RTC_YEAR), 0x11);
	CHECK_EQ(rd(RTC_B), 0x82);
	teardown();
}

TEST(damaged_state_is_refused)
{
	static const uint8_t regs[RTC_REGS];
	struct state_writer *w;
	struct state_node root, node;
	const void *blob;
	size_t len;
	struct device *d = NULL;
	machine_init(&m);
	CHECK_EQ(state_writer_create(&w), 0);
	state_begin(w, "", mc146818_ops.compatible);
	state_put_u32(w, "index", 0);
	state_put_bytes(w, "registers", regs, sizeof(regs));
	state_put_u64(w, "offset-ns", UINT64_C(0x7fffffffffffffff));
	state_put_u64(w, "seen-ns", 0);
	state_begin(w, "short", mc146818_ops.compatible);
	state_put_u32(w, "index", 0);
	state_put_bytes(w, "registers", regs, 127);
	state_end(w);
	state_end(w);
	CHECK_EQ(state_finish(w, &blob, &len), 0);
	CHECK_EQ(state_open(blob, len, &root), 0);
	CHECK_EQ(state_child(root, "short", &node), 0);
	CHECK(mc146818_ops.create(&m.env, "dev0", &config, &root, &d) < 0);
	CHECK(mc146818_ops.create(&m.env, "dev0", &config, &node, &d) < 0);
	CHECK(!d);
	state_writer_destroy(w);
	machine_fini(&m);
}

TEST(without_a_clock_of_its_own_it_shows_the_hosts)
{
	const struct mc146818_config real = { .port = PORT, .gsi = GSI };
	machine_init(&m);
	rtc = machine_add(&m, &mc146818_ops, &real);
	wr(RTC_B, RTC_B_24H | RTC_B_BINARY);
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	int minute = rd(RTC_MINUTES);
	CHECK(minute == tm.tm_min || minute == (tm.tm_min + 1) % 60);
	CHECK_EQ(rd(RTC_YEAR), tm.tm_year % 100);
	teardown();
}

static unsigned int number(uint8_t reg, unsigned int bytes)
{
	unsigned int v = 0;
	while (bytes--)
		v = v << 8 | rd((uint8_t)(reg + bytes));
	return v;
}

TEST(memory_sizes_are_where_a_bios_looks_and_only_when_asked_for)
{
	setup();
	CHECK_EQ(number(0x34, 2) | number(0x5b, 3) | number(0x30, 2), 0);
	rtc->ops->destroy(rtc);
	struct mc146818_config sized = config;
	sized.low_ram_bytes = 3 * GIB;
	sized.high_ram_bytes = 5 * GIB;
	rtc = machine_add(&m, &mc146818_ops, &sized);
	CHECK_EQ(number(0x30, 2), 0xffff); /* as much as it can say */
	CHECK_EQ(number(0x17, 2), 0xffff);
	CHECK_EQ(number(0x34, 2), (3 * GIB - 16 * MIB) / (64 * KIB));
	CHECK_EQ(number(0x5b, 3), 5 * GIB / (64 * KIB));
	rtc = machine_round_trip(&m, rtc, &sized);
	rtc->ops->reset(rtc);
	CHECK_EQ(number(0x5b, 3), 5 * GIB / (64 * KIB));
	teardown();
}

TEST_MAIN(T(memory_sizes_are_where_a_bios_looks_and_only_when_asked_for),
	  T(date_is_the_hosts_in_bcd), T(binary_and_12_hours_are_options),
	  T(update_in_progress_is_told_only_at_the_end_of_a_second),
	  T(time_can_be_set_and_goes_on_from_there),
	  T(stopped_clock_stands_still_and_holds_what_is_written),
	  T(nonsense_dates_leave_the_clock_as_it_was),
	  T(memory_keeps_bytes_and_d_says_that_the_battery_is_fine),
	  T(flags_tell_what_happened_since_the_last_look_without_interrupts),
	  T(update_interrupt_comes_with_the_next_second), T(alarm_interrupt_comes_at_its_time),
	  T(timer_that_comes_too_early_waits_for_the_rest),
	  T(periodic_interrupt_has_the_rate_of_register_a),
	  T(unanswered_interrupt_does_not_keep_the_loop_busy),
	  T(set_switches_the_update_interrupt_off),
	  T(reset_ends_interrupts_and_keeps_time_and_memory),
	  T(restored_clock_shows_the_present_and_keeps_its_offset),
	  T(alarm_that_passed_while_saved_rings_after_the_restore),
	  T(stopped_clock_survives_a_snapshot), T(damaged_state_is_refused),
	  T(without_a_clock_of_its_own_it_shows_the_hosts))
