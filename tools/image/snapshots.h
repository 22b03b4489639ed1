/* SPDX-License-Identifier: Apache-2.0 */
/* The table of internal snapshots, as read by info and snapshot. */
#ifndef TOOLS_IMAGE_SNAPSHOTS_H
#define TOOLS_IMAGE_SNAPSHOTS_H

#include <jansson.h>
#include <stdint.h>

#include "devices/block/qcow2/snapshot.h"

struct image_snapshots {
	struct qcow2_snapshot *v;
	uint32_t n;
};

/* Reads it; qcow2_snapshots_free() when done. A raw image has none. -> 0, or -errno after a message. */
int image_snapshots_read(struct blk_node *n, struct image_snapshots *out);
/* The table as qemu-img prints it; with a column for the parents where they are recorded. */
void image_snapshots_print(const struct image_snapshots *s);
/* The table as `info --json` has it. -> the caller's. */
json_t *image_snapshots_json(const struct image_snapshots *s);

#endif
