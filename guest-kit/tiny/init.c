/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first instructions of the test guest: marks the moment, then hands over to the shell.
 *
 * The mark is one byte (0x01) written to I/O port 0xf4: a benchmark sees it from outside as the
 * first thing that user space does. A device node is tried first, so that the kernel does the
 * output; cloud kernels have none (CONFIG_DEVPORT), and the instruction is used there.
 */
#include <fcntl.h>
#include <sys/io.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { MARK_PORT = 0xf4, MEM_MAJOR = 1, PORT_MINOR = 4 };

static void mark(void)
{
	int fd;

	mknod("/port", S_IFCHR | 0600, makedev(MEM_MAJOR, PORT_MINOR));
	fd = open("/port", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && pwrite(fd, "\001", 1, MARK_PORT) == 1)
		return;
	if (!ioperm(MARK_PORT, 1, 1))
		outb(1, MARK_PORT);
}

int main(void)
{
	static char *const argv[] = { "sh", "/init.sh", NULL };

	mark();
	execv("/bin/busybox", argv);
	return 127;
}
