/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the common part share: virtio.c, virtio_state.c. */
#ifndef DEVICES_VIRTIO_VIRTIO_INT_H
#define DEVICES_VIRTIO_VIRTIO_INT_H

#include <linux/virtio_config.h>

#include "devices/virtio/virtio.h"

/* The bits of the status that are the driver's to set. */
enum {
	STATUS_DRIVER = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK |
			VIRTIO_CONFIG_S_FAILED,
	STATUS_ALL = STATUS_DRIVER | VIRTIO_CONFIG_S_NEEDS_RESET,
};

/* FEATURES_OK stays only where the choice is one that we can serve (2.2.2). */
bool virtio_features_fit(struct virtio_device *v);
/* The queue becomes one that is served, with a doorbell. The device's lock is held. -> 0; -EINVAL: what the driver set up is no queue. */
int virtio_enable_queue(struct virtio_device *v, unsigned int q);

#endif
