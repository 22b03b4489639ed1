/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image create: a new image, or an overlay on another one. */
#include "tools/image/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/image/common.h"
#include "tools/image/format_options.h"
#include "tools/image/output.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

struct create {
	struct format_options o;
	struct image_words words;
	bool quiet, unchecked;
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct create *)cfg)->o.format = value;
	return 0;
}

static int set_options(void *cfg, const char *value)
{
	return format_options_add(&((struct create *)cfg)->o, value);
}

static int set_backing(void *cfg, const char *value)
{
	((struct create *)cfg)->o.q.backing = value;
	return 0;
}

static int set_backing_format(void *cfg, const char *value)
{
	((struct create *)cfg)->o.q.backing_format = value;
	return 0;
}

static int set_unchecked(void *cfg, const char *value)
{
	(void)value;
	((struct create *)cfg)->unchecked = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct create *)cfg)->quiet = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct create *)cfg)->words, value, 2);
}

static const struct option_spec options[] = {
	{ "format", 'f', "FORMAT", "raw (the default) or qcow2", set_format },
	{ "options", 'o', "NAME=VALUE,...", "of the format: cluster_size=64k, ...", set_options },
	{ "backing", 'b', "FILE", "make an overlay on it", set_backing },
	{ "backing-format", 'F', "FORMAT", "of the backing file", set_backing_format },
	{ "unsafe", 'u', NULL, "do not look at the backing file", set_unchecked },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
};

static const struct command_spec command = {
	.usage = "charmvm image create [OPTION...] FILE [SIZE]",
	.about = "Makes an image of SIZE bytes (k, M, G, T behind the number). An overlay has its\n"
		 "backing file's size if none is given.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- the work ---- */

/* Opens the backing file as the new image at @path will find it. *size: its size. */
static int look_at_backing(const struct create *c, const char *path, uint64_t *size)
{
	const struct qcow2_create *q = &c->o.q;
	if (!q->backing_format) {
		log_error("%s: say what format the backing file %s has: -F qcow2 or -F raw", path,
			  q->backing);
		return -EINVAL;
	}
	if (c->unchecked)
		return 0;
	char *where = image_beside(path, q->backing);
	if (!where)
		return -ENOMEM;
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	struct stat a, b;
	int err = 0;
	if (stat(path, &a) == 0 && stat(where, &b) == 0 && a.st_dev == b.st_dev &&
	    a.st_ino == b.st_ino) {
		log_error("%s: an image cannot be its own backing file", path);
		err = -EINVAL;
	}
	if (!err)
		err = image_open(&loop, where, q->backing_format, 0, NULL, &n);
	if (!err)
		*size = blk_size(n);
	free(where);
	return image_close(loop, n, err);
}

static int choose_size(struct create *c, const char *path)
{
	struct qcow2_create *q = &c->o.q;
	uint64_t below = UINT64_MAX;
	int err = q->backing ? look_at_backing(c, path, &below) : 0;
	if (!err && c->words.n > 1)
		err = image_parse_size(c->words.v[1], &q->size);
	else if (!err && !c->o.has_size && below != UINT64_MAX)
		q->size = below;
	else if (!err && !c->o.has_size) {
		log_error("%s: how large? charmvm image create %s SIZE", path, path);
		err = -EINVAL;
	}
	if (!err && q->size > INT64_MAX - BLK_SECTOR_BYTES) {
		log_error("%s: larger than any image can be", path);
		err = -EINVAL;
	}
	q->size = align_up(q->size, BLK_SECTOR_BYTES);
	return err;
}

/* The file that will have the data of a qcow2 image, in its place already when the image appears. */
static int make_data_file(const struct create *c, const char *path)
{
	char *where = image_beside(path, c->o.q.data_file);
	struct output out;
	int err = where ? 0 : -ENOMEM;
	if (!err && access(where, F_OK) == 0) {
		log_error("%s: it is there already: a new image begins with a new data file",
			  where);
		err = -EEXIST;
	}
	if (!err && !(err = output_begin(&out, where))) {
		err = ftruncate(out.fd, (off_t)c->o.q.size) < 0 ? -errno : 0;
		if (err)
			log_error("%s: cannot be made: %s", where, strerror(-err));
		err = err ? err : output_end(&out);
		if (err)
			output_drop(&out);
	}
	free(where);
	return err;
}

/* The options given, in the order and the words of qemu-img. */
static void describe(const struct create *c, const char *path)
{
	static const char *const preallocations[] = { NULL, "metadata", "falloc", "full" };
	const struct qcow2_create *q = &c->o.q;
	const char *preallocation = preallocations[c->o.preallocation];
	bool raw = strcmp(c->o.format, "raw") == 0;
	printf("Formatting '%s', fmt=%s", path, c->o.format);
	if (!raw)
		printf(" cluster_size=%u extended_l2=%s",
		       q->cluster_bytes ? q->cluster_bytes : 65536, q->ext_l2 ? "on" : "off");
	if (!raw && preallocation)
		printf(" preallocation=%s", preallocation);
	if (!raw)
		printf(" compression_type=%s", q->compression ? "zstd" : "zlib");
	printf(" size=%" PRIu64, q->size);
	if (raw && preallocation)
		printf(" preallocation=%s", preallocation);
	if (q->version)
		printf(" compat=%s", q->version == 2 ? "0.10" : "1.1");
	if (q->backing)
		printf(" backing_file=%s backing_fmt=%s", q->backing, q->backing_format);
	if (q->data_file)
		printf(" data_file=%s%s", q->data_file,
		       q->data_file_raw ? " data_file_raw=on" : "");
	if (!raw)
		printf(" lazy_refcounts=%s refcount_bits=%u", q->lazy_refcounts ? "on" : "off",
		       q->refcount_bits ? q->refcount_bits : 16);
	putchar('\n');
}

static int create(struct create *c)
{
	const char *path = c->words.v[0];
	struct output out;
	if (c->o.q.backing && !c->o.q.backing[0])
		c->o.q.backing = NULL;
	int err = format_options_check(&c->o);
	if (!err)
		err = choose_size(c, path);
	if (!err)
		err = output_begin(&out, path);
	if (err)
		return err;
	err = format_options_make(&c->o, out.fd, path);
	if (!err)
		err = format_options_preallocate(&c->o, &out);
	if (!err && c->o.q.data_file)
		err = make_data_file(c, path);
	if (err)
		output_drop(&out);
	else
		err = output_end(&out);
	if (!err && !c->quiet)
		describe(c, path);
	return err;
}

int image_create(int argc, char **argv)
{
	struct create c = { .o = { .format = "raw" } };
	int status;
	if (!image_parse(&command, &c, &c.words, 1, argc, argv, 1, &status))
		status = create(&c) ? 1 : 0;
	format_options_free(&c.o);
	return status;
}
