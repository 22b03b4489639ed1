/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes of a file, in steps. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/file_int.h"

enum {
	FILE_BOUNCE_BYTES = 128 * 1024,
	FILE_BOUNCE_KEEP = 32, /* buffers kept for reuse */
	FILE_WORK_IOV = 64,
};

struct bounce {
	struct list link;
};

/* ---- pools ---- */

static void on_aio_done(struct aio_op *aio, long res);
static void work_rw(struct work *w);
static void on_work_done(struct work *w);

struct file_op *file_op_get(struct file_node *f, struct blk_req *req)
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

void file_op_finish(struct file_op *op, int err)
{
	struct file_node *f = op->f;
	struct blk_req *req = op->req;
	bounce_put(f, op->bounce);
	list_add_head(&f->op_pool, &op->aio.link);
	blk_finish(req, err);
}

void file_pools_free(struct file_node *f)
{
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

void file_to_worker(struct file_op *op)
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
			file_op_finish(op, -ENOMEM);
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
		file_to_worker(op);
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
			file_op_finish(op, 0);
			return;
		}
		got = align_down(got, BLK_SECTOR_BYTES);
		if (!got) {
			file_op_finish(op, read ? -EIO : -ENOSPC);
			return;
		}
	}
	op->done_bytes += got;
	if (op->done_bytes == req->len)
		file_op_finish(op, 0);
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
		file_to_worker(op); /* not cached, or the kernel's aio cannot: blocks, elsewhere */
	else
		file_op_finish(op, (int)res);
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
		file_op_finish(op, (int)op->res);
	else
		step_done(op, (uint64_t)op->res);
}

/* Before a write reaches the kernel: nobody may take its place for a hole any more. */
static void grow_to(struct file_node *f, uint64_t end)
{
	f->end = MAX(f->end, end);
	f->node.size = MAX(f->node.size, align_up(end, BLK_SECTOR_BYTES));
}

void file_submit_rw(struct file_node *f, struct blk_req *req)
{
	if (req->op == BLK_WRITE) {
		f->dirty = true;
		grow_to(f, req->at + req->len);
	} else if (req->at >= f->end) {
		blk_iov_zero(req->iov, req->niov, 0, req->len);
		blk_finish(req, 0);
		return;
	}
	struct file_op *op = file_op_get(f, req);
	if (op)
		start_step(op);
	else
		blk_finish(req, -ENOMEM);
}
