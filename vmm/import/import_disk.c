/* SPDX-License-Identifier: Apache-2.0 */
/* Making a qcow2 image of an imported disk. */
/*
 * How it works. The new image is made without a name (tools/image/output.h), empty and of the right size. Raw and qcow2 are
 * copied into it by our own engine, which has no other file open; qemu-img fills it from other formats. Then it is opened once
 * more as a machine would, and gets its name.
 */
#include "vmm/import/import_disk.h"

#include <errno.h>
#include <string.h>

#include "devices/block/block.h"
#include "devices/block/qcow2/qcow2.h"
#include "tools/image/common.h"
#include "tools/image/copy.h"
#include "tools/image/format_options.h"
#include "tools/image/output.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"
#include "vmm/import/box_archive.h"
#include "vmm/import/qemu_img.h"

struct making {
	const struct import_disk *d;
	const char *out_shown;
	struct loop *loop;
	struct output out;
	uint64_t bytes;
};

static bool is_ours(const struct import_disk *d)
{
	return !strcmp(d->format, "raw") || !strcmp(d->format, "qcow2");
}

static int make_empty(struct making *m)
{
	struct format_options o = { .format = "qcow2" };
	if (m->bytes > BOX_DISK_BYTES_MAX) {
		log_error("%s: it claims a disk of %llu bytes", m->d->shown,
			  (unsigned long long)m->bytes);
		return -EFBIG;
	}
	o.q.size = align_up(m->bytes, BLK_SECTOR_BYTES);
	return format_options_make(&o, m->out.fd, m->out_shown);
}

static int open_new(struct making *m, unsigned int flags, struct blk_node **to)
{
	const struct blk_open_opts opts = { .shown = m->out_shown };
	return blk_open_with(m->loop, m->out.path, "qcow2", flags, &opts, to);
}

/* ---- by our own engine ---- */

static int copy_into(struct making *m, struct blk_node *from, struct blk_node *to)
{
	struct image_progress progress;
	const struct image_copy what = { .from = from,
					 .to = to,
					 .which = COPY_ALL,
					 .fresh = true,
					 .cluster_bytes = 1u << qcow2_header_of(to)->cluster_bits,
					 .progress = &progress };
	image_progress_begin(&progress, blk_size(from), false, false);
	int err = image_copy(m->loop, &what);
	image_progress_end(&progress);
	if (!err && (err = blk_flush(to)))
		log_error("%s: cannot be written: %s", m->out_shown, strerror(-err));
	return err;
}

static int copy(struct making *m, struct blk_node *from)
{
	struct blk_node *to;
	m->bytes = blk_size(from);
	int err = make_empty(m);
	err = err ? err : open_new(m, BLK_OPEN_RDWR, &to);
	if (err)
		return err;
	err = copy_into(m, from, to);
	int err2 = blk_close(to);
	if (!err && err2)
		log_error("%s: cannot be written: %s", m->out_shown, strerror(-err2));
	return err ? err : err2;
}

static int make_by_engine(struct making *m)
{
	const struct blk_open_opts opts = { .shown = m->d->shown };
	struct blk_node *from;
	int err =
		blk_open_with(m->loop, m->d->path, m->d->format, BLK_OPEN_NO_BACKING, &opts, &from);
	if (err)
		return err;
	/* disk_why_not() saw to it; the file may be another one by now. */
	if (blk_is_qcow2(from) && qcow2_backing_name(from)[0]) {
		log_error("%s: it stands on a backing file", m->d->shown);
		err = -EINVAL;
	}
	err = err ? err : copy(m, from);
	blk_close(from);
	return err;
}

/* ---- by qemu-img ---- */

static int make_by_qemu(struct making *m)
{
	const struct qemu_img_source s = { .fd = m->d->fd,
					   .format = m->d->format,
					   .shown = m->d->shown };
	int err = qemu_img_size(&s, &m->bytes);
	err = err ? err : make_empty(m);
	return err ? err : qemu_img_convert(&s, m->out.fd);
}

/* ---- the whole ---- */

static int verify(struct making *m)
{
	struct blk_node *n;
	int err = open_new(m, 0, &n);
	return err ? err : blk_close(n);
}

static int make(struct making *m, const char *out)
{
	int err = loop_create(&m->loop);
	if (err) {
		log_error("no event loop: %s", strerror(-err));
		return err;
	}
	err = output_begin(&m->out, out);
	if (!err) {
		err = is_ours(m->d) ? make_by_engine(m) : make_by_qemu(m);
		err = err ? err : verify(m);
		if (err)
			output_drop(&m->out);
		else
			err = output_end(&m->out);
	}
	loop_destroy(m->loop);
	return err;
}

enum exit_status import_disk(const struct import_disk *d, const char *out, uint64_t *bytes)
{
	struct making m = { .d = d, .out_shown = out };
	int err = make(&m, out);
	*bytes = m.bytes;
	if (err == -EINTR)
		log_error("%s: interrupted", out);
	return !err				 ? EXIT_STATUS_OK
	       : err == -EBUSY			 ? EXIT_STATUS_IN_USE
	       : err == -EINTR || err == -ENOPKG ? EXIT_STATUS_FAILED
						 : EXIT_STATUS_FILE;
}
