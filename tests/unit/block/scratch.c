/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/block/scratch.h"

#include <fcntl.h>
#include <unistd.h>

#include "vmm/base/endian.h"

static char dir[64];
static char message[1024];
static struct loop *loop;

static void clean(void)
{
	char cmd[100];
	loop_destroy(loop);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	if (system(cmd) != 0)
		perror(dir);
}

void scratch(void)
{
	if (dir[0])
		return;
	snprintf(dir, sizeof(dir), "/tmp/charmvm-unit.XXXXXX");
	if (!mkdtemp(dir) || chdir(dir) < 0 || loop_create(&loop))
		exit(2);
	atexit(clean);
}

struct loop *the_loop(void)
{
	scratch();
	return loop;
}

void make_file(const char *name, const void *bytes, size_t n, uint64_t length)
{
	scratch();
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, (off_t)length), 0);
	CHECK_EQ(pwrite(fd, bytes, n, 0), n);
	close(fd);
}

void make_qcow2(const char *name, const struct qcow2_create *o)
{
	struct qcow2_create plain = { .size = 1 << 20 };
	make_file(name, "", 0, 0);
	int fd = open(name, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(qcow2_create(fd, o ? o : &plain), 0);
	close(fd);
}

void poke(const char *name, uint64_t off, const void *bytes, size_t n)
{
	int fd = open(name, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(pwrite(fd, bytes, n, (off_t)off), n);
	close(fd);
}

void poke_be64(const char *name, uint64_t off, uint64_t v)
{
	uint8_t b[8];
	put_be64(b, v);
	poke(name, off, b, 8);
}

void poke_be32(const char *name, uint64_t off, uint32_t v)
{
	uint8_t b[4];
	put_be32(b, v);
	poke(name, off, b, 4);
}

int try_open(const char *name, const char *format, unsigned int flags)
{
	struct blk_node *n = NULL;
	fflush(stderr);
	int keep = dup(2), fd = open("log", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(keep >= 0 && fd >= 0 && dup2(fd, 2) >= 0);
	int err = blk_open(the_loop(), name, format, flags, &n);
	if (!err)
		blk_close(n);
	dup2(keep, 2);
	close(keep);
	ssize_t got = pread(fd, message, sizeof(message) - 1, 0);
	message[got > 0 ? got : 0] = '\0';
	close(fd);
	return err;
}

const char *logged(void)
{
	return message;
}
