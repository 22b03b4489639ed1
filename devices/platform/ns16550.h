/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port of a PC: National Semiconductor PC16550D on a character stream. */
#ifndef PLATFORM_NS16550_H
#define PLATFORM_NS16550_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

struct chardev;

struct ns16550_config {
	uint16_t port; /* eight ports from here on */
	uint32_t gsi;
	struct chardev *chardev; /* not owned; outlives the device, nobody else's port */
	/* For a BIOS, which reads what it finds and never asserts RTS: that the FIFOs are on is enough. */
	bool eager;
};

extern const struct device_ops ns16550_ops;

#endif
