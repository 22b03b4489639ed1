/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal as a stream. */
/*
 * How it works. Keys are always read, even while the guest takes none, because the escape must work
 * then above all; what the guest has no room for is dropped beyond TERM_KEYS_BYTES, as a terminal
 * line does. A pipe or a file is read no faster than the guest takes it, and has no escape.
 *
 * Job control. SIGWINCH, SIGTSTP and SIGCONT come through a signalfd, so that all work is done on
 * the loop. SIGTSTP gives the terminal back and then really stops; SIGCONT takes it again if we are
 * in its foreground. In the background (`charmvm ... &`) we neither read nor set modes, and look
 * every TERM_FOREGROUND_NS whether that is still so, since a shell's `fg` need not send a signal.
 */
#include "devices/chardev/term.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "devices/chardev/chardev.h"
#include "devices/chardev/stream.h"
#include "devices/chardev/term_raw.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

enum {
	TERM_KEYS_BYTES = 4096,
	TERM_FOREGROUND_NS = 500 * 1000 * 1000,
};

struct term {
	struct chardev base;
	struct loop *loop;
	struct stream_in in;
	struct stream_out out;
	int out_tty; /* the caller's descriptor if it is a terminal, or -1 */

	/* Only where the input is a terminal. */
	bool keyboard;
	struct chardev_quit quit;
	struct term_raw raw;
	struct loop_fd signals;
	struct loop_timer foreground;
	sigset_t old_mask;
	bool escaped; /* the last key was Ctrl-] */
	struct ring keys;
	uint8_t keys_buf[TERM_KEYS_BYTES];
};

#define HELP_BEFORE "\r\nCtrl-] then\r\n  .       leave: "
#define HELP_FORCE  "\r\n  f       write here; whoever did reads from now on"
#define HELP_BEHIND "\r\n  ?       this help\r\n  Ctrl-]  send one Ctrl-] to the guest\r\n"

static struct term *term_of(struct chardev *c)
{
	return container_of(c, struct term, base);
}

/* ---- keys ---- */

static void deliver_keys(struct term *t)
{
	uint32_t len;
	for (;;) {
		const uint8_t *p = ring_front(&t->keys, &len);
		size_t n = len ? chardev_deliver(&t->base, p, len) : 0;
		if (!n)
			return;
		ring_drop(&t->keys, (uint32_t)n);
	}
}

static void say(struct term *t, const char *text)
{
	if (t->out_tty >= 0)
		stream_out_write(&t->out, (const uint8_t *)text, strlen(text));
	else
		dprintf(STDERR_FILENO, "%s", text);
}

static void help(struct term *t)
{
	say(t, HELP_BEFORE);
	say(t, t->quit.means ? t->quit.means : "the machine ends");
	if (t->quit.force)
		say(t, HELP_FORCE);
	say(t, HELP_BEHIND);
}

/* The key after Ctrl-]. */
static void command(struct term *t, uint8_t key)
{
	switch (key) {
	case TERM_ESCAPE: ring_push(&t->keys, &key, 1); break;
	case '.':
		if (t->quit.fn)
			t->quit.fn(t->quit.opaque);
		break;
	case 'f':
		if (t->quit.force) {
			t->quit.force(t->quit.opaque);
			break;
		}
		help(t);
		break;
	default: help(t); break;
	}
}

static size_t on_keys(struct term *t, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (t->escaped) {
			t->escaped = false;
			command(t, buf[i]);
		} else if (buf[i] == TERM_ESCAPE) {
			t->escaped = true;
		} else {
			ring_push(&t->keys, &buf[i], 1);
		}
	}
	deliver_keys(t);
	return len;
}

static size_t on_input(void *opaque, const uint8_t *buf, size_t len)
{
	struct term *t = opaque;
	return t->keyboard ? on_keys(t, buf, len) : chardev_deliver(&t->base, buf, len);
}

static void on_room(void *opaque)
{
	struct term *t = opaque;
	chardev_tell_room(&t->base);
}

static void on_broken(void *opaque, int err)
{
	(void)opaque;
	log_warn("standard output: %s; further console output is dropped", strerror(-err));
}

/* ---- the terminal's own affairs ---- */

static void tell_size(struct term *t)
{
	struct winsize ws;
	if (t->out_tty >= 0 && ioctl(t->out_tty, TIOCGWINSZ, &ws) == 0 && ws.ws_col && ws.ws_row)
		chardev_tell_size(&t->base, ws.ws_col, ws.ws_row);
}

/* Takes the terminal if it is ours to take, or leaves it alone and looks again later. */
static void take_or_wait(struct term *t)
{
	if (term_in_foreground(t->raw.fd)) {
		term_raw_enter(&t->raw);
		if (t->in.fd >= 0 && !t->in.src.added)
			stream_in_start(&t->in);
		return;
	}
	loop_fd_remove(t->loop, &t->in.src);
	t->raw.raw = false;
	log_set_crlf(false);
	loop_timer_arm(t->loop, &t->foreground, clock_now_ns() + TERM_FOREGROUND_NS);
}

static void on_foreground_timer(void *opaque)
{
	take_or_wait(opaque);
}

static void stop_self(struct term *t)
{
	stream_out_flush(&t->out);
	term_raw_leave(&t->raw);
	kill(getpid(), SIGSTOP);
	/* Here again after SIGCONT, which also waits in the signalfd. */
}

static void on_signal(void *opaque, uint32_t events)
{
	struct term *t = opaque;
	struct signalfd_siginfo si;
	(void)events;
	if (read(t->signals.fd, &si, sizeof(si)) != sizeof(si))
		return;
	switch (si.ssi_signo) {
	case SIGTSTP: stop_self(t); break;
	case SIGCONT:
		take_or_wait(t);
		tell_size(t);
		break;
	case SIGWINCH: tell_size(t); break;
	}
}

/* ---- the stream ---- */

static size_t term_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	return stream_out_write(&term_of(c)->out, buf, len);
}

static void term_input_ready(struct chardev *c)
{
	struct term *t = term_of(c);
	if (t->keyboard)
		deliver_keys(t);
	else
		stream_in_ready(&t->in);
}

static void term_attached(struct chardev *c)
{
	struct term *t = term_of(c);
	stream_in_set_lock(&t->in, c->lock);
	stream_out_set_lock(&t->out, c->lock);
	t->signals.lock = t->foreground.lock = c->lock;
	if (!c->port)
		return;
	chardev_tell_connected(c, true);
	tell_size(t);
	term_input_ready(c);
}

static void keyboard_close(struct term *t)
{
	loop_timer_disarm(t->loop, &t->foreground);
	loop_fd_remove(t->loop, &t->signals);
	close(t->signals.fd);
	term_raw_unguard(&t->raw);
	pthread_sigmask(SIG_SETMASK, &t->old_mask, NULL);
}

static void term_destroy(struct chardev *c)
{
	struct term *t = term_of(c);
	stream_in_stop(&t->in);
	stream_out_fini(&t->out);
	if (t->keyboard)
		keyboard_close(t);
	free(t);
}

static const struct chardev_ops term_ops = {
	.name = "stdio",
	.write = term_write,
	.input_ready = term_input_ready,
	.attached = term_attached,
	.destroy = term_destroy,
};

/* ---- opening ---- */

static int signals_open(struct term *t)
{
	sigset_t taken, blocked;
	sigemptyset(&taken);
	sigaddset(&taken, SIGWINCH);
	sigaddset(&taken, SIGTSTP);
	sigaddset(&taken, SIGCONT);
	/* Blocked and not taken: to read or to set modes in the background is an error, not a stop.
	 */
	blocked = taken;
	sigaddset(&blocked, SIGTTIN);
	sigaddset(&blocked, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &blocked, &t->old_mask);
	int fd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	t->signals.fd = fd;
	int err = loop_fd_add(t->loop, &t->signals);
	if (err)
		close(fd);
	return err;
}

/* The terminal at @in_fd becomes the keyboard. */
static int keyboard_open(struct term *t, int in_fd)
{
	ring_init(&t->keys, t->keys_buf, sizeof(t->keys_buf));
	t->signals = (struct loop_fd){ .events = EPOLLIN, .fn = on_signal, .opaque = t };
	t->foreground = (struct loop_timer){ .fn = on_foreground_timer, .opaque = t };
	int err = term_raw_guard(&t->raw, in_fd);
	if (err)
		return err;
	err = signals_open(t);
	if (err) {
		pthread_sigmask(SIG_SETMASK, &t->old_mask, NULL);
		term_raw_unguard(&t->raw);
		return err;
	}
	t->keyboard = true;
	take_or_wait(t);
	return 0;
}

/* No standard input at all is an input that has ended. */
static int open_input(struct term *t, int in_fd)
{
	int fd = stream_open_private(in_fd, O_RDONLY, &t->in.kind);
	if (fd == -EBADF)
		return 0;
	if (fd < 0)
		return fd;
	t->in.fd = fd;
	return isatty(in_fd) ? keyboard_open(t, in_fd) : stream_in_start(&t->in);
}

static int open_output(struct term *t, int out_fd)
{
	int fd = stream_open_private(out_fd, O_WRONLY, &t->out.kind);
	if (fd < 0 && fd != -EBADF)
		return fd;
	t->out.fd = fd < 0 ? -1 : fd;
	t->out_tty = isatty(out_fd) ? out_fd : -1;
	int err = stream_out_init(&t->out);
	if (err && fd >= 0)
		close(fd);
	return err;
}

int term_open(struct loop *loop, int in_fd, int out_fd, const struct chardev_quit *quit,
	      struct chardev **out)
{
	struct term *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->base.ops = &term_ops;
	t->loop = t->in.loop = t->out.loop = loop;
	t->in.fd = -1;
	t->in.sink = on_input;
	t->out.room = on_room;
	t->out.broken = on_broken;
	t->in.opaque = t->out.opaque = t;
	if (quit)
		t->quit = *quit;
	int err = open_output(t, out_fd);
	if (err)
		goto out_free;
	err = open_input(t, in_fd);
	if (err)
		goto out_close;
	*out = &t->base;
	return 0;
out_close:
	stream_in_stop(&t->in);
	stream_out_fini(&t->out);
out_free:
	if (err != -ENOMEM)
		log_error("console on standard input and output: %s", strerror(-err));
	free(t);
	return err;
}
