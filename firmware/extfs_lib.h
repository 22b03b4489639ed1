/* SPDX-License-Identifier: Apache-2.0 */
/* libext2fs, loaded when the first file system is looked into; extfs*.c's alone. */
#ifndef FIRMWARE_EXTFS_LIB_H
#define FIRMWARE_EXTFS_LIB_H

#include <ext2fs/ext2fs.h>

/* What we call of it, and no more. */
#define EXTFS_LIB_FUNCTIONS(X)                                                                     \
	X(open2, ext2fs_open2)                                                                     \
	X(free, ext2fs_free)                                                                       \
	X(namei_follow, ext2fs_namei_follow)                                                       \
	X(read_inode, ext2fs_read_inode)                                                           \
	X(extent_open2, ext2fs_extent_open2)                                                       \
	X(extent_get, ext2fs_extent_get)                                                           \
	X(extent_free, ext2fs_extent_free)                                                         \
	X(bmap2, ext2fs_bmap2)                                                                     \
	X(file_open, ext2fs_file_open)                                                             \
	X(file_read, ext2fs_file_read)                                                             \
	X(file_close, ext2fs_file_close)                                                           \
	X(dir_iterate2, ext2fs_dir_iterate2)                                                       \
	X(blocks_count, ext2fs_blocks_count)                                                       \
	X(free_blocks_count, ext2fs_free_blocks_count)                                             \
	X(read_block_bitmap, ext2fs_read_block_bitmap)                                             \
	X(find_first_zero, ext2fs_find_first_zero_block_bitmap2)                                   \
	X(find_first_set, ext2fs_find_first_set_block_bitmap2)

/* As ext2fs.h declares them. */
struct extfs_lib {
#define EXTFS_LIB_MEMBER(member, function) __typeof__(function) *member;
	EXTFS_LIB_FUNCTIONS(EXTFS_LIB_MEMBER)
#undef EXTFS_LIB_MEMBER
};

/* Fills in @lib; any thread. -> 0, or -ENOENT with one line logged: it is not installed. */
int extfs_lib_load(struct extfs_lib *lib);

#endif
