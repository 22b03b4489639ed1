/* SPDX-License-Identifier: Apache-2.0 */
/* The token of a machine's notebook server. */
/*
 * How it works. A new token's file is there whole or not at all, and only where there was none: who comes second reads what the
 * first has made.
 */
#include "vmm/notebook_token.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "vmm/base/replace.h"
#include "vmm/paths.h"

static const char file_name[] = "notebook-token";

bool notebook_token_ok(const char *text)
{
	static const char allowed[] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
	size_t len = strspn(text, allowed);
	return !text[len] && len >= NOTEBOOK_TOKEN_MIN && len <= NOTEBOOK_TOKEN_MAX;
}

/* -> 0, -ENOENT, -EINVAL (what is there is no token), -errno. */
static int read_token(const char *path, char token[NOTEBOOK_TOKEN_MAX + 1])
{
	char text[NOTEBOOK_TOKEN_MAX + 2] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	int err = n < 0 ? -errno : 0;
	close(fd);
	text[strcspn(text, "\n")] = '\0';
	if (!err && !notebook_token_ok(text))
		err = -EINVAL;
	if (!err)
		snprintf(token, NOTEBOOK_TOKEN_MAX + 1, "%.*s", NOTEBOOK_TOKEN_MAX, text);
	explicit_bzero(text, sizeof(text));
	return err;
}

/* -> 0 (also where another process was faster) or -errno. */
static int make_token(const char *path)
{
	uint8_t bytes[NOTEBOOK_TOKEN_BYTES];
	char text[2 * NOTEBOOK_TOKEN_BYTES + sizeof("\n")];
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return -EIO; /* not for so few bytes, says getrandom(2) */
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	text[2 * sizeof(bytes)] = '\n';
	text[2 * sizeof(bytes) + 1] = '\0';
	int err = create_file_once(path, text);
	explicit_bzero(bytes, sizeof(bytes));
	explicit_bzero(text, sizeof(text));
	return err;
}

int notebook_token_ensure(const char *dir, char token[NOTEBOOK_TOKEN_MAX + 1])
{
	char path[PATH_MAX];
	*token = '\0';
	int err = paths_join(path, dir, file_name, NULL);
	if (err)
		return err;
	err = read_token(path, token);
	if (err == -EINVAL && unlink(path) < 0)
		return -errno;
	if (err != -ENOENT && err != -EINVAL)
		return err;
	err = make_token(path);
	return err ? err : read_token(path, token);
}

void notebook_token_forget(const char *dir)
{
	char path[PATH_MAX];
	if (!paths_join(path, dir, file_name, NULL))
		unlink(path);
}
