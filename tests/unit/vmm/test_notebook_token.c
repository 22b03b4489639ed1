/* SPDX-License-Identifier: Apache-2.0 */
/* The token of a machine's notebook: made once, nobody else's, and nothing but a token. */
#include "vmm/notebook_token.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

static char dir[64], file[96];

static void in_new_dir(void)
{
	snprintf(dir, sizeof(dir), "/tmp/charmvm-test.XXXXXX");
	CHECK(mkdtemp(dir) != NULL);
	snprintf(file, sizeof(file), "%s/notebook-token", dir);
}

static void remove_dir(void)
{
	notebook_token_forget(dir);
	CHECK_EQ(rmdir(dir), 0); /* nothing else was left there */
}

static void write_file(const char *text)
{
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

TEST(is_made_once_and_for_this_user_only)
{
	char a[NOTEBOOK_TOKEN_MAX + 1], b[NOTEBOOK_TOKEN_MAX + 1];
	struct stat st;
	in_new_dir();
	CHECK_EQ(notebook_token_ensure(dir, a), 0);
	CHECK_EQ(notebook_token_ensure(dir, b), 0);
	CHECK_STR(a, b);
	CHECK_EQ(strlen(a), 2 * NOTEBOOK_TOKEN_BYTES);
	CHECK_EQ(stat(file, &st), 0);
	CHECK_EQ(st.st_mode & 077, 0);
	notebook_token_forget(dir);
	CHECK_EQ(notebook_token_ensure(dir, b), 0);
	CHECK(strcmp(a, b) != 0);
	remove_dir();
}

/* What a crash of the host or a hand has left there is no reason to go without. */
TEST(what_is_no_token_is_replaced)
{
	static const char *const broken[] = { "", "\n", "short\n", "0123456789abcdef 0123456789\n",
					      "0123456789abcdef\"><script>\n" };
	char token[NOTEBOOK_TOKEN_MAX + 1];
	in_new_dir();
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		write_file(broken[i]);
		CHECK_EQ(notebook_token_ensure(dir, token), 0);
		CHECK(notebook_token_ok(token));
	}
	write_file("chosen-by-hand_0123456789\n");
	CHECK_EQ(notebook_token_ensure(dir, token), 0);
	CHECK_STR(token, "chosen-by-hand_0123456789");
	remove_dir();
}

TEST(directory_that_is_not_there_is_an_error_and_no_token)
{
	char token[NOTEBOOK_TOKEN_MAX + 1] = "before";
	CHECK_EQ(notebook_token_ensure("/nonexistent", token), -ENOENT);
	CHECK_STR(token, "");
}

TEST(processes_at_once_get_the_same_one)
{
	enum { PROCESSES = 16 };
	char token[NOTEBOOK_TOKEN_MAX + 1], theirs[NOTEBOOK_TOKEN_MAX + 1];
	int fds[2], go[2], status;
	in_new_dir();
	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(pipe(go), 0);
	for (int i = 0; i < PROCESSES; i++) {
		if (fork())
			continue;
		close(go[1]);
		if (read(go[0], token, 1) || notebook_token_ensure(dir, token))
			_exit(1);
		_exit(write(fds[1], token, sizeof(token)) != sizeof(token));
	}
	close(go[1]); /* all at once */
	for (int i = 0; i < PROCESSES; i++) {
		CHECK(wait(&status) > 0);
		CHECK_EQ(status, 0);
	}
	CHECK_EQ(notebook_token_ensure(dir, token), 0);
	for (int i = 0; i < PROCESSES; i++) {
		CHECK_EQ(read(fds[0], theirs, sizeof(theirs)), (ssize_t)sizeof(theirs));
		CHECK_STR(theirs, token);
	}
	remove_dir();
}

TEST(only_what_is_itself_in_a_url_is_a_token)
{
	char longest[NOTEBOOK_TOKEN_MAX + 2];
	memset(longest, 'x', sizeof(longest));
	longest[NOTEBOOK_TOKEN_MAX + 1] = '\0';
	CHECK(!notebook_token_ok(longest));
	longest[NOTEBOOK_TOKEN_MAX] = '\0';
	CHECK(notebook_token_ok(longest));
	CHECK(notebook_token_ok("0123456789abcdef"));
	CHECK(!notebook_token_ok("0123456789abcde"));
	CHECK(!notebook_token_ok("0123456789abcdef&token=x"));
	CHECK(!notebook_token_ok("0123456789abcdef%20"));
	CHECK(!notebook_token_ok("0123456789abcdef\n"));
	CHECK(!notebook_token_ok("0123456789abcd\xc3\xa9"));
	CHECK(!notebook_token_ok(""));
}

TEST_MAIN(T(is_made_once_and_for_this_user_only), T(what_is_no_token_is_replaced),
	  T(directory_that_is_not_there_is_an_error_and_no_token),
	  T(processes_at_once_get_the_same_one), T(only_what_is_itself_in_a_url_is_a_token))
