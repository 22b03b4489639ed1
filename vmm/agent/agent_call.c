/* SPDX-License-Identifier: Apache-2.0 */
/* A command run in the guest, from the host's side. */
/*
 * How it works. One poll loop over the connection, our input, a signalfd, and the descriptor that output in hand goes to.
 * Output is taken from the connection a frame at a time and written before the next one is looked at; the guest gets credit
 * for what was written. So a reader that stands still stands the command in the guest still, and nobody's memory grows.
 */
#include "vmm/agent/agent_call.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "devices/chardev/term_raw.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/exit_status.h"

enum {
	CREDIT_STEP = AGENT_WINDOW_BYTES / 4,
	SIGNALS_MAX = 3, /* of one kind: then we go without the command's consent */
	SAID_BYTES = 256,
};

struct running {
	struct agent_link *l;
	const struct agent_call *call;
	int signals;
	unsigned int had[_NSIG];
	bool in_open;
	uint32_t in_credit;

	const uint8_t *out; /* in hand: out_len bytes for out_fd, in the decoder's memory */
	size_t out_len;
	int out_fd;
	uint32_t eaten; /* of the credit we gave */

	size_t said_len; /* what came on stderr, where that is not passed on */
	char said[SAID_BYTES];

	bool ended;
	int status;
};

/* ---- how it ends ---- */

static void end(struct running *r, int status)
{
	r->ended = true;
	r->status = status;
}

static void end_by_error(struct running *r, int err)
{
	if (err == -ETIMEDOUT) {
		log_error("the time is up");
		end(r, EXIT_STATUS_TIMEOUT);
	} else {
		log_error(err == -EPROTO ? "the machine's answer is not to be understood"
					 : "the machine has ended");
		end(r, EXIT_STATUS_GUEST_GONE);
	}
}

static void send_frame(struct running *r, enum frame_type type, const void *payload, size_t len)
{
	int err = r->ended ? 0 : agent_link_send(r->l, type, payload, len);
	if (err)
		end_by_error(r, err);
}

static void send_u32(struct running *r, enum frame_type type, uint32_t v)
{
	uint8_t payload[4];
	frame_set_u32(payload, v);
	send_frame(r, type, payload, sizeof(payload));
}

static void on_exit_frame(struct running *r, const struct frame *f)
{
	uint32_t how = frame_u32(f, 0), value = frame_u32(f, 4);
	if (how == EXIT_OUT_OF_MEMORY) {
		log_error("the command was killed: the guest is out of memory; give it more with "
			  "--mem");
		end(r, EXIT_STATUS_OUT_OF_MEMORY);
	} else {
		end(r, how == EXIT_EXITED ? (int)(value & 0xff) : 128 + (int)(value & 0x7f));
	}
}

static void on_error_frame(struct running *r, const struct frame *f)
{
	char why[256];
	uint32_t what = frame_u32(f, 0);
	/* The guest's words: log.c lets no control character through. */
	snprintf(why, sizeof(why), "%.*s", f->len > 4 ? f->len - 4 : 0, f->payload + 4);
	if (what == AGENT_ERROR_GONE)
		log_error("the machine has ended, or its guest has started anew");
	else
		log_error("in the guest: %s", why);
	end(r, what == AGENT_ERROR_NOT_FOUND	? EXIT_STATUS_NOT_FOUND
	       : what == AGENT_ERROR_CANNOT_RUN ? EXIT_STATUS_CANNOT_RUN
	       : what == AGENT_ERROR_GONE	? EXIT_STATUS_GUEST_GONE
						: EXIT_STATUS_NO_RUN);
}

/* ---- the request ---- */

static void send_string(struct running *r, enum frame_type type, const char *s)
{
	size_t len = s ? strlen(s) : 0;
	if (len > FRAME_PAYLOAD_MAX) {
		log_error("a word of the command has %zu bytes; at most %d can be passed", len,
			  FRAME_PAYLOAD_MAX);
		end(r, EXIT_STATUS_USAGE);
	} else if (s) {
		send_frame(r, type, s, len);
	}
}

static void get_winsize(const struct running *r, uint8_t payload[8])
{
	struct winsize size = { 0 };
	ioctl(r->call->in, TIOCGWINSZ, &size);
	frame_set_u32(payload, size.ws_col);
	frame_set_u32(payload + 4, size.ws_row);
}

static void send_request(struct running *r)
{
	const struct agent_call *c = r->call;
	uint8_t exec[12] = { 0 };
	frame_set_u32(exec, c->flags);
	if (c->flags & EXEC_TTY)
		get_winsize(r, exec + 4);
	send_frame(r, FRAME_EXEC, exec, sizeof(exec));
	for (int i = 0; i < c->argc; i++)
		send_string(r, FRAME_ARG, c->argv[i]);
	for (const char *const *e = c->env; e && *e; e++)
		send_string(r, FRAME_ENV, *e);
	send_string(r, FRAME_CWD, c->cwd);
	send_string(r, FRAME_USER, c->user);
	send_u32(r, FRAME_CREDIT, AGENT_WINDOW_BYTES);
	send_frame(r, FRAME_START, NULL, 0);
	if (c->in < 0)
		send_frame(r, FRAME_STDIN_EOF, NULL, 0);
}

/* ---- output ---- */

static void keep_said(struct running *r, const struct frame *f)
{
	size_t n = MIN((size_t)f->len, sizeof(r->said) - r->said_len);
	memcpy(r->said + r->said_len, f->payload, n);
	r->said_len += n;
}

static void log_said(const struct running *r)
{
	size_t len = r->said_len;
	while (len && r->said[len - 1] == '\n')
		len--;
	if (len)
		log_error("in the guest: %.*s", (int)len, r->said);
}

static void on_output(struct running *r, const struct frame *f)
{
	r->eaten += frame_cost(f);
	r->out_fd = f->type == FRAME_STDOUT ? r->call->out : r->call->err;
	if (r->out_fd < 0) {
		keep_said(r, f);
		return;
	}
	r->out = f->payload;
	r->out_len = f->len;
}

/* At most what a pipe that says it has room takes without blocking. */
static void write_some(struct running *r)
{
	ssize_t n = write(r->out_fd, r->out, MIN(r->out_len, (size_t)PIPE_BUF));
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		if (errno != EPIPE)
			log_error("cannot write the command's output: %s", strerror(errno));
		end(r, errno == EPIPE ? 128 + SIGPIPE : EXIT_STATUS_FAILED);
		return;
	}
	r->out += n > 0 ? n : 0;
	r->out_len -= n > 0 ? (size_t)n : 0;
}

static void take_frames(struct running *r)
{
	struct frame f;
	while (!r->ended && !r->out_len) {
		int got = agent_link_next(r->l, false, &f);
		if (got < 0)
			end_by_error(r, got);
		if (got <= 0)
			break;
		switch (f.type) {
		case FRAME_STDOUT:
		case FRAME_STDERR: on_output(r, &f); break;
		case FRAME_CREDIT:
			r->in_credit += MIN(frame_u32(&f, 0), AGENT_WINDOW_BYTES - r->in_credit);
			break;
		case FRAME_EXIT: on_exit_frame(r, &f); break;
		case FRAME_ERROR: on_error_frame(r, &f); break;
		default: break; /* nothing depends on what a later version says */
		}
	}
	if (!r->out_len && r->eaten >= CREDIT_STEP) {
		send_u32(r, FRAME_CREDIT, r->eaten);
		r->eaten = 0;
	}
}

/* ---- input and signals ---- */

static void read_input(struct running *r)
{
	uint8_t buf[FRAME_PAYLOAD_MAX];
	size_t want = MIN(sizeof(buf), (size_t)r->in_credit - FRAME_HEADER_BYTES);
	ssize_t n = read(r->call->in, buf, want);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		r->in_credit -= FRAME_HEADER_BYTES + (uint32_t)n;
		send_frame(r, FRAME_STDIN, buf, (size_t)n);
	} else {
		r->in_open = false;
		send_frame(r, FRAME_STDIN_EOF, NULL, 0);
	}
}

static void on_signal(struct running *r)
{
	struct signalfd_siginfo si;
	uint8_t size[8];
	if (read(r->signals, &si, sizeof(si)) != sizeof(si) || si.ssi_signo >= _NSIG)
		return;
	if (si.ssi_signo == SIGWINCH) {
		get_winsize(r, size);
		send_frame(r, FRAME_WINSIZE, size, sizeof(size));
	} else if (++r->had[si.ssi_signo] < SIGNALS_MAX) {
		send_u32(r, FRAME_SIGNAL, si.ssi_signo);
	} else {
		log_error("giving up on the command, as asked for %d times", SIGNALS_MAX);
		end(r, 128 + (int)si.ssi_signo);
	}
}

/* ---- the loop ---- */

static void turn(struct running *r)
{
	bool may_read = r->in_open && r->in_credit > FRAME_HEADER_BYTES;
	struct pollfd fds[] = {
		{ .fd = r->signals, .events = POLLIN },
		{ .fd = r->out_len ? -1 : r->l->fd, .events = POLLIN },
		{ .fd = may_read ? r->call->in : -1, .events = POLLIN },
		{ .fd = r->out_len ? r->out_fd : -1, .events = POLLOUT },
	};
	int left = agent_link_left_ms(r->l);
	if (!left)
		end_by_error(r, -ETIMEDOUT);
	else if (poll(fds, ARRAY_SIZE(fds), left) > 0) {
		if (fds[0].revents)
			on_signal(r);
		if (fds[2].revents && !r->ended)
			read_input(r);
		if (fds[3].revents && !r->ended)
			write_some(r);
	}
	take_frames(r);
}

static int run(struct running *r)
{
	int err = agent_link_wait(r->l);
	if (err == -ETIMEDOUT) {
		log_error("no agent answered in the guest in time; it is charmvm-agent of "
			  "guest-kit, and starts with the system");
		return EXIT_STATUS_TIMEOUT;
	}
	if (err)
		end_by_error(r, err);
	else
		send_request(r);
	take_frames(r);
	while (!r->ended)
		turn(r);
	log_said(r);
	return r->status;
}

static void block_signals(const struct agent_call *call, sigset_t *old, sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGQUIT);
	sigaddset(set, SIGHUP);
	if (call->flags & EXEC_TTY)
		sigaddset(set, SIGWINCH);
	sigprocmask(SIG_BLOCK, set, old);
}

int agent_call_run(struct agent_link *l, const struct agent_call *call)
{
	struct running r = { .l = l, .call = call, .in_open = call->in >= 0 };
	struct term_raw term;
	sigset_t old, set;
	bool raw = call->flags & EXEC_TTY && !term_raw_guard(&term, call->in);
	block_signals(call, &old, &set);
	signal(SIGPIPE, SIG_IGN);
	r.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (raw)
		term_raw_enter(&term);
	int status = run(&r);
	if (raw)
		term_raw_unguard(&term);
	close(r.signals);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return status;
}
