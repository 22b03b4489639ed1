/* SPDX-License-Identifier: Apache-2.0 */
/* A new file that appears under its name only when it is whole. */
/*
 * How it works. The file is made without a name (O_TMPFILE), so that the kernel removes it with the
 * process, whatever ends that; it is opened through /proc/self/fd. At the end it is synced, gets a
 * temporary name beside the target, and is renamed over it. File systems without O_TMPFILE get the
 * temporary name at once; there SIGKILL leaves it behind, and the other signals do not: they are blocked, long
 * work looks for them (output_interrupted()), and they end the process after output_drop().
 */
#include "tools/image/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/lock.h"
#include "vmm/base/log.h"

static void watched_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
}

static int complain(const struct output *o, const char *path, int err)
{
	log_error("%s: cannot be made: %s", o->target ? o->target : path, strerror(-err));
	return err;
}

/* What is there already is ours to replace: a file that nobody uses. *mode: what the new one gets. */
static int lock_old(struct output *o, mode_t *mode)
{
	struct stat st;
	o->old_fd = open(o->target, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (o->old_fd < 0)
		return errno == ENOENT ? 0 : complain(o, o->target, -errno);
	if (fstat(o->old_fd, &st) < 0)
		return complain(o, o->target, -errno);
	if (!S_ISREG(st.st_mode)) {
		log_error("%s: this is no regular file: charmvm image convert -n writes into what "
			  "there is",
			  o->target);
		return -EINVAL;
	}
	*mode = st.st_mode & 0777;
	return lock_image(o->old_fd, o->target, true);
}

static int open_new(struct output *o, const char *dir)
{
	o->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
	if (o->fd >= 0) {
		free(o->path);
		if (asprintf(&o->path, "/proc/self/fd/%d", o->fd) < 0)
			o->path = NULL;
		return o->path ? 0 : -ENOMEM;
	}
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	o->fd = open(o->temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
	o->has_temp = o->fd >= 0;
	o->path = strdup(o->temp);
	return o->fd < 0 ? -errno : o->path ? 0 : -ENOMEM;
}

/* The directory of a path, with its slash; to free. */
static char *directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("./");
}

int output_begin(struct output *o, const char *path)
{
	*o = (struct output){ .fd = -1, .old_fd = -1 };
	sigset_t set;
	watched_signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	o->target = realpath(path, NULL);
	if (!o->target)
		o->target = strdup(path);
	char *dir = o->target ? directory(o->target) : NULL;
	mode_t mode = 0;
	int err = dir ? lock_old(o, &mode) : -ENOMEM;
	if (!err) {
		const char *base = strrchr(o->target, '/');
		if (asprintf(&o->temp, "%s.%s.%d.partial", dir, base ? base + 1 : o->target,
			     (int)getpid()) < 0)
			o->temp = NULL;
		err = o->temp ? open_new(o, dir) : -ENOMEM;
		if (!err && mode && fchmod(o->fd, mode) < 0)
			err = -errno;
		if (err)
			complain(o, path, err);
	}
	free(dir);
	if (err)
		output_drop(o);
	return err;
}

bool output_interrupted(void)
{
	sigset_t set;
	return sigpending(&set) == 0 && (sigismember(&set, SIGINT) || sigismember(&set, SIGTERM) ||
					 sigismember(&set, SIGHUP));
}

/* The new name is durable, too. */
static int sync_directory(const char *path)
{
	char *dir = directory(path);
	int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int err = fd < 0 || fsync(fd) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	free(dir);
	return err;
}

int output_end(struct output *o)
{
	int err = output_interrupted() ? -EINTR : fsync(o->fd) < 0 ? -errno : 0;
	if (!err && !o->has_temp) {
		o->has_temp = linkat(AT_FDCWD, o->path, AT_FDCWD, o->temp, AT_SYMLINK_FOLLOW) == 0;
		err = o->has_temp ? 0 : -errno;
	}
	if (!err && rename(o->temp, o->target) < 0)
		err = -errno;
	if (!err) {
		o->has_temp = false;
		err = sync_directory(o->target);
	}
	if (err)
		complain(o, o->target, err);
	output_drop(o);
	return err;
}

void output_drop(struct output *o)
{
	if (o->has_temp)
		unlink(o->temp);
	if (o->fd >= 0)
		close(o->fd);
	if (o->old_fd >= 0)
		close(o->old_fd);
	free(o->target);
	free(o->temp);
	free(o->path);
	*o = (struct output){ .fd = -1, .old_fd = -1 };
	sigset_t set;
	watched_signals(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}
