/* SPDX-License-Identifier: Apache-2.0 */
/* A tree of files as a hash. Each entry is a letter, its name with its NUL, its mode, and then what it holds. */
#include "vmm/build/tree_hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODE_MASK = 0777, READ_BYTES = 64 * 1024 };

struct walk {
	struct sha256 *s;
	char *bad;
	unsigned int depth;
};

static int add_entry(struct walk *w, const char *path, const char *name, bool follow);

static int fail(struct walk *w, const char *path, int err)
{
	snprintf(w->bad, PATH_MAX, "%s", path);
	return err;
}

static void add_head(struct walk *w, char kind, const char *name, mode_t mode)
{
	char head[32];
	snprintf(head, sizeof(head), "%c%03o", kind, (unsigned int)(mode & MODE_MASK));
	sha256_add(w->s, head, strlen(head));
	sha256_add(w->s, name, strlen(name) + 1);
}

/* The length comes behind the contents, so that no file can look like what follows it. */
static int add_contents(struct walk *w, const char *path)
{
	uint64_t total = 0;
	ssize_t n = 0;
	uint8_t *buf = malloc(READ_BYTES);
	int fd = buf ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
	int err = !buf ? -ENOMEM : fd < 0 ? -errno : 0;
	while (!err && (n = read(fd, buf, READ_BYTES)) > 0) {
		sha256_add(w->s, buf, (size_t)n);
		total += (uint64_t)n;
	}
	if (!err && n < 0)
		err = -errno;
	sha256_add(w->s, &total, sizeof(total));
	if (fd >= 0)
		close(fd);
	free(buf);
	return err ? fail(w, path, err) : 0;
}

static int add_link(struct walk *w, const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return fail(w, path, -errno);
	target[n] = '\0';
	sha256_add(w->s, target, (size_t)n + 1);
	return 0;
}

static int not_itself(const struct dirent *e)
{
	return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

/* By the bytes of its names, whatever the language of who builds. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_dir(struct walk *w, const char *path)
{
	struct dirent **names = NULL;
	int n = w->depth < TREE_HASH_DEPTH_MAX ? scandir(path, &names, not_itself, by_bytes) : -1;
	int err = w->depth >= TREE_HASH_DEPTH_MAX ? fail(w, path, -ELOOP)
		  : n < 0			  ? fail(w, path, -errno)
						  : 0;
	w->depth++;
	for (int i = 0; i < n; i++) {
		char below[PATH_MAX];
		int len = snprintf(below, sizeof(below), "%s/%s", path, names[i]->d_name);
		if (!err && len >= (int)sizeof(below))
			err = fail(w, path, -ENAMETOOLONG);
		err = err ? err : add_entry(w, below, names[i]->d_name, false);
		free(names[i]);
	}
	w->depth--;
	free(names);
	sha256_add(w->s, "U", 1);
	return err;
}

static int add_entry(struct walk *w, const char *path, const char *name, bool follow)
{
	struct stat st;
	if (follow ? stat(path, &st) : lstat(path, &st))
		return fail(w, path, -errno);
	if (S_ISLNK(st.st_mode)) {
		add_head(w, 'L', name, 0);
		return add_link(w, path);
	}
	if (S_ISDIR(st.st_mode)) {
		add_head(w, 'D', name, st.st_mode);
		return add_dir(w, path);
	}
	if (!S_ISREG(st.st_mode))
		return follow ? fail(w, path, -EINVAL) : 0;
	add_head(w, 'F', name, st.st_mode);
	return add_contents(w, path);
}

int tree_hash(struct sha256 *s, const char *path, char *bad)
{
	struct walk w = { .s = s, .bad = bad };
	return add_entry(&w, path, "", true);
}
