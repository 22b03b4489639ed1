/* SPDX-License-Identifier: Apache-2.0 */
/* Opening streams by name; files; nowhere. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/chardev/fake_port.h"
#include "tests/unit/test.h"

static struct loop *loop;
static struct fake_port port;
static char dir[64];
static char spec[128];

static void setup(void)
{
	CHECK_EQ(loop_create(&loop), 0);
	fake_port_init(&port);
	strcpy(dir, "/tmp/charmvm-test-XXXXXX");
	CHECK(mkdtemp(dir));
}

static const char *path_of(const char *s)
{
	return strchr(s, ':') + 1;
}

static void teardown(void)
{
	loop_destroy(loop);
	unlink(path_of(spec));
	rmdir(dir);
}

static struct chardev *open_file(const char *name)
{
	struct chardev *c = NULL;
	snprintf(spec, sizeof(spec), "file:%s/%s", dir, name);
	CHECK_EQ(chardev_open(loop, spec, CHARDEV_CHANNEL, NULL, &c), 0);
	chardev_attach(c, &port.base, &port.lock);
	return c;
}

static void put(struct chardev *c, const char *text)
{
	CHECK_EQ(chardev_write(c, (const uint8_t *)text, strlen(text)), strlen(text));
}

static void check_content(const char *want)
{
	char buf[256];
	int fd = open(path_of(spec), O_RDONLY);
	CHECK(fd >= 0);
	ssize_t n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	CHECK(n >= 0);
	buf[n] = '\0';
	CHECK_STR(buf, want);
}

TEST(file_is_created_and_gets_what_was_written_at_the_end_of_the_turn)
{
	setup();
	struct chardev *c = open_file("log");
	put(c, "one ");
	put(c, "two");
	check_content("");
	run_for_ms(loop, 5);
	check_content("one two");
	CHECK_EQ(port.connected, 1);
	chardev_close(c);
	teardown();
}

TEST(file_is_appended_to_and_flushed_by_close)
{
	setup();
	struct chardev *c = open_file("log");
	put(c, "boot 1\n");
	chardev_close(c);
	c = open_file("log");
	put(c, "boot 2\n");
	chardev_close(c);
	check_content("boot 1\nboot 2\n");
	teardown();
}

TEST(full_disk_drops_output_and_does_not_stop_the_port)
{
	struct chardev *c = NULL;
	setup();
	strcpy(spec, "file:/dev/full");
	CHECK_EQ(chardev_open(loop, spec, CHARDEV_CHANNEL, NULL, &c), 0);
	chardev_attach(c, &port.base, &port.lock);
	put(c, "lost");
	run_for_ms(loop, 5);
	for (int i = 0; i < 1000; i++) {
		char line[100] = "";
		CHECK_EQ(chardev_write(c, (uint8_t *)line, sizeof(line)), sizeof(line));
	}
	chardev_close(c);
	strcpy(spec, "file:/nonexistent/x");
	teardown();
}

TEST(file_that_cannot_be_opened_is_an_error)
{
	struct chardev *c = NULL;
	setup();
	CHECK_EQ(chardev_open(loop, "file:/", CHARDEV_CHANNEL, NULL, &c), -EISDIR);
	CHECK_EQ(chardev_open(loop, "file:/nonexistent/x", CHARDEV_CHANNEL, NULL, &c), -ENOENT);
	snprintf(spec, sizeof(spec), "file:%s/fifo", dir);
	CHECK_EQ(mkfifo(path_of(spec), 0600), 0);
	CHECK_EQ(chardev_open(loop, spec, CHARDEV_CHANNEL, NULL, &c), -ENXIO);
	CHECK(!c);
	teardown();
}

TEST(unknown_names_are_refused)
{
	static const char *const bad[] = { "", "file:", "socket:", "stdio:", "tty", "File:/tmp/x" };
	struct chardev *c = NULL;
	setup();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(chardev_open(loop, bad[i], CHARDEV_CHANNEL, NULL, &c), -EINVAL);
	CHECK(!c);
	strcpy(spec, "file:/nonexistent/x");
	teardown();
}

TEST(none_swallows_everything)
{
	struct chardev *c = NULL;
	static uint8_t big[200000];
	setup();
	CHECK_EQ(chardev_open(loop, "none", CHARDEV_CHANNEL, NULL, &c), 0);
	chardev_attach(c, &port.base, &port.lock);
	CHECK_EQ(chardev_write(c, big, sizeof(big)), sizeof(big));
	chardev_input_ready(c);
	chardev_close(c);
	chardev_close(NULL);
	strcpy(spec, "file:/nonexistent/x");
	teardown();
}

TEST_MAIN(T(file_is_created_and_gets_what_was_written_at_the_end_of_the_turn),
	  T(file_is_appended_to_and_flushed_by_close),
	  T(full_disk_drops_output_and_does_not_stop_the_port),
	  T(file_that_cannot_be_opened_is_an_error), T(unknown_names_are_refused),
	  T(none_swallows_everything))
