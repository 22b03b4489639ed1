/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading files out of an ext2/3/4 file system on a block node, through libext2fs. Read-only: a
 * journal that needs recovery is told and not replayed, as boot loaders do.
 *
 * The file system is hostile: bounded are reads (EXTFS_BUDGET), memory and the size of a file.
 * For the thread of the node's loop, while that loop does not run.
 */
#ifndef FIRMWARE_EXTFS_H
#define FIRMWARE_EXTFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firmware/blob.h"

struct blk_node;
struct extfs;

enum {
	EXTFS_UUID_CHARS = 37,
	EXTFS_LABEL_CHARS = 17,
	EXTFS_ENTRIES_MAX = 1 << 16, /* of a directory that are looked at */
	/* What one call may cost: 1 for a block out of memory, EXTFS_READ_COST for a request to the
	   disk. */
	EXTFS_BUDGET = 1 << 22,
	EXTFS_READ_COST = 64,
};

/*
 * The file system at [off, off+len) bytes of @n. -> 0 and *out (extfs_close() it), -ENODEV (none of
 * this kind), -EINVAL (damaged, or larger than its partition), -ENOTSUP (a feature libext2fs
 * lacks), -ENOMEM, -EIO, none of them logged; -ENOENT (libext2fs is not installed; logged).
 */
int extfs_open(struct blk_node *n, uint64_t off, uint64_t len, struct extfs **out);
void extfs_close(struct extfs *fs);

/* Lower case, as UUID= has it. */
const char *extfs_uuid(const struct extfs *fs);
const char *extfs_label(const struct extfs *fs);
/* "ext2", "ext3", "ext4". */
const char *extfs_type(const struct extfs *fs);
bool extfs_needs_recovery(const struct extfs *fs);

/* Symlinks are followed, inside this file system. A regular file; what is a directory. */
bool extfs_is_file(struct extfs *fs, const char *path, bool nonempty);
bool extfs_is_dir(struct extfs *fs, const char *path);

/*
 * A whole regular file. -> 0, -ENOENT (also: a symlink that leaves the file system), -EISDIR,
 * -EFBIG (above
 * @max_bytes), -EINVAL (damaged), -ENOMEM, -EIO.
 */
int extfs_read_file(struct extfs *fs, const char *path, size_t max_bytes, struct blob *out);
/* The same into malloc'd memory with a NUL behind it; the text may have NULs inside. */
int extfs_read_text(struct extfs *fs, const char *path, size_t max_bytes, char **text,
		    size_t *len_bytes);

/* Each name of a directory in the order of the disk, without "." and "..". -> 0, -ENOENT, -ENOTDIR,
 * … */
int extfs_list(struct extfs *fs, const char *path, void (*each)(void *opaque, const char *name),
	       void *opaque);

/*
 * Each run of blocks that the file system does not use, in bytes from its beginning, ascending; @each
 * may end it with an error. -> 0; -EUCLEAN: it was not unmounted cleanly, or its bitmaps do not
 * agree with its own count of free blocks; -ENOTSUP: clusters of blocks, or above 2^31 blocks (the
 * bitmap takes a bit for each); -EINVAL, -ENOMEM, -EIO; what @each gave.
 */
int extfs_each_free(struct extfs *fs, int (*each)(void *opaque, uint64_t off, uint64_t len),
		    void *opaque);

#endif
