/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode of a terminal, and the way back. */
/*
 * How it works. The handler of a fatal signal gives the terminal back (tcsetattr(3) is
 * async-signal-safe), puts the disposition that it replaced in place and returns with the signal
 * raised again: the default action, or a sanitizer's report, then happens as it would have without
 * us. SIGKILL and SIGSTOP cannot be caught; the shell mends its terminal after those.
 */
#include "devices/chardev/term_raw.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"

static const int fatal_signals[TERM_RAW_SIGNALS] = {
	SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGTERM, SIGSYS,
};

/*
 * The terminal that is guarded. File-scope because a signal handler has no argument to find it by
 * (tests/lint/globals.sh knows it by name). Written by term_raw_guard() and term_raw_unguard()
 * only.
 */
static _Atomic(struct term_raw *) guarded;

bool term_in_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);
	return group < 0 || group == getpgrp();
}

/* Async-signal-safe. In the background the terminal's mode is somebody else's. */
static void give_back(const struct term_raw *t)
{
	if (t->raw && term_in_foreground(t->fd))
		tcsetattr(t->fd, TCSANOW, &t->saved);
}

static void on_fatal_signal(int sig)
{
	int saved_errno = errno;
	const struct term_raw *t = atomic_load(&guarded);
	if (t) {
		give_back(t);
		for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
			if (fatal_signals[i] == sig)
				sigaction(sig, &t->old[i], NULL);
	} else {
		signal(sig, SIG_DFL);
	}
	raise(sig); /* blocked until this handler returns */
	errno = saved_errno;
}

static void on_exit_handler(void)
{
	const struct term_raw *t = atomic_load(&guarded);
	if (t)
		give_back(t);
}

static void install_handlers(struct term_raw *t)
{
	struct sigaction sa = { .sa_handler = on_fatal_signal };
	sigemptyset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++) {
		sigaction(fatal_signals[i], NULL, &t->old[i]);
		/* Somebody wants it ignored, as nohup(1) does: so be it. */
		if (t->old[i].sa_handler != SIG_IGN)
			sigaction(fatal_signals[i], &sa, NULL);
	}
}

static void remove_handlers(struct term_raw *t)
{
	for (size_t i = 0; i < ARRAY_SIZE(fatal_signals); i++)
		sigaction(fatal_signals[i], &t->old[i], NULL);
}

int term_raw_guard(struct term_raw *t, int fd)
{
	struct term_raw *none = NULL;
	t->fd = fd;
	t->raw = false;
	if (tcgetattr(fd, &t->saved) < 0)
		return -errno;
	if (!atomic_compare_exchange_strong(&guarded, &none, t))
		return -EBUSY;
	install_handlers(t);
	if (atexit(on_exit_handler) != 0) {
		term_raw_unguard(t);
		return -ENOMEM;
	}
	return 0;
}

void term_raw_enter(struct term_raw *t)
{
	struct termios raw = t->saved;
	cfmakeraw(&raw);
	/* `raw` first: a signal between the two lines puts back what is there anyway. */
	t->raw = true;
	tcsetattr(t->fd, TCSANOW, &raw);
	log_set_crlf(isatty(STDERR_FILENO));
}

void term_raw_leave(struct term_raw *t)
{
	give_back(t);
	t->raw = false;
	log_set_crlf(false);
}

void term_raw_unguard(struct term_raw *t)
{
	term_raw_leave(t);
	remove_handlers(t);
	atomic_store(&guarded, NULL);
}
