/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block node in memory, behind the real dispatcher. Requests wait until the test lets them go, so
 * that it can look at, reset or save a device with work in flight.
 */
#ifndef TESTS_VIRTIO_FAKE_BLK_H
#define TESTS_VIRTIO_FAKE_BLK_H

#include "devices/block/node.h"
#include "vmm/core/loop.h"

enum { FAKE_BLK_BYTES = 1 << 20 };

struct fake_blk {
	struct blk_node node;
	bool hold; /* requests wait for fake_blk_release() */
	int fail;  /* what the next requests end with */
	struct loop_task task;
	struct list waiting;
	unsigned int ops[BLK_STATUS + 1];
	uint32_t last_flags;
	uint8_t data[FAKE_BLK_BYTES];
};

struct fake_blk *fake_blk_create(struct loop *l);
void fake_blk_destroy(struct fake_blk *n);
/* Completes what waits, on the loop. */
void fake_blk_release(struct fake_blk *n);

#endif
