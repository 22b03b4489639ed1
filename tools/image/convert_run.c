/* SPDX-License-Identifier: Apache-2.0 */
/* Doing a conversion. */
/*
 * How it works. The target is made without a name (output.h), opened like any image and filled by
 * image_copy(). A target with a backing file gets what differs from that: it is right whatever the
 * source stands on. Where the source stands on the very same file, only what the source stores
 * itself is looked at.
 */
#include "tools/image/convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/create.h"
#include "tools/image/copy.h"
#include "tools/image/copy_machine.h"
#include "tools/image/output.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;
	return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/* Hangs the target's backing file, which is beside its final name, below it. */
static int open_backing(const struct convert *c, struct loop *l, struct blk_node *to)
{
	char *path = image_beside(c->words.v[1], c->o.q.backing);
	struct blk_node *backing;
	int err = path ? image_open(&l, path, c->o.q.backing_format, 0, NULL, &backing) : -ENOMEM;
	if (!err)
		qcow2_set_backing(to, backing);
	free(path);
	return err;
}

static int copy(const struct convert *c, struct loop *l, struct blk_node *from, struct blk_node *to)
{
	struct image_progress progress;
	struct blk_node *old = blk_backing(from), *new = blk_backing(to);
	bool overlay = !c->into_existing && new;
	bool same = overlay && old && same_file(blk_name(old), blk_name(new));
	struct image_copy what = { .from = from,
				   .to = to,
				   .than = overlay && !same ? new : NULL,
				   .which = same ? COPY_ALLOCATED : COPY_ALL,
				   .fresh = c->into_existing ? c->target_is_zero : !overlay,
				   .dense = c->dense,
				   .sparse_bytes = c->sparse_bytes,
				   .compress = c->compress,
				   .threads = c->threads,
				   .progress = &progress };
	if (blk_is_qcow2(to))
		what.cluster_bytes = 1u << qcow2_header_of(to)->cluster_bits;
	image_progress_begin(&progress, blk_size(from), c->progress, c->quiet);
	int err = image_copy(l, &what);
	image_progress_end(&progress);
	return err;
}

/* Copies into the image at @path, which is there; a new one is told of by the name that it will have. */
static int fill(const struct convert *c, struct loop *l, struct blk_node *from, const char *path)
{
	struct blk_node *to = NULL;
	const struct blk_open_opts opts = { .shown = c->words.v[1] };
	unsigned int flags = BLK_OPEN_RDWR | BLK_OPEN_ANY_BACKING | BLK_OPEN_EMPTY |
			     (c->into_existing ? 0 : BLK_OPEN_NO_BACKING);
	int err = blk_open_with(l, path, c->o.format, flags, &opts, &to);
	if (err)
		return err;
	if (blk_size(to) < blk_size(from)) {
		log_error("%s: it is smaller than %s: charmvm image resize makes it larger",
			  opts.shown, blk_name(from));
		err = -EINVAL;
	}
	if (!err && c->o.q.backing)
		err = open_backing(c, l, to);
	if (!err)
		err = copy(c, l, from, to);
	if (!err && c->machine)
		err = image_copy_machine(from, c->snapshot, c->machine_name, to, c->progress,
					 c->quiet);
	if (!err && (err = blk_flush(to)))
		log_error("%s: cannot be written: %s", opts.shown, strerror(-err));
	int err2 = blk_close(to);
	if (!err && err2)
		log_error("%s: cannot be written: %s", opts.shown, strerror(-err2));
	return err ? err : err2;
}

static int make_and_fill(struct convert *c, struct loop *l, struct blk_node *from)
{
	const char *path = c->words.v[1];
	struct output out;
	int err = output_begin(&out, path);
	if (err)
		return err;
	c->o.q.size = blk_size(from);
	if (c->machine && !c->o.q.cluster_bytes)
		c->o.q.cluster_bytes = 1u << qcow2_header_of(from)->cluster_bits;
	err = format_options_make(&c->o, out.fd, path);
	if (!err)
		err = format_options_preallocate(&c->o, &out);
	if (!err)
		err = fill(c, l, from, out.path);
	if (!err)
		return output_end(&out);
	output_drop(&out);
	return err;
}

int convert_run(struct convert *c)
{
	struct loop *loop = NULL;
	struct blk_node *from = NULL;
	unsigned int flags = c->share ? BLK_OPEN_NO_LOCK : 0;
	int err = image_open(&loop, c->words.v[0], c->from_format, flags, c->snapshot, &from);
	if (!err && c->machine)
		err = image_need_qcow2(from, "snapshots");
	if (!err && c->into_existing)
		err = fill(c, loop, from, c->words.v[1]);
	else if (!err)
		err = make_and_fill(c, loop, from);
	return image_close(loop, from, err);
}
