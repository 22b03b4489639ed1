/* SPDX-License-Identifier: Apache-2.0 */
/* Another size for an open image, as resize and commit need it. */
#ifndef TOOLS_IMAGE_RESIZE_H
#define TOOLS_IMAGE_RESIZE_H

#include <stdint.h>

struct blk_node;

/* @path: of a raw image, which must be opened again to see its new size. -> 0, or -errno after a message. */
int image_set_size(struct blk_node *n, const char *path, uint64_t size);

#endif
