/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal, or whatever standard input and output are, as a stream.
 *
 * On a terminal: raw mode, given back on every way out (term_raw.h), over stops and in the
 * background too; the escape Ctrl-] then `.` leaves, `f` takes the writing over where it is shared, `?` helps, Ctrl-] sends one Ctrl-]. Input from
 * a pipe or a file goes to the guest as it is, and its end ends the input and nothing else.
 */
#ifndef CHARDEV_TERM_H
#define CHARDEV_TERM_H

struct chardev;
struct chardev_quit;
struct loop;

enum { TERM_ESCAPE = 0x1d }; /* Ctrl-] */

/*
 * @in_fd and @out_fd stay the caller's and keep their flags. Where @in_fd is a terminal, SIGWINCH,
 * SIGTSTP, SIGCONT, SIGTTIN and SIGTTOU are blocked for the calling thread until the stream is
 * destroyed: call it before other threads start, so that they inherit that. @quit may be NULL and
 * is copied. -> 0, or -errno with one line logged.
 */
int term_open(struct loop *loop, int in_fd, int out_fd, const struct chardev_quit *quit,
	      struct chardev **out);

#endif
