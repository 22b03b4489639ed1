/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng (virtio 1.2, 5.4): random bytes of the host's for the guest. */
#ifndef VIRTIO_VIRTIO_RNG_H
#define VIRTIO_VIRTIO_RNG_H

#include <stdint.h>

#include "devices/device.h"

extern const struct device_ops virtio_rng_device;

/* For virtio_rng_device.create(). */
struct virtio_rng_config {
	uint8_t pci_slot;
};

#endif
