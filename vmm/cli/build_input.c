/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line of charmvm build names: a Charmfile or a recipe of the guest kit, which are read, and the image to be. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/lock.h"
#include "vmm/base/log.h"
#include "vmm/cli/build.h"
#include "vmm/cli/guest_kit.h"
#include "vmm/paths.h"

/* ---- the Charmfile ---- */

/* As much of it as can be a Charmfile, and a byte more. -> 0, or -errno: *text is NULL */
static int read_file(const char *path, char **text, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int err = fd < 0 ? -errno : 0;
	ssize_t n = 1;
	*len = 0;
	*text = err ? NULL : malloc(CHARMFILE_BYTES_MAX + 1);
	if (!err && !*text)
		err = -ENOMEM;
	while (!err && n > 0 && *len <= CHARMFILE_BYTES_MAX) {
		n = read(fd, *text + *len, CHARMFILE_BYTES_MAX + 1 - *len);
		err = n < 0 ? -errno : 0;
		*len += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	if (err) {
		free(*text);
		*text = NULL;
	}
	return err;
}

/* @path's directory with links resolved, and in *base the last part of @path. -> 0 or -errno. */
static int split_path(const char *path, char dir[PATH_MAX], const char **base)
{
	char copy[PATH_MAX];
	const char *slash = strrchr(path, '/');
	*base = slash ? slash + 1 : path;
	int n = snprintf(copy, sizeof(copy), "%.*s", slash ? (int)(slash - path) + 1 : 1,
			 slash ? path : ".");
	if (n >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	return realpath(copy, dir) ? 0 : -errno;
}

/* charmfile_read_fn: what is included, from the context. */
static int read_included(void *opaque, const char *name, char **text, size_t *len)
{
	const struct build *b = opaque;
	char path[PATH_MAX], real[PATH_MAX];
	int err = paths_join(path, b->context, name, NULL);
	if (!err && !realpath(path, real))
		err = -errno;
	if (!err && !plan_is_in(real, b->context))
		err = -EXDEV;
	return err ? err : read_file(real, text, len);
}

enum exit_status build_read(struct build *b)
{
	char why[CHARMFILE_WHY_BYTES] = "", *text = NULL;
	const char *base;
	struct charmfile_text in = { .path = b->file, .read = read_included, .opaque = b };
	int err = read_file(b->file, &text, &in.len);
	err = err ? err : split_path(b->file, b->context, &base);
	if (err) {
		log_error("%s: %s%s", b->file, strerror(-err),
			  err == -ENOENT ? "; say where the Charmfile is: -f FILE" : "");
	} else {
		in.text = text;
		err = charmfile_parse(&b->cf, &in, why);
		if (err)
			log_error("%s", *why ? why : strerror(-err));
	}
	free(text);
	return err ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

enum exit_status build_find_recipe(struct build *b)
{
	if (!b->recipe)
		return EXIT_STATUS_OK;
	bool kit = guest_kit_find(b->kit);
	if (!kit || !guest_kit_recipe(b->kit, b->recipe, b->recipe_file)) {
		log_error(kit ? "no recipe '%s' in %s/recipes; a Charmfile goes behind -f"
			      : "%s: the guest kit, which has recipes, is not found: set "
				"CHARMVM_GUEST_KIT",
			  b->recipe, b->kit);
		return EXIT_STATUS_FILE;
	}
	b->file = b->recipe_file;
	if (b->out_given || b->cached)
		return EXIT_STATUS_OK;
	snprintf(b->out_default, sizeof(b->out_default), "%s.qcow2", b->recipe);
	b->out_given = b->out_default;
	if (access(b->out_given, F_OK))
		return EXIT_STATUS_OK;
	log_error("%s is there already; 'charmvm build %s -o %s' makes it anew", b->out_given,
		  b->recipe, b->out_given);
	return EXIT_STATUS_FILE;
}

/* ---- the image ---- */

/* Whether @b->out can be made in the end; one that is in use cannot. */
static enum exit_status check_output(struct build *b)
{
	struct stat st;
	int fd = open(b->out, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return EXIT_STATUS_OK;
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		log_error("-o %s: %s", b->out_given, fd < 0 ? strerror(errno) : "this is no file");
		if (fd >= 0)
			close(fd);
		return EXIT_STATUS_FILE;
	}
	int err = lock_image(fd, b->out_given, true);
	close(fd);
	return err ? EXIT_STATUS_IN_USE : EXIT_STATUS_OK;
}

enum exit_status build_find_output(struct build *b)
{
	char dir[PATH_MAX];
	const char *base;
	if (b->cached) /* only then is it known where */
		return EXIT_STATUS_OK;
	int err = split_path(b->out_given, dir, &base);
	if (!err && access(dir, W_OK))
		err = -errno;
	if (!err && snprintf(b->out, sizeof(b->out), "%s/%s", strcmp(dir, "/") ? dir : "", base) >=
			    (int)sizeof(b->out))
		err = -ENAMETOOLONG;
	if (!err && !config_name_ok(b->name))
		err = -EISDIR;
	if (!err)
		return check_output(b);
	log_error("-o %s: %s", b->out_given, strerror(-err));
	return EXIT_STATUS_FILE;
}
