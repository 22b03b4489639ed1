/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a small FAT12 disk with a few files in its root, for guests that look for their configuration on one
 * (Microsoft's "FAT: General Overview of On-Disk Format" 1.03, called FATGEN below). No partition table. The same input gives
 * the same bytes.
 */
#ifndef FIRMWARE_VFAT_H
#define FIRMWARE_VFAT_H

#include <stddef.h>
#include <stdint.h>

enum {
	VFAT_BYTES =
		1 << 20, /* of the disk, always, so that a guest's state fits whatever is in it */
	VFAT_LABEL_MAX = 11,
	VFAT_NAME_MAX = 26, /* of a file's name */
	VFAT_FILES_MAX = 4,
};

struct vfat_file {
	const char *
		name; /* kept as it is, as a long name: letters, digits, '.', '-', '_'; no two the same */
	const void *data;
	size_t len_bytes;
};

/*
 * @label: capital letters and digits. @serial: the volume's. *out: VFAT_BYTES, for the caller to free(). -> 0, -EINVAL (a name
 * or the label, too many files), -EFBIG (more than fits), -ENOMEM, none logged.
 */
int vfat_make(const char *label, uint32_t serial, const struct vfat_file *files,
	      unsigned int nfiles, uint8_t **out);

#endif
