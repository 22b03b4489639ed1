/* SPDX-License-Identifier: Apache-2.0 */
/* A copy under way; for copy.c and copy_chunk.c only. */
#ifndef TOOLS_IMAGE_COPY_INT_H
#define TOOLS_IMAGE_COPY_INT_H

#include "tools/image/copy.h"

enum { COPY_SLOTS_MIN = 8, COPY_SLOTS_MAX = 64 };

struct copier;

/* A chunk on its way. */
struct copy_slot {
	struct copier *c;
	struct blk_req req;
	struct iovec iov;
	uint8_t *buf, *than; /* than: what is there instead; NULL when nothing is compared */
	uint64_t off, len;
	uint64_t at, next; /* in it: the write under way */
	bool busy;
};

struct copier {
	struct image_copy what;
	uint64_t size;
	uint64_t unit;	     /* zeroes and differences are looked for in these */
	uint64_t align;	     /* of extents */
	uint64_t chunk;	     /* bytes of a buffer */
	uint64_t scan_off;   /* everything before it is copied or under way */
	uint64_t extent_end; /* up to here there is data */
	uint64_t copied;
	struct blk_req scan;
	struct blk_status status; /* of the source */
	struct blk_status than;	  /* of what is compared with */
	bool scanning, done;
	unsigned int n_slots, n_busy;
	int err;
	struct copy_slot slots[COPY_SLOTS_MAX];
};

/* ---- copy.c ---- */

/* Starts what can be started. */
void copy_step(struct copier *c);
/* The first error ends the copy; @what: "read", "written". */
void copy_fail(struct copier *c, const struct blk_node *n, const char *what, uint64_t off, int err);
void copy_count(struct copier *c, uint64_t bytes);

/* ---- copy_chunk.c ---- */

/* The next chunk of the extent, in a slot that is free. */
void copy_start_chunk(struct copy_slot *s);

#endif
