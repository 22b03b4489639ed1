/* SPDX-License-Identifier: Apache-2.0 */
/* The Internet checksum. */
/*
 * How it works. The sum does not care about the width or the byte order of its terms (RFC 1071, 2),
 * so eight bytes are added at a time and the carries are added back at the end: a 64 KiB segment
 * costs two instructions for each eight bytes.
 */
#include "devices/net/csum.h"

#include <string.h>

#include "devices/net/net.h"
#include "vmm/base/checked.h"

/* One's complement addition. */
static inline uint64_t add64(uint64_t sum, uint64_t v)
{
	sum += v;
	return sum + (sum < v);
}

static uint64_t load_tail(const uint8_t *p, size_t len)
{
	uint64_t v = 0;
	memcpy(&v, p, len);
	return v;
}

static uint16_t fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint16_t csum_sum(const void *p, size_t len, uint16_t seed)
{
	const uint8_t *at = p;
	uint64_t a = seed, b = 0;
	for (; len >= 32; at += 32, len -= 32) {
		uint64_t v[4];
		memcpy(v, at, sizeof(v));
		a = add64(add64(a, v[0]), v[1]);
		b = add64(add64(b, v[2]), v[3]);
	}
	for (; len >= 8; at += 8, len -= 8)
		a = add64(a, load_tail(at, 8));
	return fold(add64(add64(a, b), load_tail(at, len)));
}

bool csum_complete(uint8_t *frame, size_t len, const struct net_offload *off)
{
	size_t at = (size_t)off->csum_start + off->csum_offset;
	if (!ck_range(at, 2, len))
		return false;
	uint16_t sum = (uint16_t)~csum_sum(frame + off->csum_start, len - off->csum_start, 0);
	/* In UDP 0 says "no checksum" (RFC 768); elsewhere the two zeroes of one's complement are
	 * the same. */
	if (!sum)
		sum = 0xffff;
	memcpy(frame + at, &sum, sizeof(sum));
	return true;
}
