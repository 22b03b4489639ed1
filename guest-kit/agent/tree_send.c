/* SPDX-License-Identifier: Apache-2.0 */
/* The sending end of a tree: walks it by open directories, so that nothing moved meanwhile leads astray. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest-kit/agent/tree.h"
#include "guest-kit/agent/tree_io.h"

enum { MODE_MASK = 0777 };

struct sender {
	int fd;
	unsigned int depth;
	char *error;
	struct tree_entry e;
};

static int fail(struct sender *s, const char *name, int err)
{
	snprintf(s->error, TREE_ERROR_BYTES, "%.128s: %s", name, strerror(err));
	return -1;
}

static int put(struct sender *s, enum tree_kind kind, uint32_t mode)
{
	s->e.kind = kind;
	s->e.mode = mode & MODE_MASK;
	int err = tree_entry_write(s->fd, &s->e);
	/* A receiver that has left says why itself. */
	if (err == -EPIPE)
		*s->error = '\0';
	return err == -EPIPE ? -1 : err ? fail(s, "the copy's stream", -err) : 0;
}

static int put_name(struct sender *s, enum tree_kind kind, const char *name, uint32_t mode)
{
	s->e.len = strlen(name);
	memcpy(s->e.payload, name, s->e.len);
	return put(s, kind, mode);
}

static int put_end(struct sender *s, enum tree_kind kind)
{
	s->e.len = 0;
	return put(s, kind, 0);
}

static int send_file(struct sender *s, int fd, const char *name, uint32_t mode)
{
	if (put_name(s, TREE_FILE, name, mode))
		return -1;
	for (;;) {
		ssize_t n = read(fd, s->e.payload, TREE_PAYLOAD_MAX);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(s, name, errno);
		if (!n)
			return put_end(s, TREE_FILE_END);
		s->e.len = (size_t)n;
		if (put(s, TREE_CHUNK, 0))
			return -1;
	}
}

static int send_link(struct sender *s, int dir, const char *name)
{
	size_t len = strlen(name) + 1;
	memcpy(s->e.payload, name, len);
	ssize_t n = readlinkat(dir, name, (char *)s->e.payload + len, PATH_MAX);
	if (n < 0)
		return fail(s, name, errno);
	s->e.len = len + (size_t)n;
	return put(s, TREE_LINK, 0);
}

static int send_entry(struct sender *s, int dir, const char *name, const char *as, int more_flags);

/* Takes @fd. */
static int send_dir(struct sender *s, int fd, const char *name, uint32_t mode)
{
	DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return fail(s, name, errno);
	}
	int err = ++s->depth > TREE_DEPTH_MAX ? fail(s, name, ELOOP)
					      : put_name(s, TREE_DIR, name, mode);
	while (!err) {
		errno = 0;
		struct dirent *e = readdir(d);
		if (!e) {
			err = errno ? fail(s, name, errno) : 0;
			break;
		}
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			err = send_entry(s, dirfd(d), e->d_name, e->d_name, O_NOFOLLOW);
	}
	s->depth--;
	closedir(d);
	return err ? err : put_end(s, TREE_UP);
}

/* O_NONBLOCK: a FIFO must not hold us up before we know that it is one. */
static int send_entry(struct sender *s, int dir, const char *name, const char *as, int more_flags)
{
	struct stat st;
	if (fstatat(dir, name, &st, more_flags ? AT_SYMLINK_NOFOLLOW : 0) < 0)
		return fail(s, name, errno);
	if (S_ISLNK(st.st_mode))
		return send_link(s, dir, name);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return more_flags ? 0 : fail(s, name, EINVAL);
	int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | more_flags);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int err = errno;
		if (fd >= 0)
			close(fd);
		return fail(s, name, err);
	}
	if (S_ISDIR(st.st_mode))
		return send_dir(s, fd, as, st.st_mode);
	int err = S_ISREG(st.st_mode) ? send_file(s, fd, as, st.st_mode) : 0;
	close(fd);
	return err;
}

/* The last part of a path: what the copy is called. "." and ".." and "/" have no name of their own. */
static const char *name_of(const char *path, char buf[NAME_MAX + 1])
{
	size_t len = strlen(path);
	while (len && path[len - 1] == '/')
		len--;
	size_t start = len;
	while (start && path[start - 1] != '/')
		start--;
	snprintf(buf, NAME_MAX + 1, "%.*s", (int)(len - start), path + start);
	return !*buf || !strcmp(buf, ".") || !strcmp(buf, "..") ? "root" : buf;
}

int tree_send(const char *path, int fd, char error[TREE_ERROR_BYTES])
{
	char name[NAME_MAX + 1];
	struct sender *s = malloc(sizeof(*s));
	if (!s) {
		snprintf(error, TREE_ERROR_BYTES, "out of memory");
		return -1;
	}
	s->fd = fd;
	s->depth = 0;
	s->error = error;
	int err = send_entry(s, AT_FDCWD, path, name_of(path, name), 0);
	if (!err) {
		err = put_end(s, TREE_END);
	} else {
		/* Told, so that the other end does not take a short copy for a whole one. */
		s->e = (struct tree_entry){ .kind = TREE_GAVE_UP };
		(void)tree_entry_write(fd, &s->e);
	}
	free(s);
	return err;
}
