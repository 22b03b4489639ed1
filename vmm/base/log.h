/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line on stderr for each message. An error says what, why and what to do next; it is
 * logged once, at the place that knows, and travels up as -errno.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/*
 * Messages above @level are dropped; LOG_LEVEL_WARN unless told. Called before threads start.
 * @crlf: end lines with CR LF, for a terminal in raw mode. Any thread.
 */
void log_set_level(enum log_level level);
void log_set_crlf(bool crlf);
bool log_enabled(enum log_level level);

/* One message, without a newline at the end. Any thread; a message is written in one write(2). */
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * For messages that a guest can cause: at most LOG_GUEST_BURST a second from one @limit, the rest
 * counted and told with the next one that passes. Zeroed memory is a fresh limit; the owner's lock
 * guards it.
 */
enum { LOG_GUEST_BURST = 5 };
struct log_limit {
	uint64_t window_start_ns;
	uint32_t in_window;
	uint32_t dropped;
};

void log_guest(struct log_limit *limit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
