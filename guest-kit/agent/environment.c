/* SPDX-License-Identifier: Apache-2.0 */
/* Reading /etc/environment. */
/*
 * A line is NAME=VALUE, perhaps behind "export", or a comment. A value may stand between quotes of one kind, and blanks around
 * it are nobody's. No variable is put into another.
 */
#include "guest-kit/agent/environment.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 64 * 1024 };

static const char blanks[] = " \t\r";

static char *trim(char *s)
{
	s += strspn(s, blanks);
	size_t len = strlen(s);
	while (len && strchr(blanks, s[len - 1]))
		len--;
	s[len] = '\0';
	return s;
}

static char *unquote(char *s)
{
	size_t len = strlen(s);
	if (len < 2 || (*s != '"' && *s != '\'') || s[len - 1] != *s)
		return s;
	s[len - 1] = '\0';
	return s + 1;
}

static void take(char *line)
{
	line = trim(line);
	if (!strncmp(line, "export ", 7))
		line = trim(line + 7);
	size_t len = strcspn(line, "= \t");
	if (!len || line[len] != '=' || *line == '#')
		return;
	line[len] = '\0';
	setenv(line, unquote(line + len + 1), 1);
}

static void take_lines(char *text)
{
	char *rest = text, *line;
	while ((line = strsep(&rest, "\n")))
		take(line);
}

void environment_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *text = fd < 0 ? NULL : malloc(FILE_BYTES_MAX + 1);
	ssize_t n = text ? read(fd, text, FILE_BYTES_MAX) : -1;
	if (n > 0) {
		text[n] = '\0';
		take_lines(text);
	}
	free(text);
	if (fd >= 0)
		close(fd);
}
