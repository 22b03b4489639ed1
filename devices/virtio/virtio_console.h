/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console (virtio 1.2, 5.3): a console and named ports, each on a character stream. */
#ifndef VIRTIO_VIRTIO_CONSOLE_H
#define VIRTIO_VIRTIO_CONSOLE_H

#include <stdint.h>

#include "devices/device.h"

struct chardev;

enum { VIRTIO_CONSOLE_PORTS_MAX = 9 };

extern const struct device_ops virtio_console_device;

struct virtio_console_port {
	/* NULL: a console (hvc0 in the guest); else /dev/virtio-ports/NAME. Kept, not copied. */
	const char *name;
	/* Outlives the device, which attaches itself to it; of the device's home loop. NULL:
	 * nowhere. */
	struct chardev *chardev;
};

/* For virtio_console_device.create(). Port 0 is the console; its number and their order are what a
 * snapshot is restored by. */
struct virtio_console_config {
	uint8_t pci_slot;
	unsigned int nports; /* 1 .. VIRTIO_CONSOLE_PORTS_MAX */
	struct virtio_console_port ports[VIRTIO_CONSOLE_PORTS_MAX];
};

#endif
