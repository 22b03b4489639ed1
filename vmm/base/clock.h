/* SPDX-License-Identifier: Apache-2.0 */
/* Host time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S  UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* CLOCK_MONOTONIC in ns. Any thread. */
static inline uint64_t clock_now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/*
 * The processor's own counter, for spans of microseconds where a call for the time would cost as much as
 * what is measured; meaningful only as a difference. On x86 its frequency is taken for 2 GHz, so spans are
 * right within a factor of two or three.
 */
static inline uint64_t clock_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else /* arm64 */
	uint64_t v;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#endif
}

static inline uint64_t clock_ticks_of_us(uint64_t us)
{
#if defined(__x86_64__)
	return us * 2000;
#else
	uint64_t hz;
	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hz));
	return us * hz / 1000000;
#endif
}

/* In a loop that waits for another processor to write memory. */
static inline void clock_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

#endif
