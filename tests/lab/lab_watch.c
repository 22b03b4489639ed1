/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which TCP ports of the lab's loopback are listened on.
 *
 * How it works
 *   A child blocks on the trace of sock:inet_sock_set_state, filtered for the
 * state "listening", in a trace instance of its own, and wakes the loop through
 * a pipe. The list itself is read from /proc/net/tcp and tcp6. The event comes
 * a little before the socket is in (or out of) the list, so it is looked at
 * several times, at growing distances.
 */
#include "lab_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TRACE_DIR "/sys/kernel/tracing/instances/lab"

enum {
	LISTEN_MAX = 256, /* sockets followed at the same time */
	LOOKS = 3,
};

static const int look_after_ms[LOOKS] = { 20, 200, 1000 };

struct lab_watch {
	int ctl;
	int traced;
	int64_t look_at_ms[LOOKS]; /* 0: none */
	struct lab_listen listening[LISTEN_MAX];
	size_t count;
};

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t done = -1;

	if (fd >= 0) {
		done = write(fd, text, strlen(text));
		close(fd);
	}
	return done < 0 ? -1 : 0;
}

/* Blocks on the trace and writes a byte for every batch of events; never
 * returns. */
static void trace_child(int wake)
{
	char text[4096];
	int fd = open(TRACE_DIR "/trace_pipe", O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && read(fd, text, sizeof(text)) > 0) {
		if (write(wake, "", 1) < 0 && errno != EAGAIN)
			break;
	}
	_exit(0);
}

/* Returns the descriptor that becomes readable, or -1 when the kernel cannot
 * tell. */
static int trace_start(void)
{
	int ends[2];
	pid_t pid;

	if (mkdir(TRACE_DIR, 0700) ||
	    write_file(TRACE_DIR "/events/sock/inet_sock_set_state/filter",
		       "protocol == 6 && (oldstate == 10 || newstate == 10)") ||
	    write_file(TRACE_DIR "/events/sock/inet_sock_set_state/enable", "1") ||
	    pipe2(ends, O_NONBLOCK | O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		close(ends[0]);
		trace_child(ends[1]);
	}
	close(ends[1]);
	return ends[0];
}

static bool listen_is_in(const struct lab_listen *list, size_t count, const struct lab_listen *l)
{
	for (size_t i = 0; i < count; i++) {
		if (!memcmp(&list[i], l, sizeof(*l)))
			return true;
	}
	return false;
}

/* Adds where a listening socket is reached from outside, if at all: on the
 * loopback only. */
static size_t listen_add(struct lab_listen *list, size_t count, struct lab_listen l)
{
	if (!l.is_v6 && l.addr[0] != 127)
		return count;
	if (l.is_v6 && memcmp(l.addr, &in6addr_loopback, 16))
		return count;
	if (count < LISTEN_MAX && !listen_is_in(list, count, &l))
		list[count++] = l;
	return count;
}

/* One line of /proc/net/tcp or tcp6: the address is 32-bit words as they are in
 * memory, in hex. */
static size_t listen_line(const char *line, struct lab_listen *list, size_t count)
{
	static const uint8_t any[16];
	struct lab_listen four = { .addr = { 127, 0, 0, 1 } };
	struct lab_listen l = { 0 };
	char hex[33];
	uint32_t word;
	unsigned int state;

	if (sscanf(line, " %*u: %32[0-9A-F]:%4X %*[0-9A-F]:%*4X %2X", hex, &l.port, &state) != 3)
		return count;
	if (state != 10 /* TCP_LISTEN */)
		return count;
	l.is_v6 = strlen(hex) == 32;
	for (size_t i = 0; i * 8 < strlen(hex); i++) {
		sscanf(hex + i * 8, "%8" SCNx32, &word);
		memcpy(l.addr + i * 4, &word, 4);
	}
	if (memcmp(l.addr, any, 16))
		return listen_add(list, count, l);
	four.port = l.port; /* all addresses, and of IPv6 mostly both families */
	count = listen_add(list, count, four);
	if (!l.is_v6)
		return count;
	memcpy(l.addr, &in6addr_loopback, 16);
	return listen_add(list, count, l);
}

static size_t listen_scan(const char *path, struct lab_listen *list, size_t count)
{
	char line[256];
	FILE *f = fopen(path, "re");

	if (!f)
		return count;
	while (fgets(line, sizeof(line), f))
		count = listen_line(line, list, count);
	fclose(f);
	return count;
}

static void look(struct lab_watch *w)
{
	struct lab_listen now[LISTEN_MAX];
	size_t count = listen_scan("/proc/net/tcp", now, 0);

	count = listen_scan("/proc/net/tcp6", now, count);
	for (size_t i = 0; i < w->count; i++) {
		if (!listen_is_in(now, count, &w->listening[i]))
			lab_wire_send(w->ctl, LAB_MSG_UNLISTEN, &w->listening[i], sizeof(*now));
	}
	for (size_t i = 0; i < count; i++) {
		if (!listen_is_in(w->listening, w->count, &now[i]))
			lab_wire_send(w->ctl, LAB_MSG_LISTEN, &now[i], sizeof(*now));
	}
	memcpy(w->listening, now, count * sizeof(*now));
	w->count = count;
}

struct lab_watch *lab_watch_new(int ctl)
{
	struct lab_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->ctl = ctl;
	w->traced = trace_start();
	if (w->traced >= 0)
		return w;
	free(w);
	return NULL;
}

int lab_watch_fd(const struct lab_watch *w)
{
	return w ? w->traced : -1;
}

void lab_watch_event(struct lab_watch *w)
{
	char drop[256];
	struct timespec ts;

	if (read(w->traced, drop, sizeof(drop)) == 0) { /* the child was killed */
		close(w->traced);
		w->traced = -1;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	for (int i = 0; i < LOOKS; i++)
		w->look_at_ms[i] = ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + look_after_ms[i];
}

int64_t lab_watch_next_ms(const struct lab_watch *w)
{
	int64_t next_ms = INT64_MAX;

	for (int i = 0; w && i < LOOKS; i++) {
		if (w->look_at_ms[i] && w->look_at_ms[i] < next_ms)
			next_ms = w->look_at_ms[i];
	}
	return next_ms;
}

void lab_watch_due(struct lab_watch *w, int64_t now_ms)
{
	bool due = false;

	for (int i = 0; w && i < LOOKS; i++) {
		if (w->look_at_ms[i] && w->look_at_ms[i] <= now_ms) {
			w->look_at_ms[i] = 0;
			due = true;
		}
	}
	if (due)
		look(w);
}
