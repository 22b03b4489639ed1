/* SPDX-License-Identifier: Apache-2.0 */
/* What the host hands to a machine that was nobody's, for its hooks: a file for each, in memory, for root alone. */
/*
 * As systemd has them at a boot (systemd.exec(5), CREDENTIALS_DIRECTORY), so that the same systemd-tmpfiles(8) lines put them in
 * place there and here.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest-kit/agent/agent.h"

/* Letters, digits and punctuation that means nothing in a path, with a NUL behind them. */
static bool is_name(const char *name, size_t len)
{
	const char *c = name;
	while ((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_' || *c == '-' ||
	       (*c == '.' && c != name))
		c++;
	return !*c && len && len <= AGENT_CREDENTIAL_NAME_MAX;
}

static void keep(const char *name, const uint8_t *value, size_t len)
{
	int dir = open(AGENT_CREDENTIALS_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int fd = dir < 0 ? -1
			 : openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
				  0400);
	/* Half a key is worse than none. */
	if (fd >= 0 && write(fd, value, len) != (ssize_t)len)
		unlinkat(dir, name, 0);
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
}

void credentials_take(const struct frame *f)
{
	const char *name = (const char *)f->payload;
	size_t len = strnlen(name, f->len);
	if (len == f->len || !is_name(name, len))
		return;
	if (!mkdir(AGENT_CREDENTIALS_DIR, 0700) || !access(AGENT_CREDENTIALS_DIR, X_OK))
		keep(name, f->payload + len + 1, f->len - len - 1);
}

void credentials_forget(void)
{
	DIR *d = opendir(AGENT_CREDENTIALS_DIR);
	const struct dirent *e;
	while (d && (e = readdir(d)))
		unlinkat(dirfd(d), e->d_name, 0); /* "." and ".." are refused */
	if (d)
		closedir(d);
	rmdir(AGENT_CREDENTIALS_DIR);
}
