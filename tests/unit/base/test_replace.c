/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is replaced is always a whole one, whoever else replaces it. */
#include "vmm/base/replace.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

enum { PROCESSES = 4, TIMES = 200 };

static char dir[] = "/tmp/replace.XXXXXX";

static void read_back(const char *path, char text[64])
{
	FILE *f = fopen(path, "r");
	CHECK(f);
	text[fread(text, 1, 63, f)] = '\0';
	fclose(f);
}

static int files_in(const char *path)
{
	int n = 0;
	DIR *d = opendir(path);
	CHECK(d);
	for (const struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

TEST(several_processes_at_once_all_succeed_and_leave_one_file)
{
	char text[64];
	CHECK(mkdtemp(dir) && !chdir(dir));
	for (int i = 0; i < PROCESSES; i++) {
		if (fork())
			continue;
		int err = 0;
		for (int n = 0; n < TIMES && !err; n++)
			err = replace_file("file", "all of it\n");
		_exit(err != 0);
	}
	for (int i = 0, status; i < PROCESSES; i++) {
		CHECK(wait(&status) > 0);
		CHECK_EQ(status, 0);
	}
	read_back("file", text);
	CHECK_STR(text, "all of it\n");
	CHECK_EQ(files_in("."), 1);
}

TEST(it_is_for_its_owner_alone)
{
	struct stat st;
	CHECK_EQ(replace_file("file", "new"), 0);
	CHECK_EQ(stat("file", &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0600);
}

TEST(what_is_there_stays_where_it_is_to_be_made_once)
{
	char text[64];
	CHECK_EQ(create_file_once("file", "other"), 0);
	read_back("file", text);
	CHECK_STR(text, "new");
	CHECK_EQ(create_file_once("once", "first"), 0);
	read_back("once", text);
	CHECK_STR(text, "first");
	CHECK_EQ(unlink("once"), 0);
	CHECK_EQ(files_in("."), 1);
}

TEST(where_it_cannot_be_written_the_error_is_told)
{
	CHECK_EQ(replace_file("none/file", "text"), -ENOENT);
	CHECK_EQ(create_file_once("none/file", "text"), -ENOENT);
	CHECK_EQ(unlink("file"), 0);
	CHECK_EQ(rmdir(dir), 0);
}

TEST_MAIN(T(several_processes_at_once_all_succeed_and_leave_one_file), T(it_is_for_its_owner_alone),
	  T(what_is_there_stays_where_it_is_to_be_made_once),
	  T(where_it_cannot_be_written_the_error_is_told))
