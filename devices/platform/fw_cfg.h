/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware configuration device (QEMU docs/specs/fw_cfg.rst): files that a firmware in the guest reads by
 * name. Read-only, through the two ports and through DMA.
 */
#ifndef PLATFORM_FW_CFG_H
#define PLATFORM_FW_CFG_H

#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"

enum {
	FW_CFG_FILES_MAX = 16,
	FW_CFG_NAME_CHARS = 55, /* of a file, without its NUL */
	FW_CFG_FILE_BYTES_MAX = 1 << 20,
	FW_CFG_PORTS = 12, /* selector, data, DMA address at 4 */
};

struct fw_cfg_config {
	uint16_t port;
	uint16_t ncpus; /* told to the firmware, which waits for so many to start */
};

extern const struct device_ops fw_cfg_ops;

/*
 * One file more; name and data are copied. They are part of the device's state, and a reset takes them away: who boots
 * the machine adds them again. The machine is stopped. -> 0, -EINVAL (name empty, too long or there already; no
 * data or too much), -ENOSPC (too many), -ENOMEM; not logged.
 */
int fw_cfg_add_file(struct device *d, const char *name, const void *data, size_t len_bytes);

#endif
