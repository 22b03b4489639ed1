/* SPDX-License-Identifier: Apache-2.0 */
/* A network of the test's own, so that its ports collide with nobody's. */
#include "tests/unit/net/netns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static bool interface_up(const char *name)
{
	struct ifreq req = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	bool ok = fd >= 0 && !ioctl(fd, SIOCGIFFLAGS, &req);
	req.ifr_flags |= IFF_UP;
	ok = ok && !ioctl(fd, SIOCSIFFLAGS, &req);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text);
}

static bool enter_as_user(void)
{
	char map[64];
	unsigned int uid = getuid(), gid = getgid();
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	bool ok = write_file("/proc/self/uid_map", map);
	ok = write_file("/proc/self/setgroups", "deny") && ok;
	snprintf(map, sizeof(map), "0 %u 1", gid);
	return write_file("/proc/self/gid_map", map) && ok;
}

bool netns_enter(void)
{
	static bool entered;
	if (entered)
		return true;
	entered = (unshare(CLONE_NEWNET) == 0 || enter_as_user()) && interface_up("lo");
	return entered;
}

bool netns_add_addr(uint32_t ip4)
{
	struct ifreq req = { .ifr_name = "lo:1" };
	struct sockaddr_in *addr = (struct sockaddr_in *)&req.ifr_addr;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	addr->sin_family = AF_INET;
	addr->sin_addr.s_addr = htonl(ip4);
	bool ok = fd >= 0 && !ioctl(fd, SIOCSIFADDR, &req);
	if (fd >= 0)
		close(fd);
	return ok;
}

static int saved_stderr = -1, capture_fd = -1;
static char captured[8192];

void log_capture_begin(void)
{
	capture_fd = memfd_create("log", MFD_CLOEXEC);
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	dup2(capture_fd, STDERR_FILENO);
}

const char *log_capture_end(void)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	ssize_t n = pread(capture_fd, captured, sizeof(captured) - 1, 0);
	captured[n > 0 ? n : 0] = '\0';
	close(capture_fd);
	return captured;
}
