/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Character streams: where the bytes of a serial port or a console port go on the host (terminal,
 * file, socket, nowhere). One stream serves one port. All functions: the home loop's thread, with
 * the port's lock (chardev.lock) held; the loop takes it for the stream's sources, because the
 * stream gives them that lock.
 */
#ifndef CHARDEV_CHARDEV_H
#define CHARDEV_CHARDEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chardev;
struct loop;

/* The port's side. */
struct chardev_port {
	/* Bytes from the host for the guest; returns how many were taken. Fewer than @len: the
	 * stream keeps the rest, reads no more from the host, and waits for chardev_input_ready().
	 */
	size_t (*input)(struct chardev_port *p, const uint8_t *buf, size_t len);
	/* Somebody is at the other end, or left (a socket's peer). May be NULL. */
	void (*connected)(struct chardev_port *p, bool on);
	/* There is room for output again after chardev_write() took less than all. May be NULL. */
	void (*output_ready)(struct chardev_port *p);
	/* The host terminal's size in characters, at the start and when it changes. May be NULL. */
	void (*resized)(struct chardev_port *p, unsigned int cols, unsigned int rows);
};

/* How one more joins those who are at the other end. */
struct chardev_join {
	bool watch;	 /* to read only, also when the one who writes leaves */
	bool force;	 /* to write, and whoever does so reads from now on */
	bool no_history; /* it has seen what was said before */
};

struct chardev_ops {
	const char *name;
	/* Takes up to @len bytes, buffered and written once per loop turn; returns how many fit. */
	size_t (*write)(struct chardev *c, const uint8_t *buf, size_t len);
	void (*input_ready)(struct chardev *c);
	/* One more at the other end, on the connected socket @fd, the callee's own. NULL: none can join. */
	int (*join)(struct chardev *c, int fd, const struct chardev_join *how);
	/* chardev.port and chardev.lock have changed; both NULL: nobody listens. May be NULL. */
	void (*attached)(struct chardev *c);
	/* Flushes what can be flushed without waiting, restores the terminal, closes. */
	void (*destroy)(struct chardev *c);
};

struct chardev {
	const struct chardev_ops *ops;
	struct chardev_port *port; /* set by chardev_attach(); NULL: nobody listens */
	pthread_mutex_t *lock;	   /* the port's */
};

/* The port takes the stream: from now on input arrives. Before the loop runs, or on its thread. */
void chardev_attach(struct chardev *c, struct chardev_port *port, pthread_mutex_t *lock);
/* The port is going away. */
void chardev_detach(struct chardev *c);

static inline size_t chardev_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	return c->ops->write(c, buf, len);
}

static inline void chardev_input_ready(struct chardev *c)
{
	c->ops->input_ready(c);
}

/* Whether there may be several at the other end. */
static inline bool chardev_is_shared(const struct chardev *c)
{
	return c->ops->join;
}

/* One more at the other end of a shared stream: the connected socket @fd, taken over. The loop's thread, without the
 * port's lock. -> 0, or -errno and the client has gone, with a word where it could be told one. */
int chardev_join(struct chardev *c, int fd, const struct chardev_join *how);

/* ---- opening ---- */

/* The user typed the escape that leaves. Called with the port's lock held: post, do not act. */
struct chardev_quit {
	void (*fn)(void *opaque);
	void *opaque;
	const char *means; /* for the help: what leaving does; NULL: "the machine ends" */
	/* The user typed the escape that takes the writing over. NULL: there is nobody to take it from. */
	void (*force)(void *opaque);
};

/* Who is at the other end of a socket. */
enum chardev_use {
	CHARDEV_CONSOLE, /* people: several see all of it, the latest first, and one writes (shared.h) */
	CHARDEV_CHANNEL, /* a program: one, and each byte once (socket.h) */
};

/*
 * Opens what @spec names: stdio, file:PATH (output is appended), socket:PATH (a listening unix
 * socket), none. stdio puts the terminal into raw mode, and blocks SIGWINCH, SIGTSTP and SIGCONT
 * for the calling thread: before other threads start (term.h). @quit may be NULL, is copied, and
 * matters to stdio only. SIGPIPE is ignored by the program. -> 0, or -errno with one line logged.
 */
int chardev_open(struct loop *loop, const char *spec, enum chardev_use use,
		 const struct chardev_quit *quit, struct chardev **out);
/* Detaches it if need be, flushes, restores the terminal, frees. NULL is fine. */
void chardev_close(struct chardev *c);
/* What swallows everything. -> 0, -ENOMEM. */
int null_open(struct chardev **out);

/* ---- for the streams: the port's calls, with or without a port ---- */

/* Returns how many bytes the port took: 0 without one. */
size_t chardev_deliver(struct chardev *c, const uint8_t *buf, size_t len);
void chardev_tell_connected(struct chardev *c, bool on);
void chardev_tell_room(struct chardev *c);
void chardev_tell_size(struct chardev *c, unsigned int cols, unsigned int rows);

#endif
