/* SPDX-License-Identifier: Apache-2.0 */
/* Catches what is logged meanwhile, so that a test can count the lines: one for each failure. */
#ifndef TESTS_CAPTURE_H
#define TESTS_CAPTURE_H

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct capture {
	int saved, fd;
	char text[4096];
};

static inline void capture_begin(struct capture *c)
{
	c->saved = dup(STDERR_FILENO);
	c->fd = memfd_create("stderr", 0);
	dup2(c->fd, STDERR_FILENO);
}

/* -> the number of lines. */
static inline unsigned int capture_end(struct capture *c)
{
	unsigned int lines = 0;
	dup2(c->saved, STDERR_FILENO);
	ssize_t n = pread(c->fd, c->text, sizeof(c->text) - 1, 0);
	c->text[n < 0 ? 0 : n] = '\0';
	for (const char *p = c->text; (p = strchr(p, '\n')); p++)
		lines++;
	close(c->fd);
	close(c->saved);
	return lines;
}

#endif
