/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net (virtio 1.2, 5.1): a network card on a packet backend. */
#ifndef VIRTIO_VIRTIO_NET_H
#define VIRTIO_VIRTIO_NET_H

#include <stdint.h>

#include "devices/device.h"

struct net_backend;

extern const struct device_ops virtio_net_device;

/* For virtio_net_device.create(). */
struct virtio_net_config {
	uint8_t pci_slot;
	/* Outlives the device, which attaches itself to it; of the device's home loop. Its MAC and
	 * MTU are what the guest is told. */
	struct net_backend *backend;
};

#endif
