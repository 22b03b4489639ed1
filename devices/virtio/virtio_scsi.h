/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-scsi (virtio 1.2, 5.6) with one target, 0: a CD-ROM drive. A BIOS boots from one; from virtio-blk it does not. */
#ifndef VIRTIO_VIRTIO_SCSI_H
#define VIRTIO_VIRTIO_SCSI_H

#include <stdint.h>

#include "devices/device.h"

struct blk_node;

extern const struct device_ops virtio_scsi_device;

/* For virtio_scsi_device.create(). */
struct virtio_scsi_config {
	uint8_t pci_slot;
	struct blk_node *medium; /* outlives the device; of the device's home loop */
};

#endif
