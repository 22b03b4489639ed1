/* SPDX-License-Identifier: Apache-2.0 */
/* The io_manager that libext2fs reads a block node through; extfs*.c's alone. */
#ifndef FIRMWARE_EXTFS_IO_H
#define FIRMWARE_EXTFS_IO_H

#include <ext2fs/ext2fs.h>
#include <stdint.h>

struct blk_node;

enum { EXTFS_IO_WINDOWS = 8, EXTFS_IO_NAME_CHARS = 32 };

/* A piece of the disk that was read. */
struct extfs_window {
	uint64_t off;
	uint64_t len;  /* 0: none */
	uint64_t used; /* when, for the choice of the one to replace */
	uint8_t *data;
};

/* Zero it, fill in the first group. */
struct extfs_io {
	struct blk_node *node;
	uint64_t off; /* of the file system, bytes */
	uint64_t len;

	uint32_t budget; /* EXTFS_BUDGET at first */
	int err;	 /* the last -errno of the node's */
	uint64_t clock;
	struct extfs_window windows[EXTFS_IO_WINDOWS];
	struct struct_io_manager manager;
	char name[EXTFS_IO_NAME_CHARS]; /* to be given to ext2fs_open2() with &manager */
};

void extfs_io_init(struct extfs_io *io);
void extfs_io_clear(struct extfs_io *io);

/* [off, off+len) of the file system, not through the windows. -> 0, -EIO (outside, budget spent),
 * -errno. */
int extfs_io_read(struct extfs_io *io, uint64_t off, void *buf, uint64_t len);

#endif
