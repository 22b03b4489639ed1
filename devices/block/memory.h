/* SPDX-License-Identifier: Apache-2.0 */
/* A read-only disk in memory. */
#ifndef BLOCK_MEMORY_H
#define BLOCK_MEMORY_H

#include "devices/block/block.h"

/*
 * A disk of @len_bytes, a multiple of BLK_SECTOR_BYTES and not 0, whose contents are @data: malloc'd memory, the node's own
 * on success; wiped and freed when it is closed. @name is copied, for messages. No loop runs. -> 0, -EINVAL (its length),
 * -ENOMEM or -errno, none logged.
 */
int blk_memory(struct loop *l, const char *name, void *data, size_t len_bytes,
	       struct blk_node **out);

#endif
