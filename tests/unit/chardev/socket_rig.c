/* SPDX-License-Identifier: Apache-2.0 */
/* A stream on a listening unix socket, and what its clients do. */
#include "tests/unit/chardev/socket_rig.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/test.h"

struct loop *loop;
struct chardev *stream;
struct fake_port port;
char dir[64], path[96];

void rig_setup(int (*open)(struct loop *l, const char *at, struct chardev **out))
{
	CHECK_EQ(loop_create(&loop), 0);
	fake_port_init(&port);
	strcpy(dir, "/tmp/charmvm-test-XXXXXX");
	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/console", dir);
	CHECK_EQ(open(loop, path, &stream), 0);
	chardev_attach(stream, &port.base, &port.lock);
}

void rig_teardown(void)
{
	chardev_close(stream);
	CHECK_EQ(access(path, F_OK), -1);
	loop_destroy(loop);
	rmdir(dir);
}

int rig_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	strcpy(addr.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

void put(const char *text)
{
	CHECK_EQ(chardev_write(stream, (const uint8_t *)text, strlen(text)), strlen(text));
}

void check_gives(int fd, const char *want)
{
	char buf[256] = "";
	CHECK(fd_gives(loop, fd, buf, strlen(want)));
	CHECK_STR(buf, want);
}
