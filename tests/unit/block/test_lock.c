/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use an image beside whom: ourselves, and QEMU where it is installed. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/block/lock.h"
#include "tests/unit/block/scratch.h"

/* A second open file description with the locks of a user; the caller closes it. */
static int hold(const char *name, bool writer)
{
	int fd = open(name, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	CHECK_EQ(lock_image(fd, name, writer), 0);
	return fd;
}

TEST(writer_excludes_writer_and_reader)
{
	make_file("a.raw", "x", 1, 4096);
	int fd = hold("a.raw", true);
	CHECK_EQ(try_open("a.raw", "raw", BLK_OPEN_RDWR), -EBUSY);
	CHECK(strstr(logged(), "in use"));
	CHECK_EQ(try_open("a.raw", "raw", 0), -EBUSY);
	CHECK_EQ(try_open("a.raw", "raw", BLK_OPEN_NO_LOCK), 0);
	close(fd);
	CHECK_EQ(try_open("a.raw", "raw", BLK_OPEN_RDWR), 0);
}

TEST(reader_excludes_writer_and_not_reader)
{
	make_file("b.raw", "x", 1, 4096);
	int fd = hold("b.raw", false);
	CHECK_EQ(try_open("b.raw", "raw", BLK_OPEN_RDWR), -EBUSY);
	CHECK_EQ(try_open("b.raw", "raw", 0), 0);
	close(fd);
}

static bool have_qemu(void)
{
	return system("command -v qemu-io >/dev/null 2>&1") == 0;
}

/* qemu-io with the image open, until killed. */
static pid_t start_qemu(const char *mode, const char *format, const char *name)
{
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		setpgid(0, 0);
		execlp("qemu-io", "qemu-io", mode, "-f", format, "-c", "sleep 60000", name, NULL);
		_exit(127);
	}
	int fd = open(name, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	/* Asked without taking: a lock of ours would be in its way. */
	for (int i = 0; i < 500; i++) {
		struct flock fl = { .l_type = F_WRLCK, .l_start = 203, .l_len = 1 };
		if (fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK)
			break;
		usleep(10000);
	}
	usleep(50000); /* it has taken its bytes; now it asks for those of others */
	close(fd);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

TEST(qemu_writing_excludes_us_and_is_named)
{
	if (!have_qemu())
		SKIP("qemu-io is not installed");
	make_file("c.raw", "x", 1, 4096);
	pid_t pid = start_qemu("-n", "raw", "c.raw");
	CHECK_EQ(try_open("c.raw", "raw", 0), -EBUSY);
	bool named = strstr(logged(), "(qemu-io)");
	stop(pid);
	CHECK(named);
	CHECK_EQ(try_open("c.raw", "raw", BLK_OPEN_RDWR), 0);
}

TEST(qemu_reading_excludes_our_writing_only)
{
	if (!have_qemu())
		SKIP("qemu-io is not installed");
	/* Not raw: QEMU lets others write to a raw image that it reads. */
	make_qcow2("d.qcow2", NULL);
	pid_t pid = start_qemu("-r", "qcow2", "d.qcow2");
	int write = try_open("d.qcow2", "qcow2", BLK_OPEN_RDWR);
	int read = try_open("d.qcow2", "qcow2", 0);
	stop(pid);
	CHECK_EQ(write, -EBUSY);
	CHECK_EQ(read, 0);
}

TEST(our_writing_excludes_qemu)
{
	if (!have_qemu())
		SKIP("qemu-io is not installed");
	make_file("e.raw", "x", 1, 4096);
	int fd = hold("e.raw", true);
	int st = system("qemu-io -f raw -c 'read 0 512' e.raw >out 2>&1");
	close(fd);
	CHECK(st != 0);
	CHECK_EQ(system("grep -q 'Failed to get' out"), 0);
}

TEST_MAIN(T(writer_excludes_writer_and_reader), T(reader_excludes_writer_and_not_reader),
	  T(qemu_writing_excludes_us_and_is_named), T(qemu_reading_excludes_our_writing_only),
	  T(our_writing_excludes_qemu))
