/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers behind the ACPI Generic Event Device and the sleep control of hardware-reduced ACPI
 * (ACPI 6.5: 5.6.9, 4.8.3.7, 4.8.3.8). The DSDT (firmware/) names the same numbers.
 */
#ifndef PLATFORM_EVENT_DEV_H
#define PLATFORM_EVENT_DEV_H

#include <stdint.h>

#include "devices/device.h"

enum {
	EVENT_DEV_PENDING = 0,	     /* 32 bits: what has happened, EVENT_DEV_*; reading clears */
	EVENT_DEV_SLEEP_CONTROL = 8, /* 8 bits: SLP_TYP in bits 4:2, SLP_EN bit 5 */
	EVENT_DEV_SLEEP_STATUS = 9,  /* 8 bits: WAK bit 7, written 1 to clear */
	EVENT_DEV_LEN = 0x10,

	EVENT_DEV_POWER_BUTTON = 1 << 0,
	EVENT_DEV_VM_GENERATION = 1 << 1, /* the machine goes on from a snapshot */

	EVENT_DEV_SLEEP_TYPE_S5 = 5,
};

struct event_dev_config {
	uint64_t gpa; /* EVENT_DEV_LEN bytes from here on */
	uint32_t gsi; /* level-triggered */
};

extern const struct device_ops event_dev_ops;

/* Presses the power button: an event for the guest. Loop thread, without the device's lock. */
void event_dev_power_button(struct device *d);
/* Tells the guest of a new VM generation once it runs. The machine is stopped. */
void event_dev_vm_generation(struct device *d);

#endif
