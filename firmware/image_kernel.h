/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of a directory, for images without a boot loader's configuration. */
#ifndef FIRMWARE_IMAGE_KERNEL_H
#define FIRMWARE_IMAGE_KERNEL_H

#include <stdbool.h>

#include "firmware/grub.h"

struct extfs;

/*
 * The newest vmlinuz-VERSION of directory @dir ("/boot", or "" for the root) by Debian's order, and
 * the initrd that belongs to it ("" if there is none). -> false: no kernel there.
 */
bool image_kernel_newest(struct extfs *fs, const char *dir, char kernel[GRUB_PATH_CHARS],
			 char initrd[GRUB_PATH_CHARS]);

#endif
