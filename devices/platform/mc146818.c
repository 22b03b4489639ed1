/* SPDX-License-Identifier: Apache-2.0 */
/* The real-time clock and CMOS memory of a PC (Motorola MC146818 data sheet, as Linux's rtc_cmos
 * uses it). */
/*
 * How it works. The clock is the host's plus an offset, so it never drifts and a restored machine
 * shows the present; setting the time changes the offset. Nothing ticks: registers are computed
 * when they are read, and what would have happened since the last look (a second ended, the alarm
 * matched, a period went by) is made up for in account(). A timer of the loop is armed for the next
 * event only while its interrupt is enabled and its flag is clear, so a guest that does not answer
 * costs nothing.
 *
 * "Update in progress" reads as one during the last 244 us of each second, and the update itself
 * takes no time. That is the promise drivers rely on: who reads zero has 244 us for a consistent
 * date. It is also never set for long: a guest that polls it waits for a few exits, not for the
 * seconds that a stuck bit costs.
 *
 * While the clock is stopped (SET in register B, or the divider held in reset in A) the time
 * registers are plain memory; the offset is computed from them when it runs again, with the first
 * second half over after a divider reset. The battery of a PC keeps time and memory over a reset:
 * so does reset() here.
 */
#include "devices/platform/mc146818.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "devices/platform/rtc_time.h"
#include "devices/platform/state_u8.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/core/bus.h"
#include "vmm/core/irq.h"
#include "vmm/core/loop.h"

enum {
	PORT_INDEX = 0,
	PORT_DATA = 1,
	PORT_COUNT = 2,
	INDEX_MASK = 0x7f, /* bit 7 masks the NMI, which nothing raises */
};

enum {
	A_UIP = 0x80,
	A_DIVIDER = 0x70,
	A_DIVIDER_RUN = 0x20,	/* 32.768 kHz */
	A_DIVIDER_RESET = 0x60, /* and 0x70 */
	A_RATE = 0x0f,
	A_COLD = A_DIVIDER_RUN | 0x06,

	B_SET = 0x80,
	B_ENABLES = 0x70, /* PIE, AIE, UIE, at the places of their flags in C */
	B_UIE = 0x10,
	B_COLD = RTC_B_24H,

	C_IRQF = 0x80,
	C_PF = 0x40,
	C_AF = 0x20,
	C_UF = 0x10,

	D_VALID = 0x80, /* the battery is fine */
};

enum {
	UIP_NS = 244 * 1000,
	OSCILLATOR_HZ = 32768,
};

/* Memory sizes, low byte first: in KiB above 1 MiB, in 64 KiB above 16 MiB and above 4 GiB (as PC BIOSes have them). */
enum {
	MEM_ABOVE_1M = 0x30, /* and a copy at 0x17 */
	MEM_ABOVE_1M_COPY = 0x17,
	MEM_ABOVE_16M = 0x34,
	MEM_ABOVE_4G = 0x5b, /* three bytes */
};

#define SECOND_NS     INT64_C(1000000000)
#define OFFSET_MAX_NS (INT64_C(4000000000) * SECOND_NS) /* 126 years, so that no sum wraps */

struct mc146818 {
	struct device dev;
	struct bus_range range;
	struct irq_line line;
	struct loop_timer timer;
	int64_t (*host_now_ns)(void *opaque);
	void *opaque;

	uint8_t index;
	uint8_t regs[RTC_REGS]; /* time registers: of use while stopped only */
	int64_t offset_ns;	/* guest's time minus the host's */
	int64_t seen_ns;	/* guest's time of the last account() */
};

/* ---- time ---- */

static int64_t host_realtime_ns(void *opaque)
{
	struct timespec ts;
	(void)opaque;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

static int64_t guest_now_ns(const struct mc146818 *r)
{
	return r->host_now_ns(r->opaque) + r->offset_ns;
}

/* Whole seconds of @ns, rounded down, and what is left. */
static int64_t seconds_of(int64_t ns)
{
	return ns / SECOND_NS - (ns % SECOND_NS < 0);
}

static int64_t fraction_of(int64_t ns)
{
	return ns - seconds_of(ns) * SECOND_NS;
}

static bool is_stopped(const struct mc146818 *r)
{
	return (r->regs[RTC_B] & B_SET) || (r->regs[RTC_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

/* Sets the guest's time; one that is more than OFFSET_MAX_NS from the host's is not taken. */
static void set_guest_time(struct mc146818 *r, int64_t unix_s, int64_t fraction_ns)
{
	int64_t ns, offset;
	if (!ck_mul(unix_s, SECOND_NS, &ns) || !ck_add(ns, fraction_ns, &ns) ||
	    !ck_sub(ns, r->host_now_ns(r->opaque), &offset) || offset > OFFSET_MAX_NS ||
	    offset < -OFFSET_MAX_NS)
		return;
	r->offset_ns = offset;
	r->seen_ns = ns;
}

/* ---- events ---- */

/* Periods in a second (data sheet, table 5), or 0 for none. */
static int64_t periodic_hz(const struct mc146818 *r)
{
	unsigned int rate = r->regs[RTC_A] & A_RATE;
	if (!rate)
		return 0;
	return OSCILLATOR_HZ >> (rate <= 2 ? rate + 6 : rate - 1);
}

/* Sets the flags of all that has happened since the last call. */
static void account(struct mc146818 *r)
{
	int64_t now = guest_now_ns(r), before = r->seen_ns, alarm_s, hz = periodic_hz(r);
	r->seen_ns = now;
	if (is_stopped(r) || now <= before)
		return;
	int64_t now_s = seconds_of(now), before_s = seconds_of(before);
	if (now_s > before_s)
		r->regs[RTC_C] |= C_UF;
	if (rtc_next_alarm(r->regs, before_s, &alarm_s) && alarm_s <= now_s)
		r->regs[RTC_C] |= C_AF;
	if (hz && (now_s > before_s ||
		   fraction_of(now) * hz / SECOND_NS > fraction_of(before) * hz / SECOND_NS))
		r->regs[RTC_C] |= C_PF;
}

/* Guest's time of the next event whose interrupt is enabled and whose flag is clear. */
static bool next_event(const struct mc146818 *r, int64_t *event_ns)
{
	uint8_t wanted = r->regs[RTC_B] & (uint8_t)~r->regs[RTC_C] & B_ENABLES;
	int64_t now_s = seconds_of(r->seen_ns), alarm_s, hz = periodic_hz(r);
	int64_t next = INT64_MAX;
	if (is_stopped(r))
		return false;
	if (wanted & C_UF)
		next = (now_s + 1) * SECOND_NS;
	if ((wanted & C_AF) && rtc_next_alarm(r->regs, now_s, &alarm_s))
		next = MIN(next, alarm_s * SECOND_NS);
	if ((wanted & C_PF) && hz) {
		int64_t tick = fraction_of(r->seen_ns) * hz / SECOND_NS + 1;
		int64_t tick_ns = now_s * SECOND_NS + (tick * SECOND_NS + hz - 1) / hz;
		next = MIN(next, tick_ns);
	}
	*event_ns = next;
	return next != INT64_MAX;
}

/* After account() and any change of registers: line and timer follow. */
static void settle(struct mc146818 *r)
{
	int64_t event_ns;
	irq_line_set(&r->line, r->regs[RTC_B] & r->regs[RTC_C] & B_ENABLES);
	if (next_event(r, &event_ns))
		loop_timer_arm(r->dev.env->loop, &r->timer,
			       clock_now_ns() + (uint64_t)(event_ns - r->seen_ns));
	else
		loop_timer_disarm(r->dev.env->loop, &r->timer);
}

static void on_timer(void *opaque)
{
	account(opaque);
	settle(opaque);
}

/* ---- registers ---- */

static bool is_time(uint8_t reg)
{
	switch (reg) {
	case RTC_SECONDS:
	case RTC_MINUTES:
	case RTC_HOURS:
	case RTC_WEEKDAY:
	case RTC_DAY:
	case RTC_MONTH:
	case RTC_YEAR:
	case RTC_CENTURY: return true;
	default: return false;
	}
}

static uint8_t read_a(const struct mc146818 *r)
{
	bool updating = !is_stopped(r) && fraction_of(guest_now_ns(r)) >= SECOND_NS - UIP_NS;
	return r->regs[RTC_A] | (updating ? A_UIP : 0);
}

static uint8_t read_c(struct mc146818 *r)
{
	account(r);
	uint8_t flags = r->regs[RTC_C];
	if (flags & r->regs[RTC_B] & B_ENABLES)
		flags |= C_IRQF;
	r->regs[RTC_C] = 0;
	settle(r);
	return flags;
}

static uint64_t rtc_read(void *opaque, uint64_t off, unsigned int size)
{
	struct mc146818 *r = opaque;
	if (off != PORT_DATA || size != 1)
		return UINT64_MAX;
	if (is_time(r->index) && !is_stopped(r))
		rtc_time_to_regs(seconds_of(guest_now_ns(r)), r->regs);
	switch (r->index) {
	case RTC_A: return read_a(r);
	case RTC_C: return read_c(r);
	default: return r->regs[r->index];
	}
}

/* A or B: may stop the clock or let it run. */
static void write_control(struct mc146818 *r, uint8_t reg, uint8_t v)
{
	bool was_stopped = is_stopped(r);
	uint8_t old_a = r->regs[RTC_A];
	int64_t now = guest_now_ns(r), unix_s;
	account(r);
	if (reg == RTC_B && (v & B_SET))
		v &= (uint8_t)~B_UIE;
	if (!was_stopped) /* in the format of before: register B says which */
		rtc_time_to_regs(seconds_of(now), r->regs);
	r->regs[reg] = v;
	if (was_stopped && !is_stopped(r) && rtc_time_from_regs(r->regs, &unix_s)) {
		bool divider_starts = (old_a & A_DIVIDER_RESET) == A_DIVIDER_RESET;
		set_guest_time(r, unix_s, divider_starts ? SECOND_NS / 2 : fraction_of(now));
	}
	settle(r);
}

static void write_time(struct mc146818 *r, uint8_t v)
{
	int64_t now = guest_now_ns(r), unix_s;
	if (is_stopped(r)) {
		r->regs[r->index] = v;
		return;
	}
	account(r);
	rtc_time_to_regs(seconds_of(now), r->regs);
	r->regs[r->index] = v;
	if (rtc_time_from_regs(r->regs, &unix_s))
		set_guest_time(r, unix_s, fraction_of(now));
	settle(r);
}

static void write_data(struct mc146818 *r, uint8_t v)
{
	if (is_time(r->index)) {
		write_time(r, v);
		return;
	}
	switch (r->index) {
	case RTC_A: write_control(r, RTC_A, v & (uint8_t)~A_UIP); break;
	case RTC_B: write_control(r, RTC_B, v); break;
	case RTC_C:
	case RTC_D: break; /* read-only */
	case RTC_SECONDS_ALARM:
	case RTC_MINUTES_ALARM:
	case RTC_HOURS_ALARM:
		account(r);
		r->regs[r->index] = v;
		settle(r);
		break;
	default: r->regs[r->index] = v; break;
	}
}

static void rtc_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct mc146818 *r = opaque;
	if (size != 1)
		return;
	if (off == PORT_INDEX)
		r->index = value & INDEX_MASK;
	else
		write_data(r, (uint8_t)value);
}

/* ---- life ---- */

static struct mc146818 *rtc_of(struct device *d)
{
	return container_of(d, struct mc146818, dev);
}

static void rtc_reset(struct device *d)
{
	struct mc146818 *r = rtc_of(d);
	account(r);
	r->index = 0;
	write_control(r, RTC_B, r->regs[RTC_B] & (uint8_t)~B_ENABLES);
	r->regs[RTC_C] = 0;
	settle(r);
}

static int rtc_quiesce(struct device *d)
{
	loop_timer_disarm(d->env->loop, &rtc_of(d)->timer);
	return 0;
}

static void rtc_resume(struct device *d)
{
	on_timer(rtc_of(d));
}

static void rtc_save(struct device *d, struct state_writer *w)
{
	const struct mc146818 *r = rtc_of(d);
	state_put_u32(w, "index", r->index);
	state_put_bytes(w, "registers", r->regs, sizeof(r->regs));
	state_put_u64(w, "offset-ns", (uint64_t)r->offset_ns);
	state_put_u64(w, "seen-ns", (uint64_t)r->seen_ns);
}

static int load(struct mc146818 *r, struct state_node n)
{
	uint64_t offset = 0, seen = 0;
	int err = state_check(n, mc146818_ops.compatible);
	if (err)
		return err;
	if ((err = state_get_u8(n, "index", &r->index)) ||
	    (err = state_get_bytes(n, "registers", r->regs, sizeof(r->regs))) ||
	    (err = state_get_u64(n, "offset-ns", &offset)) ||
	    (err = state_get_u64(n, "seen-ns", &seen)))
		goto out_damaged;
	r->index &= INDEX_MASK;
	r->regs[RTC_A] &= (uint8_t)~A_UIP;
	r->regs[RTC_C] &= B_ENABLES;
	r->regs[RTC_D] = D_VALID;
	r->offset_ns = (int64_t)offset;
	r->seen_ns = (int64_t)seen;
	err = -EINVAL;
	if (r->offset_ns > OFFSET_MAX_NS || r->offset_ns < -OFFSET_MAX_NS)
		goto out_damaged;
	return 0;
out_damaged:
	log_error("%s: its saved state is not valid; the snapshot is damaged", r->dev.name);
	return err;
}

/* The lowest @n bytes of what there is in such units, at most their maximum. */
static void note(struct mc146818 *r, unsigned int reg, unsigned int n, uint64_t units)
{
	units = MIN(units, (UINT64_C(1) << 8 * n) - 1);
	for (unsigned int i = 0; i < n; i++)
		r->regs[reg + i] = (uint8_t)(units >> 8 * i);
}

static void note_memory(struct mc146818 *r, uint64_t low, uint64_t high)
{
	if (!low)
		return;
	note(r, MEM_ABOVE_1M, 2, (MAX(low, MIB) - MIB) / KIB);
	note(r, MEM_ABOVE_1M_COPY, 2, (MAX(low, MIB) - MIB) / KIB);
	note(r, MEM_ABOVE_16M, 2, (MAX(low, 16 * MIB) - 16 * MIB) / (64 * KIB));
	note(r, MEM_ABOVE_4G, 3, high / (64 * KIB));
}

static void fill_in(struct mc146818 *r, const struct device_env *env,
		    const struct mc146818_config *cfg)
{
	r->host_now_ns = cfg->now_ns ? cfg->now_ns : host_realtime_ns;
	r->opaque = cfg->opaque;
	r->line = (struct irq_line){ .chip = env->irq, .gsi = cfg->gsi };
	r->timer = (struct loop_timer){ .lock = &r->dev.lock, .fn = on_timer, .opaque = r };
	r->range = (struct bus_range){
		.base = cfg->port,
		.len_bytes = PORT_COUNT,
		.lock = &r->dev.lock,
		.read = rtc_read,
		.write = rtc_write,
		.opaque = r,
		.name = r->dev.name,
	};
	r->regs[RTC_A] = A_COLD;
	r->regs[RTC_B] = B_COLD;
	r->regs[RTC_D] = D_VALID;
	note_memory(r, cfg->low_ram_bytes, cfg->high_ram_bytes);
	r->seen_ns = guest_now_ns(r);
}

static int rtc_create(const struct device_env *env, const char *name, const void *cfg,
		      const struct state_node *from, struct device **out)
{
	struct mc146818 *r = calloc(1, sizeof(*r));
	if (!r) {
		log_error("%s: out of memory", name);
		return -ENOMEM;
	}
	device_init(&r->dev, &mc146818_ops, env, name);
	fill_in(r, env, cfg);
	int err = from ? load(r, *from) : 0;
	if (err)
		goto out_free;
	err = bus_map(env->pio, &r->range);
	if (err) {
		log_error("%s: port 0x%x is taken", name, (unsigned int)r->range.base);
		goto out_free;
	}
	*out = &r->dev;
	return 0;
out_free:
	device_fini(&r->dev);
	free(r);
	return err;
}

static void rtc_destroy(struct device *d)
{
	struct mc146818 *r = rtc_of(d);
	rtc_quiesce(d);
	bus_unmap(d->env->pio, &r->range);
	irq_line_set(&r->line, false);
	device_fini(d);
	free(r);
}

const struct device_ops mc146818_ops = {
	.compatible = "charmvm,mc146818-1",
	.create = rtc_create,
	.reset = rtc_reset,
	.quiesce = rtc_quiesce,
	.save = rtc_save,
	.resume = rtc_resume,
	.destroy = rtc_destroy,
};
