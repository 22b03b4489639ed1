/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry of a refcount block in memory, 1 << @order bits wide (qcow2: "Host cluster management"). Inline, for the loops over
 * whole blocks. Pure; @index is within the block.
 */
#ifndef BLOCK_QCOW2_REFCOUNT_BITS_H
#define BLOCK_QCOW2_REFCOUNT_BITS_H

#include <stdint.h>

#include "vmm/base/endian.h"

static inline uint64_t q_rb_get(const uint8_t *block, uint64_t index, uint32_t order)
{
	switch (order) {
	case 3: return block[index];
	case 4: return get_be16(block + index * 2);
	case 5: return get_be32(block + index * 4);
	case 6: return get_be64(block + index * 8);
	default: {
		uint32_t bits = 1u << order;
		uint64_t bit = index << order;
		return (block[bit / 8] >> (bit % 8)) & ((1u << bits) - 1);
	}
	}
}

static inline void q_rb_set(uint8_t *block, uint64_t index, uint32_t order, uint64_t value)
{
	switch (order) {
	case 3: block[index] = (uint8_t)value; break;
	case 4: put_be16(block + index * 2, (uint16_t)value); break;
	case 5: put_be32(block + index * 4, (uint32_t)value); break;
	case 6: put_be64(block + index * 8, value); break;
	default: {
		uint32_t bits = 1u << order;
		uint64_t bit = index << order;
		uint8_t mask = (uint8_t)(((1u << bits) - 1) << (bit % 8));
		uint8_t *b = &block[bit / 8];
		*b = (uint8_t)((*b & ~mask) | ((value << (bit % 8)) & mask));
	}
	}
}

#endif
