/* SPDX-License-Identifier: Apache-2.0 */
/* The dirty bitmaps that a qcow2 image carries, as listed by an image tool. */
#ifndef BLOCK_QCOW2_BITMAP_H
#define BLOCK_QCOW2_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

struct blk_node;

struct qcow2_bitmap {
	char *name;	      /* owned */
	bool in_use;	      /* not in step with the disk, or nobody knows */
	bool automatic;	      /* follows the disk */
	uint64_t granularity; /* bytes for a bit */
};

/* In a coroutine: all of them, qcow2_bitmaps_free() when done. -> 0, -EIO: a damaged directory; -errno. */
int qcow2_co_bitmaps(struct blk_node *n, struct qcow2_bitmap **out, uint32_t *n_out);
/* NULL is fine. */
void qcow2_bitmaps_free(struct qcow2_bitmap *v, uint32_t n);

#endif
