/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that several processes read and write. */
#include "vmm/base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A file of our own beside @path: another process may do the same now. Its name goes to @tmp. */
static int write_beside(const char *path, const char *text, char tmp[PATH_MAX])
{
	int n = snprintf(tmp, PATH_MAX, "%s.XXXXXX", path);
	if (n < 0 || n >= PATH_MAX)
		return -ENAMETOOLONG;
	int fd = mkostemp(tmp, O_CLOEXEC); /* 0600 */
	if (fd < 0)
		return -errno;
	int err = dprintf(fd, "%s", text) < 0 ? -errno : 0;
	if (close(fd) < 0 && !err)
		err = -errno;
	if (err)
		unlink(tmp);
	return err;
}

int replace_file(const char *path, const char *text)
{
	char tmp[PATH_MAX];
	int err = write_beside(path, text, tmp);
	if (!err && rename(tmp, path) < 0) {
		err = -errno;
		unlink(tmp);
	}
	return err;
}

int create_file_once(const char *path, const char *text)
{
	char tmp[PATH_MAX];
	int err = write_beside(path, text, tmp);
	if (err)
		return err;
	if (link(tmp, path) < 0 && errno != EEXIST)
		err = -errno;
	unlink(tmp);
	return err;
}
