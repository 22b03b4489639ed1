/* SPDX-License-Identifier: Apache-2.0 */
/* The file systems of a disk image, and GRUB's view of them. */
#ifndef FIRMWARE_IMAGE_FS_H
#define FIRMWARE_IMAGE_FS_H

#include "firmware/extfs.h"
#include "firmware/grub.h"
#include "firmware/partition.h"

enum { IMAGE_FS_MAX = 16 };

struct image_fs {
	struct blk_node *disk;
	struct partition_table table;
	unsigned int n;
	struct {
		const struct partition *part;
		struct extfs *fs;
	} fss[IMAGE_FS_MAX];
};

/* The callbacks for grub_choose(); opaque is a struct image_fs. */
extern const struct grub_ops image_fs_grub_ops;

/*
 * Reads the partition table and opens every ext2/3/4 file system. A damaged one is left out with a
 * warning. @quiet: nothing is logged, for one of several who look.
 * -> 0 (also when there is none), -EINVAL (damaged partition table, logged), -errno of reading
 * (logged).
 */
int image_fs_open(struct image_fs *im, struct blk_node *disk, bool quiet);
void image_fs_close(struct image_fs *im);

/* GRUB's name of the partition of file system @i: "hd0,gpt2". */
void image_fs_grub_dev(const struct image_fs *im, unsigned int i, char dev[GRUB_DEV_CHARS]);
/* The file system with GRUB's name @dev; -1: none. */
int image_fs_by_grub_dev(const struct image_fs *im, const char *dev);
/* The file system on @part; -1: none. */
int image_fs_of(const struct image_fs *im, const struct partition *part);

#endif
