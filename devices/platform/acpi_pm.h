/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed power management registers of ACPI (6.5, 4.8.3.1 and 4.8.3.2) for a machine that a BIOS boots: such a
 * machine has the chips of a PC and cannot call itself hardware-reduced.
 */
#ifndef PLATFORM_ACPI_PM_H
#define PLATFORM_ACPI_PM_H

#include <stdint.h>

#include "devices/device.h"

enum {
	ACPI_PM_STATUS = 0, /* 16 bits each, from the port on; the first two are PM1a_EVT_BLK */
	ACPI_PM_ENABLE = 2,
	ACPI_PM_CONTROL = 4, /* PM1a_CNT_BLK: SCI_EN, SLP_TYP in bits 12:10, SLP_EN bit 13 */
	ACPI_PM_PORTS = 6,

	ACPI_PM_SLEEP_TYPE_S5 = 5,
};

struct acpi_pm_config {
	uint16_t port;
};

extern const struct device_ops acpi_pm_ops;

#endif
