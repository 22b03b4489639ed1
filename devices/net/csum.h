/* SPDX-License-Identifier: Apache-2.0 */
/* The Internet checksum (RFC 1071), a frame at a time. */
#ifndef NET_CSUM_H
#define NET_CSUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct net_offload;

/*
 * The one's complement sum of @len bytes at @p (an odd last byte counts as the first of a pair),
 * folded to 16 bits and not inverted, in the memory order of the network: store and compare it as
 * two bytes. @seed is such a sum of what stands before, of even length.
 */
uint16_t csum_sum(const void *p, size_t len, uint16_t seed);

/*
 * Does what the guest left undone of the checksum of @frame. false: the guest's numbers point
 * outside of the frame, and nothing was written.
 */
bool csum_complete(uint8_t *frame, size_t len, const struct net_offload *off);

#endif
