/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ports at which a PC is reset: the keyboard controller's command that pulses the reset
 * line, without a keyboard controller, and the reset control register, which ACPI's FADT names.
 */
#ifndef PLATFORM_RESET_PORT_H
#define PLATFORM_RESET_PORT_H

#include <stdint.h>

#include "devices/device.h"

struct reset_port_config {
	uint16_t port;	       /* of commands and status: 0x64 */
	uint16_t control_port; /* 0xcf9; 0: none (a host bridge with configuration ports has it) */
};

extern const struct device_ops reset_port_ops;

#endif
