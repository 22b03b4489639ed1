/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes kernel, initrd and command line out of a disk image, as the distribution inside would boot
 * itself.
 *
 * Looked for, in this order, on every ext2/3/4 file system of the image:
 *   1. the default entry of /boot/grub/grub.cfg or /boot/grub2/grub.cfg (or without /boot, on a
 * boot partition);
 *   2. boot loader entries in /boot/loader/entries or /loader/entries;
 *   3. the newest /boot/vmlinuz-VERSION, or /vmlinuz-VERSION, with its initrd;
 *   4. /vmlinuz, /boot/vmlinuz, with /initrd.img beside it.
 */
#ifndef FIRMWARE_IMAGE_BOOT_H
#define FIRMWARE_IMAGE_BOOT_H

#include <stdbool.h>

#include "firmware/blob.h"
#include "firmware/boot.h"

struct blk_node;

enum image_boot_quiet {
	IMAGE_BOOT_QUIET_AS_IS, /* as the image has it */
	IMAGE_BOOT_QUIET_ON,
	IMAGE_BOOT_QUIET_OFF,
};

struct image_boot_config {
	const char
		*console; /* "ttyS0", "hvc0": made the system console; NULL: as the image has it */
	enum image_boot_quiet quiet;
	const char *append; /* more for the end of the command line; NULL: none */
	bool none_is_fine;  /* -ENOENT is not logged */
};

enum { IMAGE_BOOT_NAME_CHARS = 1024, IMAGE_BOOT_DESCRIPTION_CHARS = 2048 };

/* image_boot_release() it. */
struct image_boot {
	struct blob kernel;
	struct blob initrd; /* data NULL: none */
	char cmdline[BOOT_CMDLINE_MAX + 1];
	bool cloud_init; /* the system inside has cloud-init, and it is not switched off */
	char kernel_name[IMAGE_BOOT_NAME_CHARS]; /* for messages: its path and the image's */
	/* For --verbose: what was taken from where, and why, in one line. */
	char description[IMAGE_BOOT_DESCRIPTION_CHARS];
};

/*
 * Reads it all from @disk. On the thread of the disk's loop, while that loop does not run. Each
 * failure is logged once. -> 0; -ENOENT (no kernel inside), -E2BIG (command line), -EFBIG (kernel
 * or initrd), -EINVAL (damaged), -ENOMEM, -EIO and other errors of reading.
 */
int image_boot_find(struct blk_node *disk, const struct image_boot_config *cfg,
		    struct image_boot *out);
/* Of a zeroed or released one too. */
void image_boot_release(struct image_boot *b);

/* image_boot.cloud_init for an image that is started in another way. Nothing is logged. */
bool image_boot_has_cloud_init(struct blk_node *disk);

#endif
