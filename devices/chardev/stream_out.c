/* SPDX-License-Identifier: Apache-2.0 */
/* The writing half of a stream on a file descriptor. */
/*
 * How it works. stream_out_write() only queues and posts one task, which runs after everything else
 * of the loop's turn: all that a turn has to say leaves in one write(2). What the receiver does not
 * take stays queued and the descriptor is watched for EPOLLOUT; when the queue is full the writer
 * refuses, and calls room() once half of it is free again.
 *
 * The descriptor is on the loop with no events wanted even when nothing is queued: a receiver that
 * hangs up is noticed then, and not at the next byte.
 */
#include "devices/chardev/stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* As much as a pipe that polls writable takes for certain; a terminal takes it sooner or later. */
enum { STREAM_CAREFUL_BYTES = 512 };

static ssize_t write_some(struct stream_out *out, const uint8_t *p, uint32_t len)
{
	if (out->kind == STREAM_SOCKET)
		return send(out->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (out->kind == STREAM_CAREFUL) {
		struct pollfd pfd = { .fd = out->fd, .events = POLLOUT };
		if (poll(&pfd, 1, 0) == 0) {
			errno = EAGAIN;
			return -1;
		}
		len = MIN(len, (uint32_t)STREAM_CAREFUL_BYTES);
	}
	return write(out->fd, p, len);
}

static void watch(struct stream_out *out, uint32_t events)
{
	if (out->src.added)
		loop_fd_modify(out->loop, &out->src, events);
}

static void breaks(struct stream_out *out, int err)
{
	stream_out_drop_fd(out);
	if (out->broken)
		out->broken(out->opaque, err);
}

static void tell_room(struct stream_out *out)
{
	if (!out->refused || (out->fd >= 0 && ring_room(&out->ring) < out->ring.size_bytes / 2))
		return;
	out->refused = false;
	if (out->room)
		out->room(out->opaque);
}

void stream_out_flush(struct stream_out *out)
{
	while (out->fd >= 0 && ring_used(&out->ring)) {
		uint32_t len;
		const uint8_t *p = ring_front(&out->ring, &len);
		ssize_t n = write_some(out, p, len);
		if (n >= 0) {
			ring_drop(&out->ring, (uint32_t)n);
		} else if (errno == EAGAIN) {
			watch(out, EPOLLOUT);
			break;
		} else if (errno != EINTR) {
			breaks(out, -errno);
			break;
		}
	}
	if (!ring_used(&out->ring))
		watch(out, 0);
	tell_room(out);
	if (out->fd >= 0 && !ring_used(&out->ring) && out->drained)
		out->drained(out->opaque);
}

static void on_event(void *opaque, uint32_t events)
{
	struct stream_out *out = opaque;
	if (events & (EPOLLHUP | EPOLLERR))
		breaks(out, -EPIPE);
	else
		stream_out_flush(out);
}

static void on_flush(void *opaque)
{
	stream_out_flush(opaque);
}

int stream_out_init(struct stream_out *out)
{
	uint32_t size_bytes = out->size_bytes ? out->size_bytes : STREAM_OUT_BYTES;
	uint8_t *buf = malloc(size_bytes);
	if (!buf)
		return -ENOMEM;
	int fd = out->fd;
	ring_init(&out->ring, buf, size_bytes);
	out->refused = false;
	out->src = (struct loop_fd){ .fn = on_event, .opaque = out };
	out->flush = (struct loop_task){ .fn = on_flush, .opaque = out };
	out->fd = -1;
	if (fd >= 0)
		stream_out_set_fd(out, fd, out->kind);
	return 0;
}

void stream_out_set_lock(struct stream_out *out, pthread_mutex_t *lock)
{
	out->src.lock = lock;
	out->flush.lock = lock;
}

void stream_out_set_fd(struct stream_out *out, int fd, enum stream_kind kind)
{
	stream_out_drop_fd(out);
	out->fd = fd;
	out->kind = kind;
	out->src.fd = fd;
	out->src.events = 0;
	/* A regular file cannot be watched (EPERM) and need not be. */
	loop_fd_add(out->loop, &out->src);
	if (ring_used(&out->ring))
		loop_task_post(out->loop, &out->flush);
}

void stream_out_drop_fd(struct stream_out *out)
{
	if (out->fd < 0)
		return;
	loop_fd_remove(out->loop, &out->src);
	close(out->fd);
	out->fd = -1;
	if (!out->keep_latest)
		ring_drop(&out->ring, ring_used(&out->ring));
	/* Nobody is slow any more: what was refused is taken now. */
	if (out->refused)
		loop_task_post(out->loop, &out->flush);
}

size_t stream_out_write(struct stream_out *out, const uint8_t *buf, size_t len)
{
	if (out->fd < 0) {
		if (out->keep_latest)
			ring_push_latest(&out->ring, buf, len);
		return len;
	}
	bool idle = !ring_used(&out->ring);
	size_t n = ring_push(&out->ring, buf, len);
	if (n < len)
		out->refused = true;
	if (idle && n)
		loop_task_post(out->loop, &out->flush);
	return n;
}

void stream_out_fini(struct stream_out *out)
{
	stream_out_flush(out);
	out->refused = false;
	stream_out_drop_fd(out);
	loop_task_cancel(out->loop, &out->flush);
	free(out->ring.buf);
	out->ring.buf = NULL;
}
