/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overflow-checked arithmetic and small numeric helpers. Every sum or product with a
 * number that came from a guest, an image, a snapshot or a peer goes through these.
 */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns true when the result fits and stores it; false (result unusable) on overflow. */
#define ck_add(a, b, res) (!__builtin_add_overflow((a), (b), (res)))
#define ck_sub(a, b, res) (!__builtin_sub_overflow((a), (b), (res)))
#define ck_mul(a, b, res) (!__builtin_mul_overflow((a), (b), (res)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#ifdef __cppcheck__ /* its parser stumbles over what is below in an initialiser */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#else
#define MIN(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) min_a_ = (a);                                                        \
		__typeof__(b) min_b_ = (b);                                                        \
		min_a_ < min_b_ ? min_a_ : min_b_;                                                 \
	})
#define MAX(a, b)                                                                                  \
	({                                                                                         \
		__typeof__(a) max_a_ = (a);                                                        \
		__typeof__(b) max_b_ = (b);                                                        \
		max_a_ > max_b_ ? max_a_ : max_b_;                                                 \
	})
#endif

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* The object that holds @member at @ptr. */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* True when [off, off+len) lies inside [0, size); never overflows, len 0 is inside at off <= size. */
static inline bool ck_range(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* True when v is a power of two (0 is none). */
static inline bool is_pow2(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* v rounded down / up to a multiple of align, a power of two. Up: the caller knows it fits. */
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return align_down(v + align - 1, align);
}

/* The quotient rounded up; d is not 0. */
static inline uint64_t div_round_up(uint64_t v, uint64_t d)
{
	return v / d + (v % d != 0);
}

#endif
