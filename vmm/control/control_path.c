/* SPDX-License-Identifier: Apache-2.0 */
/* The address of a unix socket whose path may be longer than an address has room for. */
#include "vmm/control/control_path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Through /proc/self/fd, where the kernel follows the folder and only the last part counts. */
static int long_addr(struct control_addr *a, const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	if (!slash || (size_t)(slash - path) >= sizeof(dir))
		return -ENAMETOOLONG;
	snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
	a->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (a->dir_fd < 0)
		return -errno;
	int n = snprintf(a->un.sun_path, sizeof(a->un.sun_path), "/proc/self/fd/%d%s", a->dir_fd,
			 slash);
	if (n >= 0 && n < (int)sizeof(a->un.sun_path))
		return 0;
	control_addr_done(a);
	return -ENAMETOOLONG;
}

int control_addr_of(struct control_addr *a, const char *path)
{
	*a = (struct control_addr){ .un.sun_family = AF_UNIX, .dir_fd = -1 };
	if (strlen(path) >= sizeof(a->un.sun_path))
		return long_addr(a, path);
	strcpy(a->un.sun_path, path);
	return 0;
}

void control_addr_done(struct control_addr *a)
{
	if (a->dir_fd >= 0)
		close(a->dir_fd);
	a->dir_fd = -1;
}

int control_path_connect(const char *path)
{
	struct control_addr addr;
	int err = control_addr_of(&addr, path);
	if (err)
		return err;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr.un, sizeof(addr.un)) < 0) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		fd = err;
	}
	control_addr_done(&addr);
	return fd;
}
