/* SPDX-License-Identifier: Apache-2.0 */
/* virtio over PCI (virtio 1.2, 4.1): the transport of every virtio device of ours. */
#ifndef VIRTIO_VIRTIO_PCI_H
#define VIRTIO_VIRTIO_PCI_H

#include "devices/virtio/virtio.h"

/* Where things are in BAR 0; drivers find them by the capabilities. */
enum {
	VIRTIO_PCI_BAR = 0,
	VIRTIO_PCI_COMMON_OFF = 0x0000,
	VIRTIO_PCI_ISR_OFF = 0x1000,
	VIRTIO_PCI_DEVICE_OFF = 0x2000,
	VIRTIO_PCI_NOTIFY_OFF = 0x3000,
	VIRTIO_PCI_MSIX_TABLE_OFF = 0x4000,
	VIRTIO_PCI_MSIX_PBA_OFF = 0x5000,
	VIRTIO_PCI_BAR_BYTES = 0x8000,
	VIRTIO_PCI_NOTIFY_MULTIPLIER = 4,
};

/*
 * Gives the device its place on the bus; v->transport is set whatever happens, for
 * virtio_transport_ops.destroy. -> 0, -ENOMEM, or what pci_function_init() says; logged.
 */
int virtio_pci_create(struct virtio_device *v, const struct virtio_params *p);

#endif
