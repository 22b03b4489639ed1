/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: a command each, between its descriptors and the host. */
/*
 *     free -- EXEC --> request -- START --> running -- the command ends --> ended -- all said --> free
 *
 * Whatever is wrong with a request is said when it is made, with an ERROR, which frees the stream at once.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "guest-kit/agent/agent.h"

enum {
	CREDIT_STEP = 32 * 1024, /* a credit is worth a frame from here on */
	END_OF_FILE = 4,	 /* Ctrl-D, what ends a terminal's input */
};

struct stream *stream_find(struct agent *a, uint32_t id)
{
	for (int i = 0; i < AGENT_STREAMS_MAX; i++)
		if (a->streams[i].state != STREAM_FREE && a->streams[i].id == id)
			return &a->streams[i];
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void stream_drop(struct stream *s)
{
	/* A program of our own has something to tidy up, which it does when its pipes end. */
	if (s->state == STREAM_RUNNING && !(s->request.flags & EXEC_BUILTIN))
		kill(-s->cmd.pid, SIGHUP);
	close_fd(&s->cmd.in);
	close_fd(&s->cmd.out);
	close_fd(&s->cmd.err);
	request_free(&s->request);
	free(s->in);
	*s = (struct stream){ .cmd = { .in = -1, .out = -1, .err = -1 } };
}

static void send_error(struct agent *a, uint32_t id, enum agent_error what, const char *why)
{
	uint8_t payload[4 + 256];
	size_t len = strnlen(why, 255);
	frame_set_u32(payload, what);
	memcpy(payload + 4, why, len);
	agent_send(a, FRAME_ERROR, id, payload, 4 + len);
}

static void refuse(struct agent *a, struct stream *s, enum agent_error what, const char *why)
{
	send_error(a, s->id, what, why);
	stream_drop(s);
}

/* How often this kernel has killed for want of memory. */
static uint64_t oom_kills(void)
{
	char line[128];
	unsigned long long n = 0;
	FILE *f = fopen("/proc/vmstat", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "oom_kill %llu", &n) == 1)
			break;
	if (f)
		fclose(f);
	return n;
}

/* ---- the request ---- */

void stream_open(struct agent *a, const struct frame *f)
{
	struct stream *s = NULL;
	for (int i = 0; i < AGENT_STREAMS_MAX && !s; i++)
		if (a->streams[i].state == STREAM_FREE)
			s = &a->streams[i];
	if (!s) {
		send_error(a, f->stream, AGENT_ERROR_LIMIT, "too many commands at once");
		return;
	}
	stream_drop(s); /* in its first state */
	s->state = STREAM_REQUEST;
	s->id = f->stream;
	s->request.flags = frame_u32(f, 0);
	s->request.cols = (uint16_t)frame_u32(f, 4);
	s->request.rows = (uint16_t)frame_u32(f, 8);
	if (f->len != 12 || s->request.flags & ~(uint32_t)EXEC_FLAGS)
		refuse(a, s, AGENT_ERROR_REQUEST, "unknown flags");
}

static void grant(struct agent *a, struct stream *s, uint32_t n)
{
	uint8_t payload[4];
	frame_set_u32(payload, n);
	s->in_credit += n;
	agent_send(a, FRAME_CREDIT, s->id, payload, sizeof(payload));
}

static void start(struct agent *a, struct stream *s)
{
	enum agent_error what;
	char why[256];
	s->in = malloc(AGENT_WINDOW_BYTES);
	if (!s->in) {
		refuse(a, s, AGENT_ERROR_LIMIT, "out of memory");
		return;
	}
	s->oom_before = oom_kills();
	if (request_start(&s->request, &s->cmd, &what, why)) {
		refuse(a, s, what, why);
		return;
	}
	uint32_t flags = s->request.flags;
	request_free(&s->request);
	s->request.flags = flags;
	s->state = STREAM_RUNNING;
	grant(a, s, AGENT_WINDOW_BYTES);
}

/* ---- frames of a running one ---- */

static void take_input(struct agent *a, struct stream *s, const struct frame *f)
{
	uint32_t cost = frame_cost(f);
	if (cost > s->in_credit || s->in_eof) {
		refuse(a, s, AGENT_ERROR_REQUEST, "more input than was asked for");
		return;
	}
	s->in_credit -= cost;
	/* A command that has closed its input: what comes is thrown away, as it would be by a pipe. */
	bool kept = s->cmd.in >= 0;
	s->in_eaten += kept ? FRAME_HEADER_BYTES : cost;
	if (!kept)
		return;
	memmove(s->in, s->in + s->in_pos, s->in_len - s->in_pos);
	s->in_len -= s->in_pos;
	s->in_pos = 0;
	/* Credit is given for what was taken out, so there is room for what it allows. */
	memcpy(s->in + s->in_len, f->payload, f->len);
	s->in_len += f->len;
}

static void take_winsize(const struct stream *s, const struct frame *f)
{
	const struct winsize size = { .ws_col = (uint16_t)frame_u32(f, 0),
				      .ws_row = (uint16_t)frame_u32(f, 4) };
	if (s->request.flags & EXEC_TTY && s->cmd.in >= 0)
		ioctl(s->cmd.in, TIOCSWINSZ, &size);
}

static void take_credit(struct agent *a, struct stream *s, const struct frame *f)
{
	uint32_t n = frame_u32(f, 0);
	if (n > AGENT_WINDOW_BYTES || s->out_credit > AGENT_WINDOW_BYTES - n)
		refuse(a, s, AGENT_ERROR_REQUEST, "too much credit");
	else
		s->out_credit += n;
}

static void running_frame(struct agent *a, struct stream *s, const struct frame *f)
{
	uint32_t sig = frame_u32(f, 0);
	switch (f->type) {
	case FRAME_STDIN: take_input(a, s, f); break;
	case FRAME_STDIN_EOF: s->in_eof = true; break;
	case FRAME_WINSIZE: take_winsize(s, f); break;
	case FRAME_SIGNAL:
		if (s->state == STREAM_RUNNING && sig && sig < NSIG)
			kill(-s->cmd.pid, (int)sig);
		break;
	default: break; /* a later version's, or one that makes no sense: nothing depends on it */
	}
}

void stream_frame(struct agent *a, struct stream *s, const struct frame *f)
{
	if (f->type == FRAME_CLOSE)
		stream_drop(s);
	else if (f->type == FRAME_CREDIT)
		take_credit(a, s, f);
	else if (s->state != STREAM_REQUEST)
		running_frame(a, s, f);
	else if (f->type == FRAME_START)
		start(a, s);
	else if (f->type >= FRAME_ARG && f->type <= FRAME_USER && request_add(&s->request, f))
		refuse(a, s, AGENT_ERROR_REQUEST, "a request that is too large");
}

/* ---- moving data ---- */

static void pump_in(struct agent *a, struct stream *s)
{
	while (s->cmd.in >= 0 && s->in_pos < s->in_len) {
		ssize_t n = write(s->cmd.in, s->in + s->in_pos, s->in_len - s->in_pos);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			n = (ssize_t)(s->in_len - s->in_pos);
			close_fd(&s->cmd.in);
		}
		s->in_pos += (size_t)n;
		s->in_eaten += (uint32_t)n;
	}
	bool empty = s->in_pos == s->in_len;
	if (s->in_eaten && (empty || s->in_eaten >= CREDIT_STEP) && agent_room(a) > OUT_ANSWER) {
		grant(a, s, s->in_eaten);
		s->in_eaten = 0;
	}
	if (!empty || !s->in_eof || s->cmd.in < 0)
		return;
	if (s->request.flags & EXEC_TTY && write(s->cmd.in, &(char){ END_OF_FILE }, 1) < 0 &&
	    errno == EAGAIN)
		return;
	/* The terminal itself stays open by its other descriptor. */
	close_fd(&s->cmd.in);
}

/* Reads what @fd has. Of a command that has ended only what is there is wanted. */
static void pump_out(struct agent *a, struct stream *s, int *fd, enum frame_type type)
{
	uint8_t buf[READ_BYTES];
	while (*fd >= 0 && s->out_credit > FRAME_HEADER_BYTES &&
	       agent_room(a) > OUT_RESERVE + FRAME_MAX) {
		size_t want = s->out_credit - FRAME_HEADER_BYTES;
		want = want < sizeof(buf) ? want : sizeof(buf);
		ssize_t n = read(*fd, buf, want);
		if (n > 0) {
			agent_send(a, type, s->id, buf, (size_t)n);
			s->out_credit -= FRAME_HEADER_BYTES + (uint32_t)n;
		} else if (n < 0 && errno == EAGAIN && s->state != STREAM_ENDED) {
			break;
		} else if (n == 0 || errno != EINTR) {
			close_fd(fd); /* a terminal ends with EIO */
		}
	}
}

static void say_end(struct agent *a, struct stream *s)
{
	uint8_t payload[8];
	int st = s->wait_status;
	uint32_t how = EXIT_EXITED, value = (uint32_t)WEXITSTATUS(st);
	if (WIFSIGNALED(st)) {
		value = (uint32_t)WTERMSIG(st);
		how = value == SIGKILL && oom_kills() > s->oom_before ? EXIT_OUT_OF_MEMORY
								      : EXIT_SIGNALLED;
	}
	frame_set_u32(payload, how);
	frame_set_u32(payload + 4, value);
	agent_send(a, FRAME_EXIT, s->id, payload, sizeof(payload));
	stream_drop(s);
}

void stream_pump(struct agent *a, struct stream *s)
{
	if (s->state < STREAM_RUNNING)
		return;
	pump_in(a, s);
	pump_out(a, s, &s->cmd.out, FRAME_STDOUT);
	pump_out(a, s, &s->cmd.err, FRAME_STDERR);
	if (s->state == STREAM_ENDED && s->cmd.out < 0 && s->cmd.err < 0 &&
	    agent_room(a) > OUT_ANSWER)
		say_end(a, s);
}

void stream_child_ended(struct agent *a, pid_t pid, int wait_status)
{
	for (int i = 0; i < AGENT_STREAMS_MAX; i++) {
		struct stream *s = &a->streams[i];
		if (s->state != STREAM_RUNNING || s->cmd.pid != pid)
			continue;
		s->state = STREAM_ENDED;
		s->wait_status = wait_status;
	}
}

unsigned int stream_poll(const struct agent *a, const struct stream *s, struct pollfd *fds)
{
	unsigned int n = 0;
	if (s->state < STREAM_RUNNING)
		return 0;
	if (s->cmd.in >= 0 && (s->in_pos < s->in_len || s->in_eof))
		fds[n++] = (struct pollfd){ .fd = s->cmd.in, .events = POLLOUT };
	if (s->out_credit <= FRAME_HEADER_BYTES || agent_room(a) <= OUT_RESERVE + FRAME_MAX)
		return n;
	if (s->cmd.out >= 0)
		fds[n++] = (struct pollfd){ .fd = s->cmd.out, .events = POLLIN };
	if (s->cmd.err >= 0)
		fds[n++] = (struct pollfd){ .fd = s->cmd.err, .events = POLLIN };
	return n;
}
