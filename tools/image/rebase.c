/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image rebase: another backing file, and the same contents. */
/*
 * How it works. The overlay is opened with what it stands on now, and beside it what it will stand on.
 * Where the overlay stores nothing itself and the two differ, the contents of now are written into it:
 * that changes nothing of what it reads as. Then it is flushed, and then the name in its header is
 * changed, in one request. So whenever it is killed, the image reads as before, on the old
 * backing file or on the new one.
 *
 * With -u the name is changed and nothing is looked at.
 */
#include "tools/image/verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/create.h"
#include "tools/image/common.h"
#include "tools/image/copy.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

struct rebase {
	struct image_words words;
	const char *format, *backing, *backing_format;
	bool unsafe, progress, quiet;
	struct loop *loop;
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct rebase *)cfg)->format = value;
	return 0;
}

static int set_backing(void *cfg, const char *value)
{
	((struct rebase *)cfg)->backing = value;
	return 0;
}

static int set_backing_format(void *cfg, const char *value)
{
	((struct rebase *)cfg)->backing_format = value;
	return 0;
}

static int set_unsafe(void *cfg, const char *value)
{
	(void)value;
	((struct rebase *)cfg)->unsafe = true;
	return 0;
}

static int set_progress(void *cfg, const char *value)
{
	(void)value;
	((struct rebase *)cfg)->progress = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct rebase *)cfg)->quiet = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct rebase *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "unsafe", 'u', NULL, "change the name only", set_unsafe },
	{ "backing", 'b', "FILE", "the backing file; \"\" for none", set_backing },
	{ "backing-format", 'F', "FORMAT", "its format", set_backing_format },
	{ "format", 'f', "FORMAT", "of the overlay", set_format },
	{ "progress", 'p', NULL, "tell how far it is", set_progress },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
	{ "cache", 't', "MODE", "taken as qemu-img's; it changes nothing", image_cache },
	{ "source-cache", 'T', "MODE", "likewise", image_cache },
};

static const struct command_spec command = {
	.usage = "charmvm image rebase [-u] -b FILE -F FORMAT OVERLAY",
	.about =
		"Puts an overlay onto another backing file; what it reads as stays the same: where "
		"the\n"
		"two differ, the contents are copied into it. -b '' makes it stand alone. -u only "
		"records\n"
		"the name, for a backing file that was moved or renamed: nothing is compared.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- the work ---- */

static int check(const struct rebase *r)
{
	const char *wrong = NULL;
	if (!r->backing)
		wrong = "name the backing file with -b";
	else if (r->backing[0] && !r->backing_format)
		wrong = "say what format the backing file has: -F qcow2 or -F raw";
	else if (r->backing[0] && strcmp(r->backing_format, "qcow2") &&
		 strcmp(r->backing_format, "raw"))
		wrong = "-F is qcow2 or raw";
	if (wrong)
		log_error("rebase: %s", wrong);
	return wrong ? -EINVAL : 0;
}

/* The file that it will stand on, as it will find it. *out NULL: none. */
static int open_next(struct rebase *r, struct blk_node **out)
{
	*out = NULL;
	if (!r->backing[0])
		return 0;
	char *path = image_beside(r->words.v[0], r->backing);
	int err = path ? image_open(&r->loop, path, r->backing_format, 0, NULL, out) : -ENOMEM;
	if (err == -EBUSY)
		log_error("rebase: an image cannot stand on itself or on one that is written to");
	free(path);
	return err;
}

/* What shows through now and would not any more. */
static int copy(struct rebase *r, struct blk_node *n, struct blk_node *next)
{
	struct image_progress progress;
	struct image_copy what = { .from = n,
				   .to = n,
				   .than = next,
				   .fresh = !next,
				   .which = COPY_UNALLOCATED,
				   .cluster_bytes = 1u << qcow2_header_of(n)->cluster_bits,
				   .progress = &progress };
	image_progress_begin(&progress, blk_size(n), r->progress, r->quiet);
	int err = image_copy(r->loop, &what);
	image_progress_end(&progress);
	/* On stable storage before the name says otherwise. */
	if (!err && (err = blk_flush(n)))
		log_error("%s: cannot be written: %s", r->words.v[0], strerror(-err));
	return err;
}

static int move_contents(struct rebase *r, struct blk_node *n)
{
	struct blk_node *next;
	if (r->unsafe)
		return 0;
	int err = open_next(r, &next);
	if (!err)
		err = copy(r, n, next);
	blk_close(next); /* read-only: nothing can be lost */
	return err;
}

static int rename_job(struct blk_node *n, void *arg)
{
	const struct rebase *r = arg;
	const char *name = r->backing[0] ? r->backing : NULL;
	return qcow2_co_set_backing_name(n, name, name ? r->backing_format : NULL);
}

static int rename_backing(struct rebase *r, struct blk_node *n)
{
	int err = qcow2_run(n, rename_job, r);
	if (err == -ENOSPC)
		log_error("%s: the name does not fit into its header", r->words.v[0]);
	else if (err && err != -EINVAL)
		log_error("%s: cannot be changed: %s", r->words.v[0], strerror(-err));
	return err;
}

int image_rebase(int argc, char **argv)
{
	struct rebase r = { 0 };
	int status;
	if (image_parse(&command, &r, &r.words, 1, argc, argv, 1, &status))
		return status;
	if (check(&r))
		return 1;
	struct blk_node *n = NULL;
	unsigned int flags = BLK_OPEN_RDWR | (r.unsafe ? BLK_OPEN_NO_BACKING : 0);
	int err = image_open(&r.loop, r.words.v[0], r.format, flags, NULL, &n);
	if (!err)
		err = image_need_qcow2(n, "backing file");
	if (!err)
		err = move_contents(&r, n);
	if (!err)
		err = rename_backing(&r, n);
	return image_close(r.loop, n, err) ? 1 : 0;
}
