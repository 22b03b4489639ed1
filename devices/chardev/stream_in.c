/* SPDX-License-Identifier: Apache-2.0 */
/* The reading half of a stream on a file descriptor. */
/*
 * How it works. Bytes go descriptor -> buf -> sink, one read(2) of at most STREAM_IN_BYTES for each
 * event. What the sink refuses stays in buf, and the descriptor is not read until
 * stream_in_ready(): the sender meets its own full pipe, nothing is lost and nothing grows.
 *
 * Epoll cannot wait for a regular file (EPERM) and reports a peer that hung up again and again,
 * also while nobody wants its bytes. In both cases the reader takes itself off the descriptor and
 * is driven by a timer instead, a chunk for each STREAM_PACE_NS, until the end of what there is.
 */
#include "devices/chardev/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/clock.h"

enum { STREAM_PACE_NS = 1000 * 1000 };

int stream_open_private(int fd, int flags, enum stream_kind *kind)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	*kind = STREAM_NONBLOCK;
	if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		char path[32];
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		int own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (own >= 0)
			return own;
		*kind = STREAM_CAREFUL; /* not ours to open, as after su(1) */
	} else if (S_ISSOCK(st.st_mode)) {
		*kind = STREAM_SOCKET;
	}
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return own < 0 ? -errno : own;
}

static ssize_t read_some(struct stream_in *in)
{
	if (in->kind == STREAM_SOCKET)
		return recv(in->fd, in->buf, sizeof(in->buf), MSG_DONTWAIT);
	if (in->kind == STREAM_CAREFUL) {
		struct pollfd p = { .fd = in->fd, .events = POLLIN };
		if (poll(&p, 1, 0) == 0) {
			errno = EAGAIN;
			return -1;
		}
	}
	return read(in->fd, in->buf, sizeof(in->buf));
}

/* Hands on what is in buf; true when the sink took all. */
static bool deliver(struct stream_in *in)
{
	while (in->pos < in->len) {
		size_t n = in->sink(in->opaque, in->buf + in->pos, in->len - in->pos);
		if (!n)
			return false;
		in->pos += n;
	}
	return true;
}

static void end(struct stream_in *in)
{
	stream_in_stop(in);
	if (in->ended)
		in->ended(in->opaque);
}

static void wait_for_more(struct stream_in *in)
{
	if (in->paced)
		loop_timer_arm(in->loop, &in->again, clock_now_ns() + STREAM_PACE_NS);
	else
		loop_fd_modify(in->loop, &in->src, EPOLLIN);
}

static void wait_for_sink(struct stream_in *in)
{
	if (!in->paced)
		loop_fd_modify(in->loop, &in->src, 0);
}

/* One chunk. */
static void pump(struct stream_in *in)
{
	if (!deliver(in)) {
		wait_for_sink(in);
		return;
	}
	ssize_t n = read_some(in);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		end(in);
		return;
	}
	in->pos = 0;
	in->len = n > 0 ? (size_t)n : 0;
	if (deliver(in))
		wait_for_more(in);
	else
		wait_for_sink(in);
}

static void on_event(void *opaque, uint32_t events)
{
	struct stream_in *in = opaque;
	if (events & (EPOLLHUP | EPOLLERR)) {
		loop_fd_remove(in->loop, &in->src);
		in->paced = true;
	}
	pump(in);
}

static void on_pace(void *opaque)
{
	pump(opaque);
}

void stream_in_set_lock(struct stream_in *in, pthread_mutex_t *lock)
{
	in->src.lock = lock;
	in->again.lock = lock;
}

int stream_in_start(struct stream_in *in)
{
	in->src.fd = in->fd;
	in->src.events = EPOLLIN;
	in->src.fn = on_event;
	in->again.fn = on_pace;
	in->src.opaque = in->again.opaque = in;
	in->pos = in->len = 0;
	int err = loop_fd_add(in->loop, &in->src);
	in->paced = err == -EPERM;
	if (err && !in->paced)
		return err;
	if (in->paced)
		wait_for_more(in);
	return 0;
}

void stream_in_ready(struct stream_in *in)
{
	if (in->fd < 0 || in->pos == in->len)
		return;
	if (deliver(in))
		wait_for_more(in);
}

void stream_in_stop(struct stream_in *in)
{
	if (in->fd < 0)
		return;
	loop_fd_remove(in->loop, &in->src);
	loop_timer_disarm(in->loop, &in->again);
	close(in->fd);
	in->fd = -1;
}
