/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of files: what is sent arrives; what a hostile sender says does not get out of where it is put. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest-kit/agent/tree.h"
#include "guest-kit/agent/tree_io.h"
#include "tests/unit/test.h"

static char dir[64];
static char error[TREE_ERROR_BYTES];

static void sh(const char *command)
{
	char line[512];
	snprintf(line, sizeof(line), "cd %s && %s", dir, command);
	CHECK_EQ(system(line), 0);
}

static void fresh_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/charmvm-tree.XXXXXX");
	CHECK(mkdtemp(dir));
	*error = '\0';
}

static void remove_dir(void)
{
	char line[256];
	snprintf(line, sizeof(line), "chmod -R u+w %s && rm -rf %s", dir, dir);
	CHECK_EQ(system(line), 0);
}

static const char *in_dir(const char *name)
{
	static char path[2][128];
	static int i;
	i = !i;
	snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name);
	return path[i];
}

/* Sends @from into a file and receives that at @to. */
static int copy(const char *from, const char *to)
{
	int fd = open(in_dir("stream"), O_RDWR | O_CREAT | O_TRUNC, 0600);
	int err = tree_send(in_dir(from), fd, error);
	lseek(fd, 0, SEEK_SET);
	err = err ? err : tree_receive(fd, in_dir(to), error);
	close(fd);
	return err;
}

TEST(file_arrives_with_its_mode)
{
	fresh_dir();
	sh("head -c 100000 /dev/urandom >a && chmod 751 a");
	CHECK_EQ(copy("a", "b"), 0);
	sh("cmp a b && test $(stat -c %a b) = 751");
	remove_dir();
}

TEST(tree_arrives_with_empty_directories_links_and_modes)
{
	fresh_dir();
	sh("mkdir -p t/empty t/locked && : >t/none && echo x >t/locked/f && ln -s ../elsewhere t/l "
	   "&& "
	   "mkfifo t/fifo && chmod 500 t/locked && mkdir into");
	CHECK_EQ(copy("t", "into"), 0);
	sh("rm t/fifo && diff -r --no-dereference t into/t && test $(stat -c %a into/t/locked) = "
	   "500 && "
	   "test \"$(readlink into/t/l)\" = ../elsewhere");
	remove_dir();
}

TEST(existing_file_is_replaced_and_a_directory_is_not)
{
	fresh_dir();
	sh("echo new >a && echo old >b && ln b c && mkdir -p d/a");
	CHECK_EQ(copy("a", "b"), 0);
	sh("cmp a b && test $(cat c) = old");
	CHECK_EQ(copy("a", "d"), -1);
	CHECK(strstr(error, "directory"));
	remove_dir();
}

TEST(missing_source_is_told_to_both_ends)
{
	fresh_dir();
	CHECK_EQ(copy("nothing", "b"), -1);
	CHECK(strstr(error, "No such file"));
	int fd = open(in_dir("stream"), O_RDONLY);
	*error = '\0';
	CHECK_EQ(tree_receive(fd, in_dir("b"), error), -1);
	CHECK_STR(error, ""); /* who gave up says why */
	close(fd);
	remove_dir();
}

/* ---- a sender that is no friend ---- */

static int stream_begin(void)
{
	return open(in_dir("stream"), O_RDWR | O_CREAT | O_TRUNC, 0600);
}

static void say(int fd, enum tree_kind kind, const char *payload, size_t len)
{
	static struct tree_entry e;
	e.kind = kind;
	e.mode = 07777;
	e.len = len;
	memcpy(e.payload, payload, len);
	CHECK_EQ(tree_entry_write(fd, &e), 0);
}

static int stream_end(int fd, const char *to)
{
	lseek(fd, 0, SEEK_SET);
	int err = tree_receive(fd, in_dir(to), error);
	close(fd);
	return err;
}

TEST(names_that_lead_elsewhere_are_refused)
{
	static const char *const names[] = { "..", ".", "", "a/b", "/tmp/x", "../x", "a\0b" };
	fresh_dir();
	sh("mkdir in");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = i == 6 ? 3 : strlen(names[i]);
		for (const char *kind = "FD"; *kind; kind++) {
			int fd = stream_begin();
			say(fd, TREE_DIR, "top", 3);
			say(fd, (enum tree_kind) * kind, names[i], len);
			CHECK_EQ(stream_end(fd, "in"), -1);
		}
	}
	sh("test \"$(find . -type f)\" = ./stream");
	remove_dir();
}

TEST(link_made_by_the_sender_is_not_followed)
{
	fresh_dir();
	sh("mkdir in out");
	int fd = stream_begin();
	say(fd, TREE_DIR, "top", 3);
	say(fd, TREE_LINK, "l\0../../out", 11);
	say(fd, TREE_DIR, "l", 1);
	say(fd, TREE_FILE, "f", 1);
	CHECK_EQ(stream_end(fd, "in"), -1);
	sh("test -z \"$(ls out)\"");
	remove_dir();
}

TEST(half_a_file_leaves_nothing)
{
	fresh_dir();
	int fd = stream_begin();
	say(fd, TREE_FILE, "f", 1);
	say(fd, TREE_CHUNK, "abc", 3);
	CHECK_EQ(stream_end(fd, "f"), -1);
	CHECK(strstr(error, "middle"));
	sh("test \"$(ls -A)\" = stream");
	remove_dir();
}

TEST(set_user_id_is_not_carried)
{
	fresh_dir();
	int fd = stream_begin();
	say(fd, TREE_FILE, "f", 1);
	say(fd, TREE_FILE_END, "", 0);
	say(fd, TREE_END, "", 0);
	CHECK_EQ(stream_end(fd, "f"), 0);
	sh("test $(stat -c %a f) = 777");
	remove_dir();
}

TEST(entries_out_of_place_are_refused)
{
	static const char *const orders[] = { "C",  "E",  "U",	 "FF",	"FD", "FU",
					      "FZ", "DZ", "FEF", "DUD", "L",  "?" };
	fresh_dir();
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		int fd = stream_begin();
		for (const char *k = orders[i]; *k; k++)
			say(fd, (enum tree_kind) * k, "a", *k == 'F' || *k == 'D' || *k == 'L');
		CHECK_EQ(stream_end(fd, "to"), -1);
		sh("rm -rf to");
	}
	remove_dir();
}

TEST(depth_is_bounded)
{
	fresh_dir();
	sh("mkdir in");
	int fd = stream_begin();
	for (int i = 0; i < 2 * TREE_DEPTH_MAX; i++)
		say(fd, TREE_DIR, "d", 1);
	CHECK_EQ(stream_end(fd, "in"), -1);
	CHECK(strstr(error, "deep"));
	remove_dir();
}

TEST_MAIN(T(file_arrives_with_its_mode), T(tree_arrives_with_empty_directories_links_and_modes),
	  T(existing_file_is_replaced_and_a_directory_is_not),
	  T(missing_source_is_told_to_both_ends), T(names_that_lead_elsewhere_are_refused),
	  T(link_made_by_the_sender_is_not_followed), T(half_a_file_leaves_nothing),
	  T(set_user_id_is_not_carried), T(entries_out_of_place_are_refused), T(depth_is_bounded))
