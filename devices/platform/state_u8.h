/* SPDX-License-Identifier: Apache-2.0 */
/* One-byte registers in the state tree: cells of 4 bytes that hold at most 255. */
#ifndef PLATFORM_STATE_U8_H
#define PLATFORM_STATE_U8_H

#include <errno.h>
#include <stdint.h>

#include "vmm/core/state.h"

/* -> 0 and *v, -ENOENT, -EINVAL (another size, or more than a byte). */
static inline int state_get_u8(struct state_node n, const char *name, uint8_t *v)
{
	uint32_t wide;
	int err = state_get_u32(n, name, &wide);
	if (!err && wide > UINT8_MAX)
		err = -EINVAL;
	if (!err)
		*v = (uint8_t)wide;
	return err;
}

#endif
