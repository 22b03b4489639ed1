/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm-agent: runs commands and copies files in the guest for charmvm on the host, over a virtio-console port. */
/*
 * How it works. One thread, one poll loop; every descriptor is non-blocking; memory is bounded by the numbers in agent.h and
 * frame.h. The port is found by its name in /sys/class/virtio-ports and opened as the device that the kernel made for it, so
 * that neither udev nor a network is needed. It is opened again when it goes away (the driver was unloaded).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest-kit/agent/agent.h"

enum {
	FIND_PAUSE_MS = 50,   /* between looks for the port */
	HANGUP_PAUSE_MS = 20, /* between looks whether the host is back */
};

/* ---- the port ---- */

static bool is_ours(const char *name)
{
	char path[512], text[sizeof(AGENT_PORT_NAME) + 2] = "";
	snprintf(path, sizeof(path), "/sys/class/virtio-ports/%.255s/name", name);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(text, sizeof(text), f))
		*text = '\0';
	fclose(f);
	text[strcspn(text, "\n")] = '\0';
	return !strcmp(text, AGENT_PORT_NAME);
}

/* -> a descriptor or -1. */
static int open_port(void)
{
	int fd = -1;
	DIR *d = opendir("/sys/class/virtio-ports");
	for (struct dirent *e; d && fd < 0 && (e = readdir(d));) {
		char path[512];
		snprintf(path, sizeof(path), "/dev/%.255s", e->d_name);
		if (*e->d_name != '.' && is_ours(e->d_name))
			fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	if (d)
		closedir(d);
	return fd;
}

static void lose_port(struct agent *a)
{
	session_end(a);
	close(a->port);
	a->port = -1;
}

/* -> false: the host has closed its end. */
static bool read_port(struct agent *a)
{
	uint8_t buf[READ_BYTES];
	while (agent_room(a) > OUT_RESERVE) {
		ssize_t n = read(a->port, buf, sizeof(buf));
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			lose_port(a);
		if (n <= 0)
			return n;
		session_input(a, buf, (size_t)n);
	}
	return true;
}

static void write_port(struct agent *a)
{
	while (a->port >= 0 && a->out_pos < a->out_len) {
		ssize_t n = write(a->port, a->out + a->out_pos, a->out_len - a->out_pos);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			lose_port(a);
		if (n <= 0)
			return;
		a->out_pos += (size_t)n;
	}
	a->out_pos = a->out_len = 0;
}

/* ---- the loop ---- */

static void reap(struct agent *a)
{
	struct signalfd_siginfo si;
	pid_t pid;
	int status;
	while (read(a->children, &si, sizeof(si)) == sizeof(si))
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		stream_child_ended(a, pid, status);
}

/* One turn. -> false: the host has closed its end. */
static bool turn(struct agent *a)
{
	struct pollfd fds[2 + 3 * AGENT_STREAMS_MAX];
	unsigned int n = 2;
	fds[0] = (struct pollfd){ .fd = a->port };
	if (agent_room(a) > OUT_RESERVE)
		fds[0].events |= POLLIN;
	if (a->out_pos < a->out_len)
		fds[0].events |= POLLOUT;
	fds[1] = (struct pollfd){ .fd = a->children, .events = POLLIN };
	for (int i = 0; i < AGENT_STREAMS_MAX; i++)
		n += stream_poll(a, &a->streams[i], fds + n);
	if (poll(fds, n, -1) < 0)
		return true;
	reap(a);
	bool there = read_port(a);
	for (int i = 0; i < AGENT_STREAMS_MAX; i++)
		stream_pump(a, &a->streams[i]);
	write_port(a);
	return there;
}

static void pause_ms(int ms)
{
	poll(NULL, 0, ms);
}

static void serve(struct agent *a)
{
	session_announce(a);
	while (a->port >= 0) {
		if (turn(a))
			continue;
		/* That has ended the session; the next one begins with a HELLO. poll(2) does not wait now. */
		session_end(a);
		session_announce(a);
		pause_ms(HANGUP_PAUSE_MS);
	}
}

static int init(struct agent *a)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGPIPE, SIG_IGN);
	a->children = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
	a->out = malloc(OUT_BYTES);
	for (int i = 0; i < AGENT_STREAMS_MAX; i++)
		stream_drop(&a->streams[i]);
	return a->children < 0 || !a->out ? -1 : 0;
}

/* Not to be the one that is killed when a command has eaten the memory. */
static void protect_from_oom(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "-900", 4) < 0) {
		/* Without the right to: then as any other process. */
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct agent *a = calloc(1, sizeof(*a));
	if (!a || init(a)) {
		perror("charmvm-agent");
		return 1;
	}
	if (argc == 3 && !strcmp(argv[1], "--fd")) {
		/* For tests: a connected socket instead of a port, until it ends. */
		a->port = atoi(argv[2]);
		fcntl(a->port, F_SETFL, fcntl(a->port, F_GETFL) | O_NONBLOCK);
		fcntl(a->port, F_SETFD, FD_CLOEXEC);
		serve(a);
		free(a->out);
		free(a);
		return 0;
	}
	if (argc != 1) {
		fprintf(stderr,
			"usage: charmvm-agent (runs in a guest of charmvm, which starts it)\n");
		return 2;
	}
	protect_from_oom();
	for (;;) {
		while ((a->port = open_port()) < 0)
			pause_ms(FIND_PAUSE_MS);
		serve(a);
	}
}
