/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that several processes read and write. */
#include "vmm/base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int replace_file(const char *path, const char *text)
{
	char tmp[PATH_MAX]; /* one of our own: another process may do the same now */
	int n = snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path);
	if (n < 0 || n >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	int fd = mkostemp(tmp, O_CLOEXEC); /* 0600 */
	if (fd < 0)
		return -errno;
	int err = dprintf(fd, "%s", text) < 0 ? -errno : 0;
	if (close(fd) < 0 && !err)
		err = -errno;
	if (!err && rename(tmp, path) < 0)
		err = -errno;
	if (err)
		unlink(tmp);
	return err;
}
