/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files out of an ext2/3/4 file system.
 *
 * libext2fs finds things (superblock, inodes, directories, symlinks, extent trees, checksums); the
 * contents of files are read here, one request for each run of blocks, straight into the caller's
 * memory.
 *
 * Rules against a hostile file system:
 *   (1) the superblock is looked at before libext2fs sees it: a file system is no larger than its
 * partition, and the table of its groups (which libext2fs reads whole) no larger than GROUPS_MAX
 * entries; (2) all calls together have a budget of block reads (extfs_io.c); (3) extents come in
 * ascending order, so that none is followed twice; (4) a file's size decides how much is read, and
 * is checked against the caller's limit first.
 */
#include "firmware/extfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/extfs_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	SUPER_OFF = 1024,
	SUPER_BYTES = 1024,
	/* Of the superblock, by offset. */
	SUPER_BLOCKS_LO = 0x04,
	SUPER_LOG_BLOCK_SIZE = 0x18,
	SUPER_BLOCKS_PER_GROUP = 0x20,
	SUPER_MAGIC = 0x38,
	SUPER_INCOMPAT = 0x60,
	SUPER_BLOCKS_HI = 0x150,

	LOG_BLOCK_SIZE_MAX = 6,
	GROUPS_MAX = 1 << 20, /* 128 TiB of 4 KiB blocks */
};

int extfs_errno(const struct extfs *fs, errcode_t e)
{
	switch (e) {
	case 0: return 0;
	case EXT2_ET_FILE_NOT_FOUND:
	case EXT2_ET_SYMLINK_LOOP: return -ENOENT;
	case EXT2_ET_NO_DIRECTORY: return -ENOTDIR;
	case EXT2_ET_NO_MEMORY: return -ENOMEM;
	case EXT2_ET_UNSUPP_FEATURE:
	case EXT2_ET_RO_UNSUPP_FEATURE: return -ENOTSUP;
	case EXT2_ET_SHORT_READ: return fs->io.err ? fs->io.err : -EINVAL;
	default: return -EINVAL;
	}
}

/* Rule (1). */
static int check_super(struct extfs *fs)
{
	uint8_t sb[SUPER_BYTES];
	int err = extfs_io_read(&fs->io, SUPER_OFF, sb, sizeof(sb));
	if (err)
		return fs->io.err ? fs->io.err : -ENODEV;
	if (get_le16(sb + SUPER_MAGIC) != EXT2_SUPER_MAGIC)
		return -ENODEV;
	uint32_t log_block = get_le32(sb + SUPER_LOG_BLOCK_SIZE);
	uint64_t blocks = get_le32(sb + SUPER_BLOCKS_LO), bytes;
	uint32_t per_group = get_le32(sb + SUPER_BLOCKS_PER_GROUP);
	if (get_le32(sb + SUPER_INCOMPAT) & EXT4_FEATURE_INCOMPAT_64BIT)
		blocks |= (uint64_t)get_le32(sb + SUPER_BLOCKS_HI) << 32;
	if (log_block > LOG_BLOCK_SIZE_MAX || !per_group || blocks / per_group > GROUPS_MAX ||
	    !ck_mul(blocks, UINT64_C(1024) << log_block, &bytes) || bytes > fs->io.len)
		return -EINVAL;
	return 0;
}

static void read_identity(struct extfs *fs)
{
	const struct ext2_super_block *s = fs->fs->super;
	const uint8_t *u = s->s_uuid;
	snprintf(fs->uuid, sizeof(fs->uuid),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	memcpy(fs->label, s->s_volume_name, EXTFS_LABEL_CHARS - 1);
	fs->label[EXTFS_LABEL_CHARS - 1] = '\0';
}

int extfs_open(struct blk_node *n, uint64_t off, uint64_t len, struct extfs **out)
{
	struct extfs *fs = calloc(1, sizeof(*fs));
	*out = NULL;
	if (!fs)
		return -ENOMEM;
	fs->io.node = n;
	fs->io.off = off;
	fs->io.len = len;
	fs->io.budget = EXTFS_BUDGET;
	extfs_io_init(&fs->io);
	int err = check_super(fs);
	if (!err)
		err = extfs_lib_load(&fs->lib);
	if (!err)
		err = extfs_errno(fs, fs->lib.open2(fs->io.name, NULL, EXT2_FLAG_64BITS, 0, 0,
						    &fs->io.manager, &fs->fs));
	if (err) {
		extfs_io_clear(&fs->io);
		free(fs);
		return err;
	}
	read_identity(fs);
	*out = fs;
	return 0;
}

void extfs_close(struct extfs *fs)
{
	if (!fs)
		return;
	fs->lib.free(fs->fs);
	extfs_io_clear(&fs->io);
	free(fs);
}

const char *extfs_uuid(const struct extfs *fs)
{
	return fs->uuid;
}

const char *extfs_label(const struct extfs *fs)
{
	return fs->label;
}

const char *extfs_type(const struct extfs *fs)
{
	if (ext2fs_has_feature_extents(fs->fs->super))
		return "ext4";
	return ext2fs_has_feature_journal(fs->fs->super) ? "ext3" : "ext2";
}

bool extfs_needs_recovery(const struct extfs *fs)
{
	return ext2fs_has_feature_journal_needs_recovery(fs->fs->super);
}

/* Looks a path up and reads its inode. */
static int look_up(struct extfs *fs, const char *path, ext2_ino_t *ino, struct ext2_inode *inode)
{
	errcode_t e = fs->lib.namei_follow(fs->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, ino);
	if (!e)
		e = fs->lib.read_inode(fs->fs, *ino, inode);
	int err = extfs_errno(fs, e);
	return err == -ENOTDIR ? -ENOENT : err;
}

bool extfs_is_file(struct extfs *fs, const char *path, bool nonempty)
{
	ext2_ino_t ino;
	struct ext2_inode inode;
	extfs_begin(fs);
	return !look_up(fs, path, &ino, &inode) && LINUX_S_ISREG(inode.i_mode) &&
	       (!nonempty || EXT2_I_SIZE(&inode));
}

bool extfs_is_dir(struct extfs *fs, const char *path)
{
	ext2_ino_t ino;
	struct ext2_inode inode;
	extfs_begin(fs);
	return !look_up(fs, path, &ino, &inode) && LINUX_S_ISDIR(inode.i_mode);
}

/* @count blocks from @phys on into the file's place @lblk; clipped to the file's @nblocks. */
static int read_run(struct extfs *fs, uint8_t *buf, uint64_t nblocks, uint64_t lblk, uint64_t phys,
		    uint64_t count)
{
	uint64_t bs = fs->fs->blocksize, off;
	if (lblk >= nblocks)
		return 0;
	if (!ck_mul(phys, bs, &off))
		return -EINVAL;
	int err = extfs_io_read(&fs->io, off, buf + lblk * bs, MIN(count, nblocks - lblk) * bs);
	return err && !fs->io.err ? -EINVAL : err;
}

static int read_extents(struct extfs *fs, ext2_ino_t ino, struct ext2_inode *inode, uint8_t *buf,
			uint64_t nblocks)
{
	ext2_extent_handle_t h;
	struct ext2fs_extent x;
	uint64_t next = 0; /* rule (3) */
	errcode_t e = fs->lib.extent_open2(fs->fs, ino, inode, &h);
	if (e)
		return extfs_errno(fs, e);
	int err = 0, op = EXT2_EXTENT_ROOT;
	while (!err && !(e = fs->lib.extent_get(h, op, &x))) {
		op = EXT2_EXTENT_NEXT;
		if (!(x.e_flags & EXT2_EXTENT_FLAGS_LEAF))
			continue;
		if (x.e_lblk < next)
			err = -EINVAL;
		else if (!(x.e_flags & EXT2_EXTENT_FLAGS_UNINIT))
			err = read_run(fs, buf, nblocks, x.e_lblk, x.e_pblk, x.e_len);
		next = x.e_lblk + x.e_len;
	}
	fs->lib.extent_free(h);
	if (err)
		return err;
	return e == EXT2_ET_EXTENT_NO_NEXT ? 0 : extfs_errno(fs, e);
}

/* ext2's and ext3's block maps: runs of neighbouring blocks are gathered. */
static int read_block_map(struct extfs *fs, ext2_ino_t ino, struct ext2_inode *inode, uint8_t *buf,
			  uint64_t nblocks)
{
	uint64_t run_lblk = 0, run_phys = 0, run_len = 0;
	for (uint64_t lblk = 0; lblk < nblocks; lblk++) {
		blk64_t phys = 0;
		errcode_t e = fs->lib.bmap2(fs->fs, ino, inode, NULL, 0, lblk, NULL, &phys);
		if (e)
			return extfs_errno(fs, e);
		if (run_len && phys == run_phys + run_len) {
			run_len++;
			continue;
		}
		int err = run_len ? read_run(fs, buf, nblocks, run_lblk, run_phys, run_len) : 0;
		if (err)
			return err;
		run_lblk = lblk;
		run_phys = phys;
		run_len = phys ? 1 : 0;
	}
	return run_len ? read_run(fs, buf, nblocks, run_lblk, run_phys, run_len) : 0;
}

/* A small file inside its inode. */
static int read_inline(struct extfs *fs, ext2_ino_t ino, uint8_t *buf, uint64_t size)
{
	ext2_file_t f;
	unsigned int got = 0;
	errcode_t e = fs->lib.file_open(fs->fs, ino, 0, &f);
	if (e)
		return extfs_errno(fs, e);
	e = size <= fs->fs->blocksize ? fs->lib.file_read(f, buf, (unsigned int)size, &got)
				      : EXT2_ET_FILE_TOO_BIG;
	fs->lib.file_close(f);
	return e ? extfs_errno(fs, e) : got == size ? 0 : -EINVAL;
}

/* The contents into @buf, which is zeroed and has room for whole blocks. */
static int read_contents(struct extfs *fs, ext2_ino_t ino, struct ext2_inode *inode, uint8_t *buf)
{
	uint64_t size = EXT2_I_SIZE(inode);
	uint64_t nblocks = div_round_up(size, fs->fs->blocksize);
	if (!size)
		return 0;
	if (inode->i_flags & EXT4_INLINE_DATA_FL)
		return read_inline(fs, ino, buf, size);
	if (inode->i_flags & EXT4_EXTENTS_FL)
		return read_extents(fs, ino, inode, buf, nblocks);
	return read_block_map(fs, ino, inode, buf, nblocks);
}

static int look_up_regular(struct extfs *fs, const char *path, size_t max_bytes, ext2_ino_t *ino,
			   struct ext2_inode *inode)
{
	int err = look_up(fs, path, ino, inode);
	if (err)
		return err;
	if (LINUX_S_ISDIR(inode->i_mode))
		return -EISDIR;
	if (!LINUX_S_ISREG(inode->i_mode))
		return -EINVAL;
	return EXT2_I_SIZE(inode) > max_bytes ? -EFBIG : 0;
}

int extfs_read_file(struct extfs *fs, const char *path, size_t max_bytes, struct blob *out)
{
	ext2_ino_t ino;
	struct ext2_inode inode;
	*out = (struct blob){ .data = NULL };
	extfs_begin(fs);
	int err = look_up_regular(fs, path, max_bytes, &ino, &inode);
	if (!err)
		err = blob_alloc(out, EXT2_I_SIZE(&inode)); /* maps whole blocks: 2 MiB pages */
	if (!err)
		err = read_contents(fs, ino, &inode, out->data);
	if (err)
		blob_free(out);
	return err;
}

int extfs_read_text(struct extfs *fs, const char *path, size_t max_bytes, char **text,
		    size_t *len_bytes)
{
	ext2_ino_t ino;
	struct ext2_inode inode;
	*text = NULL;
	extfs_begin(fs);
	int err = look_up_regular(fs, path, max_bytes, &ino, &inode);
	if (err)
		return err;
	size_t size = EXT2_I_SIZE(&inode);
	char *buf = calloc(1, align_up(size, fs->fs->blocksize) + 1);
	if (!buf)
		return -ENOMEM;
	err = read_contents(fs, ino, &inode, (uint8_t *)buf);
	if (err) {
		free(buf);
		return err;
	}
	buf[size] = '\0';
	*text = buf;
	*len_bytes = size;
	return 0;
}

struct list_walk {
	void (*each)(void *opaque, const char *name);
	void *opaque;
	unsigned int left;
};

static int list_entry_cb(ext2_ino_t dir, int entry, struct ext2_dir_entry *d, int offset,
			 int block_size, char *buf, void *opaque)
{
	(void)dir, (void)entry, (void)offset, (void)block_size, (void)buf;
	struct list_walk *w = opaque;
	char name[EXT2_NAME_LEN + 1];
	size_t len = (size_t)ext2fs_dirent_name_len(d);
	memcpy(name, d->name, len);
	name[len] = '\0';
	if (strlen(name) == len && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, ".."))
		w->each(w->opaque, name);
	return --w->left ? 0 : DIRENT_ABORT;
}

int extfs_list(struct extfs *fs, const char *path, void (*each)(void *opaque, const char *name),
	       void *opaque)
{
	ext2_ino_t ino;
	struct ext2_inode inode;
	struct list_walk w = { each, opaque, EXTFS_ENTRIES_MAX };
	extfs_begin(fs);
	int err = look_up(fs, path, &ino, &inode);
	if (err)
		return err;
	if (!LINUX_S_ISDIR(inode.i_mode))
		return -ENOTDIR;
	return extfs_errno(fs, fs->lib.dir_iterate2(fs->fs, ino, 0, NULL, list_entry_cb, &w));
}
