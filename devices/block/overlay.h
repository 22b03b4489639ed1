/* SPDX-License-Identifier: Apache-2.0 */
/* A throw-away overlay: what is written is gone when it is closed. */
#ifndef BLOCK_OVERLAY_H
#define BLOCK_OVERLAY_H

#include "devices/block/block.h"

/*
 * Puts a writable overlay on @base, which it owns on success and never writes to. Its data goes to a
 * file without a name in @dir (NULL: $TMPDIR or /var/tmp), which the kernel removes with the process.
 * No loop runs. -> 0, or -errno after one log line.
 */
int blk_overlay(struct blk_node *base, const char *dir, struct blk_node **out);

#endif
