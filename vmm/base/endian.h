/* SPDX-License-Identifier: Apache-2.0 */
/* Loads and stores of little- and big-endian integers at any alignment. */
#ifndef BASE_ENDIAN_H
#define BASE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BASE_ENDIAN_DEFINE(name, bits, from, to)                                                   \
	static inline uint##bits##_t get_##name##bits(const void *p)                               \
	{                                                                                          \
		uint##bits##_t v;                                                                  \
		memcpy(&v, p, sizeof(v));                                                          \
		return from(v);                                                                    \
	}                                                                                          \
	static inline void put_##name##bits(void *p, uint##bits##_t v)                             \
	{                                                                                          \
		v = to(v);                                                                         \
		memcpy(p, &v, sizeof(v));                                                          \
	}

BASE_ENDIAN_DEFINE(le, 16, le16toh, htole16)
BASE_ENDIAN_DEFINE(le, 32, le32toh, htole32)
BASE_ENDIAN_DEFINE(le, 64, le64toh, htole64)
BASE_ENDIAN_DEFINE(be, 16, be16toh, htobe16)
BASE_ENDIAN_DEFINE(be, 32, be32toh, htobe32)
BASE_ENDIAN_DEFINE(be, 64, be64toh, htobe64)

#undef BASE_ENDIAN_DEFINE

#endif
