/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw mode of a terminal, given back on every way out of the process that can be caught: leaving,
 * exit(3), abort(3), fatal signals. One terminal at a time for each process, since signal handlers
 * and exit handlers belong to the process.
 */
#ifndef CHARDEV_TERM_RAW_H
#define CHARDEV_TERM_RAW_H

#include <signal.h>
#include <stdbool.h>
#include <termios.h>

enum { TERM_RAW_SIGNALS = 11 };

struct term_raw {
	int fd; /* not owned */
	bool raw;
	struct termios saved;
	struct sigaction old[TERM_RAW_SIGNALS]; /* what our handlers stand in front of */
};

/* Remembers @fd's mode and guards it; not raw yet. -> 0, -EBUSY (another one is guarded), -errno.
 */
int term_raw_guard(struct term_raw *t, int fd);
/* To raw mode / to the mode that was found. Nothing to do is fine. Messages end in CR LF while raw.
 */
void term_raw_enter(struct term_raw *t);
void term_raw_leave(struct term_raw *t);
/* Leaves, and takes the handlers away. Only after term_raw_guard() succeeded. */
void term_raw_unguard(struct term_raw *t);
/* This process may read from the terminal: it is in its foreground, or has no job control there. */
bool term_in_foreground(int fd);

#endif
