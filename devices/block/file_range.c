/* SPDX-License-Identifier: Apache-2.0 */
/* Discards, zeroes and holes of a file. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/file_int.h"

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
	file_op_finish(op, (int)op->res);
}

void file_submit_range(struct file_node *f, struct blk_req *req)
{
	uint64_t end = req->at + req->len, old_end = f->end;
	int err = 0;
	if (req->op == BLK_WRITE_ZEROES && end > f->end && !f->block_device)
		err = file_truncate(&f->node, end); /* what is behind the old end is zeroes now */
	if (err || req->at >= old_end) {
		blk_finish(req, err);
		return;
	}
	struct file_op *op = file_op_get(f, req);
	if (!op) {
		blk_finish(req, -ENOMEM);
		return;
	}
	f->dirty = true;
	op->step_bytes = MIN(end, old_end) - req->at;
	op->work.run = req->op == BLK_DISCARD ? work_discard : work_zero;
	op->work.done = on_range_done;
	file_to_worker(op);
}

/* ---- status ---- */

void file_submit_status(struct file_node *f, struct blk_req *req)
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
