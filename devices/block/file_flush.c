/* SPDX-License-Identifier: Apache-2.0 */
/* Flushes of a file: merged, and a failed one is final. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/file_int.h"
#include "vmm/base/log.h"

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

void file_flush_init(struct file_node *f)
{
	list_init(&f->flush_now);
	list_init(&f->flush_next);
	f->flush_aio.done = on_flush_aio_done;
	f->flush_work = (struct work){ .run = work_flush, .done = on_flush_work_done };
}

void file_submit_flush(struct file_node *f, struct blk_req *req)
{
	bool nothing = f->mode == FILE_MEMORY || (!f->dirty && !f->flushing);
	if (f->flush_err || nothing) {
		blk_finish(req, f->flush_err);
		return;
	}
	list_add_tail(&f->flush_next, &req->link);
	flush_start(f);
}
