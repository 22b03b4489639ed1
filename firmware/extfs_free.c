/* SPDX-License-Identifier: Apache-2.0 */
/* What an ext2/3/4 file system does not use: for giving it back to the host. */
#include <errno.h>

#include "firmware/extfs.h"
#include "firmware/extfs_int.h"

#define FREE_BLOCKS_MAX (UINT64_C(1) << 31) /* a bitmap of 256 MiB */

/* From @at on. -> whether there is one more; [*at, *end). */
static bool next_free(struct extfs *fs, blk64_t *at, blk64_t *end)
{
	ext2fs_block_bitmap map = fs->fs->block_map;
	blk64_t last = fs->lib.blocks_count(fs->fs->super) - 1;
	if (*at > last || fs->lib.find_first_zero(map, *at, last, at))
		return false;
	if (fs->lib.find_first_set(map, *at, last, end))
		*end = last + 1;
	return true;
}

static bool is_clean(struct extfs *fs)
{
	const struct ext2_super_block *s = fs->fs->super;
	return (s->s_state & EXT2_VALID_FS) && !(s->s_state & EXT2_ERROR_FS) &&
	       !extfs_needs_recovery(fs);
}

static int read_free(struct extfs *fs)
{
	if (ext2fs_has_feature_bigalloc(fs->fs->super) ||
	    fs->lib.blocks_count(fs->fs->super) > FREE_BLOCKS_MAX)
		return -ENOTSUP;
	if (!is_clean(fs))
		return -EUCLEAN;
	/* A bit for each block: a tree of runs could be made to take any memory. */
	fs->fs->default_bitmap_type = EXT2FS_BMAP64_BITARRAY;
	int err = extfs_errno(fs, fs->lib.read_block_bitmap(fs->fs));
	if (err)
		return err == -EINVAL ? -EUCLEAN : err;
	blk64_t free_blocks = 0, at = fs->fs->super->s_first_data_block, end;
	for (; next_free(fs, &at, &end); at = end)
		free_blocks += end - at;
	return free_blocks == fs->lib.free_blocks_count(fs->fs->super) ? 0 : -EUCLEAN;
}

int extfs_each_free(struct extfs *fs, int (*each)(void *opaque, uint64_t off, uint64_t len),
		    void *opaque)
{
	extfs_begin(fs);
	int err = read_free(fs);
	uint64_t bs = fs->fs->blocksize;
	blk64_t at = fs->fs->super->s_first_data_block, end;
	for (; !err && next_free(fs, &at, &end); at = end)
		err = each(opaque, at * bs, (end - at) * bs);
	return err;
}
