/* SPDX-License-Identifier: Apache-2.0 */
/* The root= that a kernel from an image needs. */
#ifndef FIRMWARE_IMAGE_ROOT_H
#define FIRMWARE_IMAGE_ROOT_H

#include <stdbool.h>

#include "firmware/cmdline.h"
#include "firmware/image_fs.h"

/*
 * Makes sure that @c names the root file system so that this machine finds it. A root= that is
 * there stays, but for the name of a disk of another machine (root=/dev/sda1), which becomes the
 * UUID of that partition. If there is none, the root file system is looked for; @boot_fs is the one
 * that has the kernel.
 * @has_initrd: without one, the kernel itself has to understand root=, and knows only PARTUUID= and
 * devices.
 */
void image_root_fix(struct image_fs *im, unsigned int boot_fs, bool has_initrd, struct cmdline *c);

#endif
