/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to stderr. */
#include "vmm/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/clock.h"

enum { LOG_LINE_MAX = 1024 };

/*
 * The only file-scope variables of the program (tests/lint/globals.sh knows them by name): every
 * place may log, also those that have no object at hand.
 */
static atomic_int log_level = LOG_LEVEL_WARN;
static atomic_bool log_crlf;

void log_set_level(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

void log_set_crlf(bool crlf)
{
	atomic_store(&log_crlf, crlf);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

static const char *level_prefix(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR: return "charmvm: ";
	case LOG_LEVEL_WARN: return "charmvm: warning: ";
	case LOG_LEVEL_INFO: return "charmvm: ";
	case LOG_LEVEL_DEBUG: return "charmvm: debug: ";
	}
	return "";
}

/* Control characters of a name out of a hostile image must not reach the terminal. */
static void defuse(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

__attribute__((format(printf, 2, 0))) static void log_v(enum log_level level, const char *fmt,
							va_list ap)
{
	char line[LOG_LINE_MAX];
	int saved_errno = errno;
	int n = snprintf(line, sizeof(line) - 3, "%s", level_prefix(level));
	int m = vsnprintf(line + n, sizeof(line) - 3 - (size_t)n, fmt, ap);
	if (m < 0)
		line[n] = '\0';
	defuse(line);
	strcat(line, atomic_load(&log_crlf) ? "\r\n" : "\n");
	if (write(STDERR_FILENO, line, strlen(line)) < 0) {
		/* stderr is gone: there is nobody left to tell. */
	}
	errno = saved_errno;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	if (!log_enabled(level))
		return;
	va_list ap;
	va_start(ap, fmt);
	log_v(level, fmt, ap);
	va_end(ap);
}

void log_guest(struct log_limit *limit, const char *fmt, ...)
{
	uint64_t now = clock_now_ns();
	if (now - limit->window_start_ns > NS_PER_S) {
		limit->window_start_ns = now;
		limit->in_window = 0;
	}
	if (limit->in_window++ >= LOG_GUEST_BURST) {
		limit->dropped++;
		return;
	}
	if (limit->dropped) {
		log_warn("%u similar messages were left out", limit->dropped);
		limit->dropped = 0;
	}
	va_list ap;
	va_start(ap, fmt);
	if (log_enabled(LOG_LEVEL_WARN))
		log_v(LOG_LEVEL_WARN, fmt, ap);
	va_end(ap);
}
