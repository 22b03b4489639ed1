/* SPDX-License-Identifier: Apache-2.0 */
/* Copying the contents of one image into another, several requests at a time. */
#ifndef TOOLS_IMAGE_COPY_H
#define TOOLS_IMAGE_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/block/block.h"

struct image_progress;
struct loop;

/* Which parts of the source. */
enum image_copy_which {
	COPY_ALL,
	COPY_ALLOCATED,	  /* what it stores itself */
	COPY_UNALLOCATED, /* what shows through from below */
};

/* Zeroed but for from, to and what is wanted. */
struct image_copy {
	struct blk_node *from, *to; /* both on one loop; @to is as large as @from at least */
	struct blk_node *than; /* only what differs from this one is written; NULL: everything is */
	uint32_t cluster_bytes; /* of the target; what is written are whole ones. 0: raw */
	uint32_t sparse_bytes;	/* zeroes in a row that are left out; 0: 4096 or a cluster */
	bool fresh;		/* the target reads as zeroes: those need not be written */
	bool dense;		/* zeroes and holes are written as data */
	bool compress;
	enum image_copy_which which;
	unsigned int threads; /* that compress; 0: one */
	struct image_progress *progress;
};

/* -> 0; -EINTR (output_interrupted()); or -errno after a message. The target is not flushed. */
int image_copy(struct loop *l, const struct image_copy *what);

#endif
