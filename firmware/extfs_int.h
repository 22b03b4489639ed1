/* SPDX-License-Identifier: Apache-2.0 */
/* What extfs.c and extfs_free.c share, and nobody else. */
#ifndef FIRMWARE_EXTFS_INT_H
#define FIRMWARE_EXTFS_INT_H

#include "firmware/extfs.h"
#include "firmware/extfs_io.h"
#include "firmware/extfs_lib.h"

struct extfs {
	struct extfs_lib lib;
	struct extfs_io io;
	ext2_filsys fs;
	char uuid[EXTFS_UUID_CHARS];
	char label[EXTFS_LABEL_CHARS];
};

/* Before each operation. */
static inline void extfs_begin(struct extfs *fs)
{
	fs->io.err = 0;
}

/* What libext2fs says, as -errno; that of the disk where it is the cause. */
int extfs_errno(const struct extfs *fs, errcode_t e);

#endif
