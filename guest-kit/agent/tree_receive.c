/* SPDX-License-Identifier: Apache-2.0 */
/* The receiving end of a tree. */
/*
 * How it works. `dirs` is the way from where the copy goes down to where it is now, each directory open; an entry is made
 * by a name in the last one, and a link is never followed on the way. A file is written under a name of
 * our own and renamed when it is complete. A directory gets its mode when it is left, so that one without write
 * permission can be filled.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest-kit/agent/tree.h"
#include "guest-kit/agent/tree_io.h"

enum { MODE_MASK = 0777 };

struct receiver {
	int dirs[TREE_DEPTH_MAX + 1];
	uint32_t modes[TREE_DEPTH_MAX + 1]; /* of dirs, for when they are left */
	unsigned int depth;		    /* dirs[depth] is where we are */
	int file;			    /* being written, or -1 */
	uint32_t file_mode;
	char *file_name;
	char temporary[32];
	const char *top_name; /* what the first entry is called here; NULL: as it says */
	bool took_one;	      /* the first entry is there: nothing may follow it at the top */
	char *error;
	struct tree_entry e;
};

static int fail(struct receiver *r, const char *name, int err)
{
	snprintf(r->error, TREE_ERROR_BYTES, "%.128s: %s", name, strerror(err));
	return -1;
}

static int refuse(struct receiver *r, const char *why)
{
	snprintf(r->error, TREE_ERROR_BYTES, "the copy's stream is damaged: %s", why);
	return -1;
}

/* The name of the entry in hand, or NULL when there is none that may be used here. */
static const char *take_name(struct receiver *r)
{
	const char *name = (const char *)r->e.payload;
	bool bare = *name && strlen(name) <= 255 && !strchr(name, '/') && strcmp(name, ".") &&
		    strcmp(name, "..");
	bool whole = r->e.kind == TREE_LINK || strlen(name) == r->e.len;
	if (r->file >= 0 || (!r->depth && r->took_one)) {
		refuse(r, "an entry where none can be");
		return NULL;
	}
	if (!bare || !whole) {
		refuse(r, "a name that is none");
		return NULL;
	}
	if (!r->depth) {
		r->took_one = true;
		name = r->top_name ? r->top_name : name;
	}
	return name;
}

/* Nothing but a file or a link gives way to a file or a link. */
static int check_target(struct receiver *r, const char *name)
{
	struct stat st;
	if (fstatat(r->dirs[r->depth], name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(r, name, errno);
	return S_ISREG(st.st_mode) || S_ISLNK(st.st_mode)
		       ? 0
		       : fail(r, name, S_ISDIR(st.st_mode) ? EISDIR : EEXIST);
}

static int begin_file(struct receiver *r)
{
	const char *name = take_name(r);
	if (!name || check_target(r, name))
		return -1;
	r->file_name = strdup(name);
	if (!r->file_name)
		return fail(r, name, ENOMEM);
	r->file_mode = r->e.mode & MODE_MASK;
	r->file = openat(r->dirs[r->depth], r->temporary,
			 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return r->file < 0 ? fail(r, name, errno) : 0;
}

static int write_chunk(struct receiver *r)
{
	if (r->file < 0)
		return refuse(r, "contents without a file");
	for (size_t done = 0; done < r->e.len;) {
		ssize_t n = write(r->file, r->e.payload + done, r->e.len - done);
		if (n < 0 && errno != EINTR)
			return fail(r, r->file_name, errno);
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static void forget_file(struct receiver *r)
{
	if (r->file >= 0) {
		close(r->file);
		unlinkat(r->dirs[r->depth], r->temporary, 0);
	}
	r->file = -1;
	free(r->file_name);
	r->file_name = NULL;
}

static int end_file(struct receiver *r)
{
	if (r->file < 0)
		return refuse(r, "the end of no file");
	int dir = r->dirs[r->depth], err = 0;
	if (fchmod(r->file, r->file_mode) < 0 || renameat(dir, r->temporary, dir, r->file_name) < 0)
		err = fail(r, r->file_name, errno);
	if (!err) {
		/* Some file systems tell only now that the disk is full. */
		if (close(r->file) < 0)
			err = fail(r, r->file_name, errno);
		r->file = -1;
	}
	forget_file(r);
	return err;
}

static int begin_dir(struct receiver *r)
{
	const char *name = take_name(r);
	if (!name)
		return -1;
	if (r->depth == TREE_DEPTH_MAX)
		return refuse(r, "too deep");
	int dir = r->dirs[r->depth];
	bool made = !mkdirat(dir, name, 0700);
	if (!made && errno != EEXIST)
		return fail(r, name, errno);
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fail(r, name, errno);
	r->dirs[++r->depth] = fd;
	/* One that was there keeps its mode. */
	r->modes[r->depth] = made ? r->e.mode & MODE_MASK : UINT32_MAX;
	return 0;
}

static int end_dir(struct receiver *r)
{
	if (!r->depth || r->file >= 0)
		return refuse(r, "the end of no directory");
	int err = r->modes[r->depth] != UINT32_MAX &&
				  fchmod(r->dirs[r->depth], r->modes[r->depth]) < 0
			  ? fail(r, "a directory", errno)
			  : 0;
	close(r->dirs[r->depth--]);
	return err;
}

static int make_link(struct receiver *r)
{
	/* Reading an entry has put a NUL behind it. */
	const char *target = (const char *)r->e.payload + strlen((const char *)r->e.payload) + 1;
	const char *end = (const char *)r->e.payload + r->e.len;
	if (target >= end || target + strlen(target) != end)
		return refuse(r, "a link without a target");
	const char *name = take_name(r);
	if (!name || check_target(r, name))
		return -1;
	int dir = r->dirs[r->depth];
	if (symlinkat(target, dir, r->temporary) < 0)
		return fail(r, name, errno);
	if (!renameat(dir, r->temporary, dir, name))
		return 0;
	int err = errno;
	unlinkat(dir, r->temporary, 0);
	return fail(r, name, err);
}

/* -> 0: more is to come; 1: the end; -1. */
static int take_entry(struct receiver *r)
{
	switch (r->e.kind) {
	case TREE_FILE: return begin_file(r);
	case TREE_CHUNK: return write_chunk(r);
	case TREE_FILE_END: return end_file(r);
	case TREE_DIR: return begin_dir(r);
	case TREE_UP: return end_dir(r);
	case TREE_LINK: return make_link(r);
	case TREE_GAVE_UP: return -1; /* without a word: who gave up says why */
	case TREE_END: return r->depth || r->file >= 0 ? refuse(r, "it ends early") : 1;
	}
	return refuse(r, "an unknown entry");
}

/* Opens where the copy goes, and finds out what it is called there. @path is changed. */
static int open_top(struct receiver *r, char *path)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	r->dirs[0] = open(*path ? path : ".", flags);
	if (r->dirs[0] >= 0)
		return 0;
	char *slash = strrchr(path, '/');
	if ((errno != ENOENT && errno != ENOTDIR) || (slash && !slash[1]))
		return fail(r, path, errno);
	r->top_name = slash ? slash + 1 : path;
	if (slash)
		*slash = '\0';
	const char *parent = !slash ? "." : slash == path ? "/" : path;
	r->dirs[0] = open(parent, flags);
	return r->dirs[0] < 0 ? fail(r, parent, errno) : 0;
}

static int receive(struct receiver *r, int fd)
{
	int got = 0;
	while (!got) {
		int err = tree_entry_read(fd, &r->e);
		if (err)
			return refuse(r, err == -EPIPE ? "it ends in the middle" : strerror(-err));
		got = take_entry(r);
	}
	return got > 0 ? 0 : -1;
}

int tree_receive(int fd, const char *path, char error[TREE_ERROR_BYTES])
{
	struct receiver *r = malloc(sizeof(*r));
	char *copy = strdup(path);
	int err = -1;
	if (!r || !copy) {
		snprintf(error, TREE_ERROR_BYTES, "out of memory");
		goto out;
	}
	r->dirs[0] = r->file = -1;
	r->file_name = NULL;
	r->depth = 0;
	r->top_name = NULL;
	r->took_one = false;
	r->error = error;
	snprintf(r->temporary, sizeof(r->temporary), ".charmvm-copy.%d", (int)getpid());
	err = open_top(r, copy);
	err = err ? err : receive(r, fd);
	forget_file(r);
	for (unsigned int i = 0; i <= r->depth; i++)
		if (r->dirs[i] >= 0)
			close(r->dirs[i]);
out:
	free(copy);
	free(r);
	return err;
}
