/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is all zeroes. */
#ifndef BASE_ZERO_H
#define BASE_ZERO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Are all of the @bytes at @buf zero? Of none of them, yes. Any thread, and a child after fork(2): it only reads.
 * Compared with itself, one byte on: libc's fastest loop over all bytes, which ends at the first that is not. */
static inline bool mem_is_zero(const void *buf, size_t bytes)
{
	const char *p = buf;
	return !bytes || (!p[0] && !memcmp(p, p + 1, bytes - 1));
}

/* Tables are mostly empty: the next piece of @piece bytes at @p or behind it that is not all zero, or, where less than a piece is
 * left before @end, what is left. Any thread. */
static inline uint8_t *mem_skip_zero(const uint8_t *p, const uint8_t *end, size_t piece)
{
	while ((size_t)(end - p) >= piece && mem_is_zero(p, piece))
		p += piece;
	return (uint8_t *)(uintptr_t)
		p; /* as strchr() does: the caller knows whether it may be written */
}

#endif
