/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image commit: what an overlay and those below it store goes into a backing file. */
/*
 * How it works. The layers, from the overlay down to the one above the base, are opened each without its
 * backing file, and the base by itself, all for writing: so each is locked against everybody else. What
 * they store is copied layer by layer from below, so that the upper ones prevail; the overlay reads the
 * same at every moment, since whatever reaches the base is hidden by the layers it came from.
 *
 * With one layer, it is emptied in the end, and only when the base is durable (a crash before that
 * leaves both whole, and commit can be run again). With several, the overlay keeps what it has, as
 * with qemu-img: it still stands on those in between.
 */
#include "tools/image/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/create.h"
#include "tools/image/common.h"
#include "tools/image/copy.h"
#include "tools/image/resize.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

enum { LAYERS_MAX = 256 };

struct commit {
	struct image_words words;
	const char *format, *base_name;
	bool keep, progress, quiet;
	struct loop *loop;
	struct blk_node *layers[LAYERS_MAX], *base; /* layers[0]: the overlay */
	unsigned int n_layers;
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct commit *)cfg)->format = value;
	return 0;
}

static int set_base(void *cfg, const char *value)
{
	((struct commit *)cfg)->base_name = value;
	return 0;
}

static int set_keep(void *cfg, const char *value)
{
	(void)value;
	((struct commit *)cfg)->keep = true;
	return 0;
}

static int set_progress(void *cfg, const char *value)
{
	(void)value;
	((struct commit *)cfg)->progress = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct commit *)cfg)->quiet = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct commit *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "format", 'f', "FORMAT", "of the overlay", set_format },
	{ "base", 'b', "FILE", "the backing file, of those below, to commit to", set_base },
	{ "drop", 'd', NULL, "do not empty the overlay, it is not used any more", set_keep },
	{ "progress", 'p', NULL, "tell how far it is", set_progress },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
	{ "cache", 't', "MODE", "taken as qemu-img's; it changes nothing", image_cache },
};

static const struct command_spec command = {
	.usage = "charmvm image commit [OPTION...] FILE",
	.about = "Writes what an overlay stores into its backing file, and empties the overlay. "
		 "With -b,\n"
		 "into one further down: the overlay keeps its contents, those in between are not\n"
		 "valid any more.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- opening ---- */

/* The backing file for writing, as large as the largest layer at least. */
static int open_base(struct commit *c, const char *path, const char *format)
{
	uint64_t size = blk_size(c->layers[0]);
	int err = image_open(&c->loop, path, format, BLK_OPEN_RDWR, NULL, &c->base);
	if (err || blk_size(c->base) >= size)
		return err;
	err = image_set_size(c->base, path, size);
	if (err || blk_is_qcow2(c->base))
		return err;
	err = blk_close(c->base);
	c->base = NULL;
	return err ? err : image_open(&c->loop, path, format, BLK_OPEN_RDWR, NULL, &c->base);
}

static int open_layer(struct commit *c, const char *path, const char *format)
{
	struct blk_node **n = &c->layers[c->n_layers];
	int err = image_open(&c->loop, path, format, BLK_OPEN_RDWR | BLK_OPEN_NO_BACKING, NULL, n);
	if (err)
		return err;
	c->n_layers++;
	err = image_need_qcow2(*n, "backing file");
	if (!err && !qcow2_backing_name(*n)[0]) {
		log_error(c->base_name ? "%s: %s is not among its backing files"
				       : "%s: it has no backing file to commit to",
			  c->words.v[0], c->base_name);
		err = -EINVAL;
	}
	if (!err && c->n_layers == LAYERS_MAX) {
		log_error("%s: more than %d backing files", c->words.v[0], LAYERS_MAX);
		err = -ELOOP;
	}
	return err;
}

/* Whether the backing file at @path, called @name in the image above, is the one that is meant. */
static bool is_base(const struct commit *c, const char *path, const char *name)
{
	struct stat a, b;
	if (!c->base_name || strcmp(name, c->base_name) == 0)
		return true;
	return stat(path, &a) == 0 && stat(c->base_name, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* All layers, and the base. */
static int open_all(struct commit *c)
{
	char *path = strdup(c->words.v[0]);
	const char *format = c->format;
	bool base = false;
	int err = path ? 0 : -ENOMEM;
	while (!err && !base) {
		err = open_layer(c, path, format);
		if (err)
			break;
		const struct blk_node *n = c->layers[c->n_layers - 1];
		char *below = image_beside(path, qcow2_backing_name(n));
		free(path);
		path = below;
		format = qcow2_backing_format(n)[0] ? qcow2_backing_format(n) : NULL;
		err = path ? 0 : -ENOMEM;
		base = !err && is_base(c, path, qcow2_backing_name(n));
	}
	if (!err)
		err = open_base(c, path, format);
	free(path);
	return err;
}

/* ---- the work ---- */

/* Behind the end of a shorter layer the ones above see zeroes, and not the base. */
static int cut_off(struct commit *c, struct blk_node *layer)
{
	uint64_t end = blk_size(layer), size = blk_size(c->base);
	if (layer == c->layers[0] || end >= size)
		return 0;
	struct blk_req req = {
		.op = BLK_WRITE_ZEROES, .flags = BLK_REQ_UNMAP, .off = end, .len = size - end
	};
	int err = image_request(c->loop, c->base, &req);
	if (err)
		log_error("%s: cannot be written: %s", blk_name(c->base), strerror(-err));
	return err;
}

static int copy_layer(struct commit *c, struct blk_node *layer)
{
	struct image_progress progress;
	struct image_copy what = {
		.from = layer, .to = c->base, .which = COPY_ALLOCATED, .progress = &progress
	};
	image_progress_begin(&progress, blk_size(layer), c->progress, c->quiet);
	int err = image_copy(c->loop, &what);
	image_progress_end(&progress);
	return err ? err : cut_off(c, layer);
}

static int copy(struct commit *c)
{
	int err = 0;
	for (unsigned int i = c->n_layers; i && !err; i--)
		err = copy_layer(c, c->layers[i - 1]);
	if (!err && (err = blk_flush(c->base)))
		log_error("%s: cannot be written: %s", blk_name(c->base), strerror(-err));
	return err;
}

/* Without its backing file, what is discarded is unallocated after it: the backing file shows. */
static int empty(struct commit *c, struct blk_node *top)
{
	struct blk_req req = { .op = BLK_DISCARD, .off = 0, .len = blk_size(top) };
	int err = image_request(c->loop, top, &req);
	if (!err)
		err = blk_flush(top);
	if (err)
		log_error("%s: committed, but it cannot be emptied: %s", blk_name(top),
			  strerror(-err));
	return err;
}

static int commit(struct commit *c)
{
	int err = open_all(c);
	if (!err)
		err = copy(c);
	int err2 = blk_close(c->base);
	if (!err && err2)
		log_error("%s: its backing file cannot be written: %s", c->words.v[0],
			  strerror(-err2));
	err = err ? err : err2;
	return err || c->keep || c->n_layers > 1 ? err : empty(c, c->layers[0]);
}

int image_commit(int argc, char **argv)
{
	struct commit c = { 0 };
	int status;
	if (image_parse(&command, &c, &c.words, 1, argc, argv, 1, &status))
		return status;
	int err = commit(&c);
	for (unsigned int i = c.n_layers; i > 1; i--)
		blk_close(c.layers[i - 1]); /* nothing was written to it */
	err = image_close(c.loop, c.n_layers ? c.layers[0] : NULL, err);
	if (!err && !c.quiet)
		printf("Image committed.\n");
	return err ? 1 : 0;
}
