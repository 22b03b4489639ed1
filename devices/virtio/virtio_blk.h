/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk (virtio 1.2, 5.2): a disk on a block node. */
#ifndef VIRTIO_VIRTIO_BLK_H
#define VIRTIO_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

struct blk_node;

enum { VIRTIO_BLK_QUEUES_MAX = 16, VIRTIO_BLK_SERIAL_BYTES = 20 };

/* What becomes of a request that the host could not do. */
enum virtio_blk_on_error {
	VIRTIO_BLK_STOP_WHEN_FULL, /* no room on the host (ENOSPC, EDQUOT) stops; the guest is told of others */
	VIRTIO_BLK_STOP,   /* every error of the host stops */
	VIRTIO_BLK_REPORT, /* the guest is told of every one */
};

extern const struct device_ops virtio_blk_device;

/* For virtio_blk_device.create(). */
struct virtio_blk_config {
	uint8_t pci_slot;
	struct blk_node *node; /* outlives the device; of the device's home loop */
	const char *serial;    /* up to VIRTIO_BLK_SERIAL_BYTES are told; NULL: none */
	uint16_t num_queues;   /* 1 .. VIRTIO_BLK_QUEUES_MAX, no more than vCPUs; 0: 1 */
	enum virtio_blk_on_error on_error;
	/*
	 * @on: a request has failed in a way that stops; it is kept and tried again until it succeeds, and
	 * the vCPUs had better pause. Not @on: none is kept any more. Home loop, the device's lock
	 * held: post what waits for anybody. NULL: kept all the same.
	 */
	void (*stopped)(void *opaque, bool on);
	void *stopped_opaque;
};

/* Requests that are kept fail with their error instead, and later ones as well, until the device is reset:
 * for a machine that is about to end. Any thread. */
void virtio_blk_give_up(struct device *d);

/* Does a driver in the guest use it at the moment? Any thread, without the device's lock. */
bool virtio_blk_has_driver(struct device *d);

#endif
