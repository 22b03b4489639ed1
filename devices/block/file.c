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
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "devices/block/aio.h"
#include "devices/block/lock.h"
#include "devices/block/node.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/workers.h"

enum {
	FILE_BOUNCE_BYTES = 128 * 1024,
	FILE_BOUNCE_KEEP = 32, /* buffers kept for reuse */
	FILE_ALIGN = 4096,     /* of bounce buffers */
	FILE_WORK_IOV = 64,
};

enum file_mode { FILE_DIRECT, FILE_MEMORY, FILE_BUFFERED };

struct file_node {
	struct blk_node node;
	int fd;
	enum file_mode mode;
	bool block_device;
	uint32_t mem_align; /* of buffers, for O_DIRECT */
	uint64_t end;	    /* length in bytes */
	bool no_nowait;	    /* learnt: RWF_NOWAIT is unsupported */
	bool no_fdsync;	    /* learnt: IOCB_CMD_FDSYNC is */
	bool no_zero_range;

	bool dirty; /* written since the last flush began */
	bool flushing;
	int flush_err; /* sticky */
	struct list flush_now;
	struct list flush_next;
	struct aio_op flush_aio;
	struct work flush_work;

	struct list op_pool;
	struct list bounce_pool;
	unsigned int n_bounce;
};

struct file_op {
	struct aio_op aio;
	struct work work;
	struct file_node *f;
	struct blk_req *req;
	uint64_t done_bytes;
	uint64_t step_bytes;
	void *bounce;
	struct iovec bounce_iov;
	bool nowait;
	long res;
};

struct bounce {
	struct list link;
};

static struct file_node *to_file(const struct blk_node *n)
{
	return container_of(n, struct file_node, node);
}

/* ---- pools ---- */

static void on_aio_done(struct aio_op *aio, long res);
static void work_rw(struct work *w);
static void on_work_done(struct work *w);

static struct file_op *op_get(struct file_node *f, struct blk_req *req)
{
	struct file_op *op;
	if (list_empty(&f->op_pool)) {
		op = malloc(sizeof(*op));
		if (!op)
			return NULL;
	} else {
		op = container_of(list_first(&f->op_pool, struct aio_op, link), struct file_op,
				  aio);
		list_del(&op->aio.link);
	}
	op->f = f;
	op->req = req;
	op->done_bytes = 0;
	op->bounce = NULL;
	op->nowait = false;
	op->aio.done = on_aio_done;
	op->work = (struct work){ .run = work_rw, .done = on_work_done };
	return op;
}

static bool bounce_get(struct file_node *f, struct file_op *op)
{
	if (op->bounce)
		return true;
	if (!list_empty(&f->bounce_pool)) {
		struct bounce *b = list_first(&f->bounce_pool, struct bounce, link);
		list_del(&b->link);
		f->n_bounce--;
		op->bounce = b;
		return true;
	}
	return posix_memalign(&op->bounce, FILE_ALIGN, FILE_BOUNCE_BYTES) == 0;
}

static void bounce_put(struct file_node *f, void *buf)
{
	if (!buf)
		return;
	if (f->n_bounce == FILE_BOUNCE_KEEP) {
		free(buf);
		return;
	}
	struct bounce *b = buf;
	list_add_head(&f->bounce_pool, &b->link);
	f->n_bounce++;
}

static void op_finish(struct file_op *op, int err)
{
	struct file_node *f = op->f;
	struct blk_req *req = op->req;
	bounce_put(f, op->bounce);
	list_add_head(&f->op_pool, &op->aio.link);
	blk_finish(req, err);
}

/* ---- read and write ---- */

static bool needs_bounce(const struct file_op *op)
{
	const struct blk_req *req = op->req;
	if (op->done_bytes || req->niov > IOV_MAX)
		return true;
	if (op->f->mode != FILE_DIRECT)
		return false;
	uintptr_t address_bits = 0, len_bits = 0;
	for (unsigned int i = 0; i < req->niov; i++) {
		address_bits |= (uintptr_t)req->iov[i].iov_base;
		len_bits |= req->iov[i].iov_len;
	}
	return (address_bits & (op->f->mem_align - 1)) || len_bits % BLK_SECTOR_BYTES;
}

static void to_worker(struct file_op *op)
{
	workers_submit(op->f->node.ctx->workers, &op->work);
}

static void to_aio(struct file_op *op, const struct iovec *iov, unsigned int niov)
{
	struct file_node *f = op->f;
	long long off = (long long)(op->req->at + op->done_bytes);
	if (op->req->op == BLK_WRITE)
		io_prep_pwritev(&op->aio.iocb, f->fd, iov, (int)niov, off);
	else
		io_prep_preadv(&op->aio.iocb, f->fd, iov, (int)niov, off);
	op->aio.quiet = f->mode != FILE_DIRECT;
	op->nowait = f->mode == FILE_BUFFERED;
	if (op->nowait)
		op->aio.iocb.aio_rw_flags = RWF_NOWAIT;
	aio_queue(f->node.ctx->aio, &op->aio);
}

static void start_step(struct file_op *op)
{
	struct file_node *f = op->f;
	const struct blk_req *req = op->req;
	const struct iovec *iov = req->iov;
	unsigned int niov = req->niov;
	op->step_bytes = req->len - op->done_bytes;
	if (op->bounce || needs_bounce(op)) {
		if (!bounce_get(f, op)) {
			op_finish(op, -ENOMEM);
			return;
		}
		op->step_bytes = MIN(op->step_bytes, (uint64_t)FILE_BOUNCE_BYTES);
		if (req->op == BLK_WRITE)
			blk_iov_read(iov, niov, op->done_bytes, op->bounce, op->step_bytes);
		op->bounce_iov = (struct iovec){ op->bounce, op->step_bytes };
		iov = &op->bounce_iov;
		niov = 1;
	}
	if (f->mode == FILE_BUFFERED && (req->op == BLK_WRITE || f->no_nowait))
		to_worker(op);
	else
		to_aio(op, iov, niov);
}

/* The end of the file came before the end of the read. -> whether that explains the short read. */
static bool zero_behind_end(struct file_op *op, uint64_t got)
{
	const struct blk_req *req = op->req;
	struct stat st;
	if (op->f->block_device || fstat(op->f->fd, &st) < 0)
		return false;
	if (req->at + op->done_bytes + got < (uint64_t)st.st_size)
		return false;
	blk_iov_zero(req->iov, req->niov, op->done_bytes + got, req->len - op->done_bytes - got);
	return true;
}

static void step_done(struct file_op *op, uint64_t got)
{
	const struct blk_req *req = op->req;
	bool read = req->op == BLK_READ;
	if (read && op->bounce)
		blk_iov_write(req->iov, req->niov, op->done_bytes, op->bounce, got);
	if (got < op->step_bytes) {
		if (read && zero_behind_end(op, got)) {
			op_finish(op, 0);
			return;
		}
		got = align_down(got, BLK_SECTOR_BYTES);
		if (!got) {
			op_finish(op, read ? -EIO : -ENOSPC);
			return;
		}
	}
	op->done_bytes += got;
	if (op->done_bytes == req->len)
		op_finish(op, 0);
	else
		start_step(op);
}

static void on_aio_done(struct aio_op *aio, long res)
{
	struct file_op *op = container_of(aio, struct file_op, aio);
	if (res >= 0) {
		step_done(op, (uint64_t)res);
		return;
	}
	if (op->nowait && (res == -EOPNOTSUPP || res == -EINVAL))
		op->f->no_nowait = true;
	if (op->nowait || res == -EAGAIN || res == -ENOSYS)
		to_worker(op); /* not cached, or the kernel's aio cannot: blocks, elsewhere */
	else
		op_finish(op, (int)res);
}

/* On a worker thread: the whole step, as far as it goes. */
static void work_rw(struct work *w)
{
	struct file_op *op = container_of(w, struct file_op, work);
	const struct blk_req *req = op->req;
	struct iovec part[FILE_WORK_IOV];
	uint64_t got = 0;
	op->res = 0;
	while (got < op->step_bytes) {
		const struct iovec *src = op->bounce ? &op->bounce_iov : req->iov;
		unsigned int n_src = op->bounce ? 1 : req->niov;
		uint64_t skip = op->bounce ? got : op->done_bytes + got;
		uint64_t want = op->step_bytes - got;
		unsigned int n = blk_iov_slice_some(src, n_src, skip, want, part, FILE_WORK_IOV);
		off_t off = (off_t)(req->at + op->done_bytes + got);
		ssize_t res = req->op == BLK_WRITE ? pwritev(op->f->fd, part, (int)n, off)
						   : preadv(op->f->fd, part, (int)n, off);
		if (res < 0 && errno == EINTR)
			continue;
		if (res < 0 && !got)
			op->res = -errno;
		if (res <= 0)
			break;
		got += (uint64_t)res;
	}
	if (!op->res)
		op->res = (long)got;
}

static void on_work_done(struct work *w)
{
	struct file_op *op = container_of(w, struct file_op, work);
	if (op->res < 0)
		op_finish(op, (int)op->res);
	else
		step_done(op, (uint64_t)op->res);
}

/* Before a write reaches the kernel: nobody may take its place for a hole any more. */
static void grow_to(struct file_node *f, uint64_t end)
{
	f->end = MAX(f->end, end);
	f->node.size = MAX(f->node.size, align_up(end, BLK_SECTOR_BYTES));
}

static void submit_rw(struct file_node *f, struct blk_req *req)
{
	if (req->op == BLK_WRITE) {
		f->dirty = true;
		grow_to(f, req->at + req->len);
	} else if (req->at >= f->end) {
		blk_iov_zero(req->iov, req->niov, 0, req->len);
		blk_finish(req, 0);
		return;
	}
	struct file_op *op = op_get(f, req);
	if (op)
		start_step(op);
	else
		blk_finish(req, -ENOMEM);
}

/* ---- discard and zeroes ---- */

static int write_zero_bytes(int fd, uint64_t off, uint64_t len)
{
	enum { CHUNK = 64 * 1024 };
	void *zero;
	if (posix_memalign(&zero, FILE_ALIGN, CHUNK))
		return -ENOMEM;
	memset(zero, 0, CHUNK);
	int err = 0;
	while (len && !err) {
		ssize_t n = pwrite(fd, zero, MIN(len, (uint64_t)CHUNK), (off_t)off);
		if (n <= 0) {
			err = n < 0 && errno == EINTR ? 0 : n < 0 ? -errno : -EIO;
			continue;
		}
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	free(zero);
	return err;
}

static int fallocate_range(const struct file_node *f, int mode, uint64_t off, uint64_t len)
{
	int ret;
	do {
		ret = fallocate(f->fd, mode, (off_t)off, (off_t)len);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static bool is_unsupported(int err)
{
	return err == -EOPNOTSUPP || err == -ENODEV || err == -ENOSYS || err == -EINVAL;
}

static void work_discard(struct work *w)
{
	struct file_op *op = container_of(w, struct file_op, work);
	int err = fallocate_range(op->f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, op->req->at,
				  op->step_bytes);
	op->res = is_unsupported(err) ? 0 : err; /* a discard is advice */
}

static void work_zero(struct work *w)
{
	struct file_op *op = container_of(w, struct file_op, work);
	struct file_node *f = op->f;
	uint64_t off = op->req->at, len = op->step_bytes;
	int err = -EOPNOTSUPP;
	if (!(op->req->flags & BLK_REQ_UNMAP) && !f->no_zero_range)
		err = fallocate_range(f, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, off, len);
	if (is_unsupported(err))
		err = fallocate_range(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
	if (is_unsupported(err))
		err = write_zero_bytes(f->fd, off, len);
	op->res = err;
}

static void on_range_done(struct work *w)
{
	struct file_op *op = container_of(w, struct file_op, work);
	op_finish(op, (int)op->res);
}

static int file_truncate(struct blk_node *n, uint64_t size);

static void submit_range(struct file_node *f, struct blk_req *req)
{
	uint64_t end = req->at + req->len, old_end = f->end;
	int err = 0;
	if (req->op == BLK_WRITE_ZEROES && end > f->end && !f->block_device)
		err = file_truncate(&f->node, end); /* what is behind the old end is zeroes now */
	if (err || req->at >= old_end) {
		blk_finish(req, err);
		return;
	}
	struct file_op *op = op_get(f, req);
	if (!op) {
		blk_finish(req, -ENOMEM);
		return;
	}
	f->dirty = true;
	op->step_bytes = MIN(end, old_end) - req->at;
	op->work.run = req->op == BLK_DISCARD ? work_discard : work_zero;
	op->work.done = on_range_done;
	to_worker(op);
}

/* ---- flush ---- */

static void flush_start(struct file_node *f);

static void flush_done(struct file_node *f, int err)
{
	f->flushing = false;
	if (err && !f->flush_err) {
		log_error("%s: flush failed: %s: what was written may be lost", f->node.name,
			  strerror(-err));
		f->flush_err = -EIO; /* whatever it was: trying again does not help */
	}
	struct list done;
	list_init(&done);
	list_splice_tail(&done, &f->flush_now);
	flush_start(f);
	while (!list_empty(&done)) {
		struct blk_req *req = list_first(&done, struct blk_req, link);
		list_del(&req->link);
		blk_finish(req, f->flush_err);
	}
}

static void work_flush(struct work *w)
{
	struct file_node *f = container_of(w, struct file_node, flush_work);
	f->flush_aio.iocb.data = (void *)(intptr_t)(fdatasync(f->fd) < 0 ? -errno : 0);
}

static void on_flush_work_done(struct work *w)
{
	struct file_node *f = container_of(w, struct file_node, flush_work);
	flush_done(f, (int)(intptr_t)f->flush_aio.iocb.data);
}

static void on_flush_aio_done(struct aio_op *aio, long res)
{
	struct file_node *f = container_of(aio, struct file_node, flush_aio);
	if (res == -EINVAL || res == -EAGAIN || res == -ENOSYS) {
		f->no_fdsync = res != -EAGAIN;
		workers_submit(f->node.ctx->workers, &f->flush_work);
		return;
	}
	flush_done(f, (int)res);
}

static void flush_start(struct file_node *f)
{
	if (f->flushing || list_empty(&f->flush_next))
		return;
	list_splice_tail(&f->flush_now, &f->flush_next);
	f->flushing = true;
	f->dirty = false;
	if (f->no_fdsync) {
		workers_submit(f->node.ctx->workers, &f->flush_work);
		return;
	}
	io_prep_fdsync(&f->flush_aio.iocb, f->fd);
	aio_queue(f->node.ctx->aio, &f->flush_aio);
}

static void submit_flush(struct file_node *f, struct blk_req *req)
{
	bool nothing = f->mode == FILE_MEMORY || (!f->dirty && !f->flushing);
	if (f->flush_err || nothing) {
		blk_finish(req, f->flush_err);
		return;
	}
	list_add_tail(&f->flush_next, &req->link);
	flush_start(f);
}

/* ---- status ---- */

static void submit_status(struct file_node *f, struct blk_req *req)
{
	struct blk_status *st = req->status;
	*st = (struct blk_status){ .flags = BLK_STATUS_ALLOCATED | BLK_STATUS_OFFSET,
				   .len = req->len,
				   .host_off = req->at };
	off_t off = (off_t)req->at;
	off_t data = f->block_device ? off : lseek(f->fd, off, SEEK_DATA);
	uint64_t next;
	if (data < 0 && errno != ENXIO)
		data = off; /* cannot tell: data */
	if (data == off) {
		st->flags |= BLK_STATUS_DATA;
		off_t hole = f->block_device ? -1 : lseek(f->fd, off, SEEK_HOLE);
		next = hole > off ? (uint64_t)hole : req->at + req->len;
	} else {
		st->flags |= BLK_STATUS_ZERO;
		next = data < 0 ? req->at + req->len : (uint64_t)data;
	}
	/* A boundary inside a sector belongs to the data. */
	next = data == off ? align_up(next, BLK_SECTOR_BYTES) : align_down(next, BLK_SECTOR_BYTES);
	if (next <= req->at) {
		st->flags = BLK_STATUS_ALLOCATED | BLK_STATUS_OFFSET | BLK_STATUS_DATA;
		next = req->at + BLK_SECTOR_BYTES;
	}
	st->len = MIN(req->len, next - req->at);
	blk_finish(req, 0);
}

/* ---- the node ---- */

static void file_submit(struct blk_node *n, struct blk_req *req)
{
	struct file_node *f = to_file(n);
	switch (req->op) {
	case BLK_READ:
	case BLK_WRITE: submit_rw(f, req); break;
	case BLK_FLUSH: submit_flush(f, req); break;
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES: submit_range(f, req); break;
	case BLK_STATUS: submit_status(f, req); break;
	}
}

static int file_truncate(struct blk_node *n, uint64_t size)
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
	while (!list_empty(&f->op_pool)) {
		struct aio_op *aio = list_first(&f->op_pool, struct aio_op, link);
		list_del(&aio->link);
		free(container_of(aio, struct file_op, aio));
	}
	while (!list_empty(&f->bounce_pool)) {
		struct bounce *b = list_first(&f->bounce_pool, struct bounce, link);
		list_del(&b->link);
		free(b);
	}
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
	f->flush_aio.done = on_flush_aio_done;
	f->flush_work = (struct work){ .run = work_flush, .done = on_flush_work_done };
}

int file_open(struct blk_ctx *ctx, const char *path, unsigned int flags, bool grows,
	      struct blk_node **out)
{
	struct file_node *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	list_init(&f->flush_now);
	list_init(&f->flush_next);
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
