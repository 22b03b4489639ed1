/* SPDX-License-Identifier: Apache-2.0 */
/* Files without a name. */
#include "vmm/import/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/zero.h"

enum { HOLE_BYTES = 4096 };

int spool_open(const char *dir)
{
	char path[PATH_MAX];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	/* This file system makes none without a name: it has one for an instant. */
	int n = snprintf(path, sizeof(path), "%s/.charmvm-import.XXXXXX", dir);
	if (n < 0 || n >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

static int write_all(int fd, const char *buf, size_t bytes, off_t off)
{
	while (bytes) {
		ssize_t n = pwrite(fd, buf, bytes, off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENOSPC;
		buf += n;
		off += n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* How many of the @bytes at @p, in pieces of HOLE_BYTES, are alike: all zero (*zero), or all not. */
static size_t run(const char *p, size_t bytes, bool *zero)
{
	size_t n = MIN(bytes, (size_t)HOLE_BYTES);
	*zero = mem_is_zero(p, n);
	while (n < bytes) {
		size_t piece = MIN(bytes - n, (size_t)HOLE_BYTES);
		if (mem_is_zero(p + n, piece) != *zero)
			break;
		n += piece;
	}
	return n;
}

int spool_write(int fd, const void *buf, size_t bytes, uint64_t off)
{
	const char *p = buf;
	int err = 0;
	while (bytes && !err) {
		bool zero;
		size_t n = run(p, bytes, &zero);
		if (!zero)
			err = write_all(fd, p, n, (off_t)off);
		p += n;
		off += n;
		bytes -= n;
	}
	return err;
}
