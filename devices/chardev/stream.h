/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two halves that every stream on a file descriptor is made of: a reader that hands bytes on
 * and stops reading when they are refused, and a writer that gathers a turn's bytes into one
 * write(2), never waits, and is bounded. Each half has a descriptor of its own, which it closes.
 * All functions: the home loop's thread with the port's lock held (chardev.h).
 */
#ifndef CHARDEV_STREAM_H
#define CHARDEV_STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/chardev/ring.h"
#include "vmm/core/loop.h"

enum {
	STREAM_IN_BYTES = 4096,
	STREAM_OUT_BYTES = 64 * 1024,
};

/* How reads and writes of a descriptor are kept from waiting. */
enum stream_kind {
	STREAM_NONBLOCK, /* its own open file description has O_NONBLOCK, or it is a regular file */
	STREAM_SOCKET,	 /* MSG_DONTWAIT */
	STREAM_CAREFUL,	 /* shared with others: poll(2) first, then little at a time */
};

/*
 * A descriptor for our use of what @fd is open on; @fd stays the caller's. Where @fd is a terminal
 * or a pipe this is a second open file description, so that O_NONBLOCK is not forced on everybody
 * else who has the same standard input or output. @flags: O_RDONLY, O_WRONLY. -> descriptor or
 * -errno.
 */
int stream_open_private(int fd, int flags, enum stream_kind *kind);

/* ---- reader ---- */

struct stream_in {
	struct loop *loop;
	int fd; /* -1: nothing more will come */
	enum stream_kind kind;
	/* Returns how many it took; fewer than @len stops the reader until stream_in_ready(). */
	size_t (*sink)(void *opaque, const uint8_t *buf, size_t len);
	/* Everything has been read and taken. May destroy the reader. May be NULL. */
	void (*ended)(void *opaque);
	void *opaque;

	struct loop_fd src;
	struct loop_timer
		again; /* for what epoll cannot wait for: regular files, a peer that hung up */
	bool paced;    /* `again` drives the reader, not `src` */
	uint8_t buf[STREAM_IN_BYTES];
	size_t pos; /* [pos, len) of buf was refused */
	size_t len;
};

/* Whose lock is taken around what the loop does with it from now on; NULL: none. */
void stream_in_set_lock(struct stream_in *in, pthread_mutex_t *lock);
/* Zeroed memory; fill in loop, fd, kind, sink, ended, opaque first. Begins to read; -> 0, or -errno
 * of epoll_ctl(2). Again after stream_in_stop(), with another fd. */
int stream_in_start(struct stream_in *in);
/* The sink has room again. */
void stream_in_ready(struct stream_in *in);
/* Stops, closes. Fine on one that was not started (fd -1), and twice. */
void stream_in_stop(struct stream_in *in);

/* ---- writer ---- */

struct stream_out {
	struct loop *loop;
	int fd; /* -1: nobody takes it; `keep_latest` says what happens to the bytes */
	enum stream_kind kind;
	uint32_t size_bytes; /* of the queue, a power of two; 0: STREAM_OUT_BYTES */
	bool keep_latest;    /* with no descriptor: keep the latest of that size instead of dropping
			     all */
	/* There is room again after stream_out_write() took less than all. */
	void (*room)(void *opaque);
	/* All that was queued has been written. May be NULL, may drop the descriptor. */
	void (*drained)(void *opaque);
	/* The other end is gone or broken; the writer has let go of the descriptor. May be NULL. */
	void (*broken)(void *opaque, int err);
	void *opaque;

	struct loop_fd src;
	struct loop_task flush;
	struct ring ring;
	bool refused; /* somebody waits for room() */
};

/* Zeroed memory; fill in loop, fd (or -1), kind and what else is wanted down to opaque first. -> 0,
 * -ENOMEM. */
int stream_out_init(struct stream_out *out);
/* Whose lock is taken around flushes from now on; NULL: none. */
void stream_out_set_lock(struct stream_out *out, pthread_mutex_t *lock);
/* Another receiver (the writer owns @fd); what is queued goes to it. */
void stream_out_set_fd(struct stream_out *out, int fd, enum stream_kind kind);
/* Lets go of the receiver: closes it, keeps or drops what is queued by `keep_latest`. */
void stream_out_drop_fd(struct stream_out *out);
/* Queues up to @len bytes; returns how many. They are written at the end of the loop's turn. */
size_t stream_out_write(struct stream_out *out, const uint8_t *buf, size_t len);
/* Writes what can be written without waiting, now. */
void stream_out_flush(struct stream_out *out);
/* Flushes, closes, frees. */
void stream_out_fini(struct stream_out *out);

#endif
