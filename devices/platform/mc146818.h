/* SPDX-License-Identifier: Apache-2.0 */
/* The real-time clock and CMOS memory of a PC: Motorola MC146818 with 128 bytes and a century. */
#ifndef PLATFORM_MC146818_H
#define PLATFORM_MC146818_H

#include <stdint.h>

#include "devices/device.h"

struct mc146818_config {
	uint16_t port; /* index; data is the next one */
	uint32_t gsi;
	/* Time of day, ns since 1970 UTC; NULL: the host's CLOCK_REALTIME. */
	int64_t (*now_ns)(void *opaque);
	void *opaque;
	/* RAM below and above 4 GiB, noted where a BIOS has it; low 0: nothing is noted. */
	uint64_t low_ram_bytes;
	uint64_t high_ram_bytes;
};

extern const struct device_ops mc146818_ops;

#endif
