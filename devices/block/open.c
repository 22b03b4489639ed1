/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an image with all it stands on, and closing it. */
/*
 * How it works. The top image is opened first, then its backing file, and so on down; each is a file
 * node with a format node on it. An image names its backing file, and images are downloaded from
 * strangers: without leave, one could name a private file of the user's and show it to the guest. So
 * (rules, unless BLK_OPEN_ANY_BACKING):
 *  1. a backing file is followed only where the image records its format; a probed one never,
 *     since a guest that once wrote to it could have made it look like another format;
 *  2. it lies in the directory of the image or below, all symbolic links resolved;
 *  3. or it is named in blk_open_opts.allow_backing, which is the user's word for it.
 * A file that is met twice in a chain is a loop. Backing files are opened read-only.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/block/fault.h"
#include "devices/block/node.h"
#include "devices/block/probe.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

enum { CHAIN_MAX = 256 };

struct opening {
	struct blk_ctx *ctx;
	unsigned int flags;
	const struct blk_open_opts *opts;
	struct {
		dev_t dev;
		ino_t ino;
	} seen[CHAIN_MAX];
	unsigned int n_seen;
};

/* ---- one image ---- */

static int note_seen(struct opening *o, const char *path, const char *top)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return 0; /* file_open() will say it better */
	for (unsigned int i = 0; i < o->n_seen; i++)
		if (o->seen[i].dev == st.st_dev && o->seen[i].ino == st.st_ino) {
			log_error("%s: its backing files form a loop, through %s", top, path);
			return -ELOOP;
		}
	if (o->n_seen == CHAIN_MAX) {
		log_error("%s: more than %d backing files", top, CHAIN_MAX);
		return -ELOOP;
	}
	o->seen[o->n_seen].dev = st.st_dev;
	o->seen[o->n_seen++].ino = st.st_ino;
	return 0;
}

/* -> the format to use, "raw" or "qcow2", or NULL after a message. */
static const char *choose_format(struct blk_node *file, const char *format)
{
	if (format && (strcmp(format, "raw") == 0 || strcmp(format, "qcow2") == 0))
		return format;
	if (format) {
		log_error("%s: format \"%s\" is not supported: raw and qcow2 are; "
			  "qemu-img convert changes it",
			  file->name, format);
		return NULL;
	}
	uint8_t *head = NULL;
	if (posix_memalign((void **)&head, BLK_SECTOR_BYTES, BLK_SECTOR_BYTES))
		return NULL;
	const char *found = "raw";
	int err = blk_co_read(file, head, BLK_SECTOR_BYTES, 0);
	if (!err)
		found = probe_format(head, BLK_SECTOR_BYTES);
	free(head);
	if (err) {
		log_error("%s: cannot be read: %s", file->name, strerror(-err));
		return NULL;
	}
	if (!found || strcmp(found, "qcow2") == 0)
		return found ? found : "raw";
	log_error("%s: this is a %s image: convert it with qemu-img convert -O qcow2", file->name,
		  found);
	return NULL;
}

static int open_format(struct blk_node *file, const char *format, bool probed, unsigned int flags,
		       struct blk_node **out)
{
	bool raw = strcmp(format, "raw") == 0;
	if (!file->size && !(raw && (flags & BLK_OPEN_EMPTY))) {
		log_error("%s: the file is empty: not an image; charmvm image create makes one",
			  file->name);
		return -EINVAL;
	}
	if (!raw) {
		file->grows = true;
		return qcow2_co_open(file, flags, out);
	}
	file->grows = false;
	return raw_open(file, probed, out);
}

static int put_fault(struct opening *o, struct blk_node **file)
{
	struct blk_node *fault;
	int err = fault_open(*file, &fault);
	if (err) {
		blk_co_close(*file);
		return err;
	}
	*file = *o->opts->fault = fault;
	return 0;
}

/* Messages about what is open by a path that says nothing to a user. */
static int rename_shown(struct blk_node *file, const char *shown)
{
	char *name = strdup(shown);
	if (!name) {
		blk_co_close(file);
		return -ENOMEM;
	}
	free(file->name);
	file->name = name;
	return 0;
}

static int open_one(struct opening *o, const char *path, const char *format, unsigned int flags,
		    struct blk_node **out)
{
	struct blk_node *file;
	int err = file_open(o->ctx, path, flags, true, &file);
	if (!err && o->opts && o->opts->shown && o->n_seen == 1)
		err = rename_shown(file, o->opts->shown);
	if (!err && o->opts && o->opts->fault && o->n_seen == 1)
		err = put_fault(o, &file);
	if (err)
		return err;
	const char *chosen = file->size || format ? choose_format(file, format) : "raw";
	err = chosen ? open_format(file, chosen, !format, flags, out) : -ENOTSUP;
	if (err)
		blk_co_close(file);
	return err;
}

/* ---- where a backing file is ---- */

/* @name as the image at @image_path means it. -> a string to free, or NULL. */
static char *beside(const char *image_path, const char *name)
{
	const char *slash = strrchr(image_path, '/');
	char *out;
	if (name[0] == '/' || !slash)
		return strdup(name);
	if (asprintf(&out, "%.*s/%s", (int)(slash - image_path), image_path, name) < 0)
		return NULL;
	return out;
}

/* "nbd://host", "json:{...}": something before a colon that is no path. */
static bool names_protocol(const char *name)
{
	const char *colon = strchr(name, ':'), *slash = strchr(name, '/');
	return colon && (!slash || colon < slash);
}

static bool is_inside(const char *image_path, const char *real)
{
	char *image = realpath(image_path, NULL);
	char *slash = image ? strrchr(image, '/') : NULL;
	size_t dir_bytes = slash ? (size_t)(slash - image) + 1 : 0;
	bool inside = slash && strncmp(image, real, dir_bytes) == 0;
	free(image);
	return inside;
}

static bool is_allowed(const struct opening *o, const char *real)
{
	if (!o->opts || !o->opts->allow_backing)
		return false;
	for (const char *const *p = o->opts->allow_backing; *p; p++) {
		char *allowed = realpath(*p, NULL);
		bool same = allowed && strcmp(allowed, real) == 0;
		free(allowed);
		if (same)
			return true;
	}
	return false;
}

/* @kind: "backing file" or "data file". -> 0 when it may be followed. */
static int check_policy(const struct opening *o, const char *image, const char *kind,
			const char *real, bool has_format)
{
	if ((o->flags & BLK_OPEN_ANY_BACKING) || is_allowed(o, real))
		return 0;
	if (!is_inside(image, real)) {
		log_error("%s: its %s %s is outside the image's directory: if you trust the image, "
			  "say so with --allow-backing %s",
			  image, kind, real, real);
		return -EPERM;
	}
	if (!has_format) {
		log_error("%s: it does not record the format of its %s: record it with charmvm "
			  "image rebase -u -b FILE -F FORMAT, or allow it with --allow-backing %s",
			  image, kind, real);
		return -EPERM;
	}
	return 0;
}

/* The resolved path of what @image names. -> 0 and *real to free. */
static int resolve(const struct opening *o, const char *image, const char *kind, const char *name,
		   bool has_format, char **real)
{
	if (strncmp(name, "file:", 5) == 0)
		name += 5;
	if (names_protocol(name)) {
		log_error("%s: its %s is not a local file: \"%s\"", image, kind, name);
		return -ENOTSUP;
	}
	char *path = beside(image, name);
	if (!path)
		return -ENOMEM;
	*real = realpath(path, NULL);
	int err = *real ? 0 : -errno;
	if (err)
		log_error("%s: its %s %s cannot be opened: %s", image, kind, path, strerror(-err));
	free(path);
	if (!err)
		err = check_policy(o, image, kind, *real, has_format);
	if (err) {
		free(*real);
		*real = NULL;
	}
	return err;
}

/* ---- the chain ---- */

static int open_data_file(struct opening *o, struct blk_node *n, unsigned int flags)
{
	const char *name = qcow2_data_file_name(n);
	if (!name[0])
		return 0;
	char *real;
	int err = resolve(o, n->name, "data file", name, true, &real);
	if (err)
		return err;
	struct blk_node *file;
	err = note_seen(o, real, n->name);
	if (!err)
		err = file_open(o->ctx, real, flags, true, &file);
	free(real);
	if (!err)
		qcow2_set_data_file(n, file);
	return err;
}

/* Opens the next one down and hangs it below @n. *next NULL: there is none. */
static int open_backing(struct opening *o, struct blk_node *n, struct blk_node **next)
{
	*next = NULL;
	if (!qcow2_backing_name(n)[0] || (o->flags & BLK_OPEN_NO_BACKING))
		return 0;
	const char *format = qcow2_backing_format(n);
	char *real;
	int err = resolve(o, n->name, "backing file", qcow2_backing_name(n), format[0], &real);
	if (err)
		return err;
	unsigned int flags = o->flags & ~(unsigned int)BLK_OPEN_RDWR;
	err = note_seen(o, real, n->name);
	if (!err)
		err = open_one(o, real, format[0] ? format : NULL, flags, next);
	free(real);
	if (err)
		return err;
	qcow2_set_backing(n, *next);
	return open_data_file(o, *next, flags);
}

static int open_chain(struct opening *o, const char *path, const char *format,
		      struct blk_node **out)
{
	int err = note_seen(o, path, path);
	if (err)
		return err;
	struct blk_node *top, *at, *next;
	err = open_one(o, path, format, o->flags, &top);
	if (err)
		return err;
	err = open_data_file(o, top, o->flags);
	for (at = top; at && !err; at = next)
		err = open_backing(o, at, &next);
	/* A check counts what it repairs: nothing is repaired before it. */
	if (!err && blk_is_qcow2(top) && !(o->flags & BLK_OPEN_CHECK))
		err = qcow2_co_after_open(top);
	if (!err && o->opts && o->opts->snapshot)
		err = qcow2_co_view_snapshot(top, o->opts->snapshot);
	if (err) {
		blk_co_close(top);
		return err;
	}
	*out = top;
	return 0;
}

/* ---- from outside a coroutine ---- */

struct open_job {
	struct opening o;
	const char *path, *format;
	struct blk_node *node;
	int err;
	bool done;
};

static void co_open(void *arg)
{
	struct open_job *job = arg;
	job->err = open_chain(&job->o, job->path, job->format, &job->node);
	job->done = true;
}

int blk_open_with(struct loop *l, const char *path, const char *format, unsigned int flags,
		  const struct blk_open_opts *opts, struct blk_node **out)
{
	assert(!loop_running(l));
	struct open_job *job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->path = path;
	job->format = format;
	job->o.flags = flags;
	job->o.opts = opts;
	struct blk_ctx *ctx;
	int err = blk_ctx_get(l, &ctx);
	if (err)
		goto out_free;
	job->o.ctx = ctx;
	err = co_spawn(ctx->co, co_open, job);
	if (!err)
		err = loop_run_until(l, &job->done);
	if (!err)
		err = job->err;
	if (!err)
		*out = job->node;
	blk_ctx_put(ctx);
out_free:
	free(job);
	return err;
}

int blk_open(struct loop *l, const char *path, const char *format, unsigned int flags,
	     struct blk_node **out)
{
	return blk_open_with(l, path, format, flags, NULL, out);
}

struct close_job {
	struct blk_node *node;
	int err;
	bool done;
};

static void co_close(void *arg)
{
	struct close_job *job = arg;
	job->err = blk_co_close(job->node);
	job->done = true;
}

int blk_close(struct blk_node *n)
{
	if (!n)
		return 0;
	struct blk_ctx *ctx = n->ctx;
	assert(!loop_running(ctx->loop));
	ctx->refs++;
	struct close_job job = { .node = n };
	int err = co_spawn(ctx->co, co_close, &job);
	if (!err)
		err = loop_run_until(ctx->loop, &job.done);
	if (!err)
		err = job.err;
	blk_ctx_put(ctx);
	return err;
}
