/* SPDX-License-Identifier: Apache-2.0 */
/* The file node: a regular file or block device, served without ever blocking the loop. */
/*
 * How it works. Which way a request goes depends on how the file could be opened:
 *
 *   DIRECT    O_DIRECT: libaio is asynchronous. Misaligned buffers go through a pooled bounce buffer.
 *   MEMORY    tmpfs: libaio completes inside io_submit(2), without ever waiting for a disk.
 *   BUFFERED  libaio would block: reads are tried with RWF_NOWAIT (page cache hits, batched with
 *             everything else), what misses and every write goes to a worker thread.
 *
 * A request is served in steps. Normally one step is the whole of it; a bounced request takes
 * FILE_BOUNCE_BYTES at a time, and what a short transfer leaves over is one more step. The part of a
 * read behind the end of the file is zeroes.
 *
 * Flushes are merged: those that arrive while one is under way wait and share the next. A failed
 * flush is final: the kernel has dropped what it could not write, so every later flush fails, too.
 *
 * Lengths: offsets are multiples of 512; a file system that wants more for O_DIRECT is served
 * BUFFERED. A node that `grows` may be written and truncated beyond its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "devices/block/file_int.h"
#include "devices/block/lock.h"
#include "vmm/base/log.h"

/* ---- the node ---- */

static void file_submit(struct blk_node *n, struct blk_req *req)
{
	struct file_node *f = to_file(n);
	switch (req->op) {
	case BLK_READ:
	case BLK_WRITE: file_submit_rw(f, req); break;
	case BLK_FLUSH: file_submit_flush(f, req); break;
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES: file_submit_range(f, req); break;
	case BLK_STATUS: file_submit_status(f, req); break;
	}
}

int file_truncate(struct blk_node *n, uint64_t size)
{
	struct file_node *f = to_file(n);
	if (f->block_device)
		return size <= f->end ? 0 : -ENOSPC;
	if (ftruncate(f->fd, (off_t)size) < 0)
		return -errno;
	f->end = size;
	n->size = align_up(size, BLK_SECTOR_BYTES);
	f->dirty = true;
	return 0;
}

static uint64_t file_allocated(struct blk_node *n)
{
	struct stat st;
	return fstat(to_file(n)->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

static int file_close(struct blk_node *n)
{
	struct file_node *f = to_file(n);
	int err = n->read_only ? 0 : blk_co_flush(n);
	file_pools_free(f);
	close(f->fd);
	blk_node_free(n);
	return err;
}

static const struct blk_ops file_ops = {
	.format = "file",
	.submit = file_submit,
	.close = file_close,
	.truncate = file_truncate,
	.allocated = file_allocated,
};

int file_fd(const struct blk_node *n)
{
	return n->ops == &file_ops ? to_file(n)->fd : -1;
}

/* ---- opening ---- */

static int explain_open(const char *path, int err, bool rdwr)
{
	if (err == -ENOENT)
		log_error("%s: there is no such file: check the path", path);
	else if (err == -EACCES || err == -EPERM)
		log_error("%s: you may not %s it: check its owner and mode (ls -l)", path,
			  rdwr ? "write to" : "read");
	else if (err == -EISDIR)
		log_error("%s: this is a directory: name the image file in it", path);
	else if (err == -EROFS)
		log_error("%s: its file system is read-only: open it read-only or copy it", path);
	else
		log_error("%s: cannot be opened: %s", path, strerror(-err));
	return err;
}

static bool is_memory_fs(int fd)
{
	struct statfs fs;
	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Tries O_DIRECT on the open file. -> whether it is on and our 512-byte requests suit it. */
static bool try_direct(struct file_node *f)
{
	struct statx sx;
	int flags = fcntl(f->fd, F_GETFL);
	if (flags < 0 || fcntl(f->fd, F_SETFL, flags | O_DIRECT) < 0)
		return false;
	f->mem_align = BLK_SECTOR_BYTES;
#ifdef STATX_DIOALIGN
	if (statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 &&
	    (sx.stx_mask & STATX_DIOALIGN)) {
		if (sx.stx_dio_offset_align && sx.stx_dio_offset_align <= BLK_SECTOR_BYTES &&
		    is_pow2(sx.stx_dio_mem_align) && sx.stx_dio_mem_align <= FILE_ALIGN) {
			f->mem_align = MAX(sx.stx_dio_mem_align, 4u);
			return true;
		}
		goto out_off;
	}
#else
	(void)sx;
#endif
	/* No word from the kernel: a read of one sector tells. */
	void *probe;
	if (posix_memalign(&probe, FILE_ALIGN, FILE_ALIGN))
		goto out_off;
	ssize_t n = pread(f->fd, probe, BLK_SECTOR_BYTES, 0);
	free(probe);
	if (n >= 0)
		return true;
out_off:
	fcntl(f->fd, F_SETFL, flags & ~O_DIRECT);
	return false;
}

static int check_type(struct file_node *f, const char *path)
{
	struct stat st;
	if (fstat(f->fd, &st) < 0)
		return explain_open(path, -errno, false);
	if (S_ISDIR(st.st_mode))
		return explain_open(path, -EISDIR, false);
	if (S_ISBLK(st.st_mode)) {
		uint64_t bytes;
		if (ioctl(f->fd, BLKGETSIZE64, &bytes) < 0)
			return explain_open(path, -errno, false);
		f->block_device = true;
		f->end = align_down(bytes, BLK_SECTOR_BYTES);
		return 0;
	}
	if (!S_ISREG(st.st_mode)) {
		log_error("%s: this is neither a file nor a block device: name an image file",
			  path);
		return -EINVAL;
	}
	f->end = (uint64_t)st.st_size;
	f->node.discard_granularity = is_pow2((uint64_t)st.st_blksize) && st.st_blksize >= 512 &&
						      st.st_blksize <= (1 << 20)
					      ? (uint32_t)st.st_blksize
					      : BLK_SECTOR_BYTES;
	return 0;
}

static void set_up(struct file_node *f, unsigned int flags, bool grows)
{
	if (is_memory_fs(f->fd))
		f->mode = FILE_MEMORY;
	else if (!(flags & BLK_OPEN_BUFFERED) && try_direct(f))
		f->mode = FILE_DIRECT;
	else
		f->mode = FILE_BUFFERED;
	f->dirty = true; /* what others left in the page cache counts, too */
	f->node.read_only = !(flags & BLK_OPEN_RDWR);
	f->node.size = align_up(f->end, BLK_SECTOR_BYTES);
	f->node.grows = grows && !f->block_device;
}

int file_open(struct blk_ctx *ctx, const char *path, unsigned int flags, bool grows,
	      struct blk_node **out)
{
	struct file_node *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	file_flush_init(f);
	list_init(&f->op_pool);
	list_init(&f->bounce_pool);
	bool rdwr = flags & BLK_OPEN_RDWR;
	int err;
	/* O_NONBLOCK: a FIFO must not hold us up. */
	f->fd = open(path, (rdwr ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0) {
		err = explain_open(path, -errno, rdwr);
		goto out_free;
	}
	err = check_type(f, path);
	if (!err && !(flags & BLK_OPEN_NO_LOCK))
		err = lock_image(f->fd, path, rdwr);
	if (err)
		goto out_close;
	set_up(f, flags, grows);
	err = blk_node_init(&f->node, &file_ops, ctx, path);
	if (err)
		goto out_close;
	*out = &f->node;
	return 0;
out_close:
	close(f->fd);
out_free:
	free(f);
	return err;
}
