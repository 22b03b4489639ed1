/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as text. */
#include "vmm/base/base64.h"

#include <stdint.h>

#include "vmm/base/checked.h"

size_t base64_size(size_t len_bytes)
{
	return (len_bytes + 2) / 3 * 4 + 1;
}

char *base64_encode(char *out, const void *data, size_t len_bytes)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/";
	const uint8_t *p = data;
	for (; len_bytes; p += MIN(len_bytes, (size_t)3), len_bytes -= MIN(len_bytes, (size_t)3)) {
		uint32_t v = (uint32_t)p[0] << 16;
		v |= len_bytes > 1 ? (uint32_t)p[1] << 8 : 0;
		v |= len_bytes > 2 ? p[2] : 0;
		*out++ = digits[v >> 18];
		*out++ = digits[v >> 12 & 63];
		*out++ = len_bytes > 1 ? digits[v >> 6 & 63] : '=';
		*out++ = len_bytes > 2 ? digits[v & 63] : '=';
	}
	*out = '\0';
	return out;
}
