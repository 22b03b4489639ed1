/* SPDX-License-Identifier: Apache-2.0 */
/* A stream on a listening unix socket. */
/*
 * How it works. The listener stays on the loop for good. The first client gets both halves of the
 * stream, each with a descriptor of its own; one that comes while it is there is told so and let
 * go. A client may end its input and go on reading (a shell's `echo command | nc -U`), or hang up
 * while the guest has not taken all it sent: the halves end one by one, and the place is free when
 * both have, or when a client hung up and another one waits for its place.
 *
 * Nothing is sent twice: what was handed to a client's socket is gone, what was not is kept for the
 * next one.
 */
#include "devices/chardev/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/chardev/chardev.h"
#include "devices/chardev/stream.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

enum { SOCKET_BACKLOG = 4 };
#define SOCKET_ACCEPT_RETRY_NS NS_PER_S

struct socket_stream {
	struct chardev base;
	struct loop *loop;
	struct loop_fd listener;
	struct loop_timer listen_again; /* after the process ran out of descriptors */
	struct stream_in in;
	struct stream_out out;
	bool connected;
	struct sockaddr_un addr;
};

static struct socket_stream *socket_of(struct chardev *c)
{
	return container_of(c, struct socket_stream, base);
}

/* ---- a client ---- */

static void set_connected(struct socket_stream *s, bool on)
{
	if (s->connected == on)
		return;
	s->connected = on;
	chardev_tell_connected(&s->base, on);
}

static size_t on_input(void *opaque, const uint8_t *buf, size_t len)
{
	struct socket_stream *s = opaque;
	return chardev_deliver(&s->base, buf, len);
}

static void on_input_ended(void *opaque)
{
	struct socket_stream *s = opaque;
	if (s->out.fd < 0)
		set_connected(s, false);
}

static void on_room(void *opaque)
{
	struct socket_stream *s = opaque;
	chardev_tell_room(&s->base);
}

static void on_hangup(void *opaque, int err)
{
	struct socket_stream *s = opaque;
	(void)err; /* however it left, it is gone */
	if (s->in.fd < 0)
		set_connected(s, false);
}

static void turn_away(int fd)
{
	static const char text[] = "charmvm: another client is connected to this console\r\n";
	if (send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		/* It has left already. */
	}
	close(fd);
}

/* The client takes the stream; @fd is closed on error. */
static void welcome(struct socket_stream *s, int fd)
{
	stream_in_stop(&s->in); /* what a client left behind that has hung up */
	set_connected(s, false);
	int out_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	s->in.fd = fd;
	s->in.kind = STREAM_SOCKET;
	if (out_fd < 0 || stream_in_start(&s->in) < 0) {
		log_warn("console socket %s: a client was refused: %s", s->addr.sun_path,
			 strerror(errno));
		stream_in_stop(&s->in);
		if (out_fd >= 0)
			close(out_fd);
		return;
	}
	stream_out_set_fd(&s->out, out_fd, STREAM_SOCKET);
	set_connected(s, true);
}

/* A client still reads. One that hung up in this very turn, before its successor came, does not. */
static bool has_reader(struct socket_stream *s)
{
	struct pollfd p = { .fd = s->out.fd };
	if (s->out.fd >= 0 && poll(&p, 1, 0) == 1)
		stream_out_drop_fd(&s->out);
	return s->out.fd >= 0;
}

static void on_accept(void *opaque, uint32_t events)
{
	struct socket_stream *s = opaque;
	(void)events;
	int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		if (has_reader(s))
			turn_away(fd);
		else
			welcome(s, fd);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_warn("console socket %s: accept: %s", s->addr.sun_path, strerror(errno));
	loop_fd_modify(s->loop, &s->listener, 0);
	loop_timer_arm(s->loop, &s->listen_again, clock_now_ns() + SOCKET_ACCEPT_RETRY_NS);
}

static void on_listen_again(void *opaque)
{
	struct socket_stream *s = opaque;
	loop_fd_modify(s->loop, &s->listener, EPOLLIN);
}

/* ---- the listener ---- */

/* Takes away a socket that nobody listens on any more. -> 0, or -errno with one line logged. */
static int clear_place(const struct sockaddr_un *addr)
{
	struct stat st;
	if (lstat(addr->sun_path, &st) < 0)
		return 0; /* bind(2) knows better what is wrong, if anything is */
	if (!S_ISSOCK(st.st_mode)) {
		log_error("console socket %s: there is something else with this name; "
			  "choose another name or remove it",
			  addr->sun_path);
		return -EEXIST;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	bool dead = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
		    errno == ECONNREFUSED;
	close(fd);
	if (!dead) {
		log_error("console socket %s: in use by another process; choose another name",
			  addr->sun_path);
		return -EADDRINUSE;
	}
	return unlink(addr->sun_path) < 0 ? -errno : 0;
}

/* -> the listening descriptor, or -errno with one line logged. */
static int listen_at(const struct sockaddr_un *addr)
{
	int err = clear_place(addr);
	if (err)
		return err;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of an unbound socket becomes that of its file: no moment when others may
	 * connect. */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ||
	    listen(fd, SOCKET_BACKLOG) < 0) {
		err = -errno;
		log_error("console socket %s: cannot listen there: %s", addr->sun_path,
			  strerror(-err));
		if (fd >= 0)
			close(fd);
		return err;
	}
	return fd;
}

static size_t socket_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	return stream_out_write(&socket_of(c)->out, buf, len);
}

static void socket_input_ready(struct chardev *c)
{
	stream_in_ready(&socket_of(c)->in);
}

static void socket_attached(struct chardev *c)
{
	struct socket_stream *s = socket_of(c);
	s->listener.lock = s->listen_again.lock = c->lock;
	stream_in_set_lock(&s->in, c->lock);
	stream_out_set_lock(&s->out, c->lock);
	if (!c->port)
		return;
	chardev_tell_connected(c, s->connected);
	stream_in_ready(&s->in);
}

static void socket_destroy(struct chardev *c)
{
	struct socket_stream *s = socket_of(c);
	loop_fd_remove(s->loop, &s->listener);
	loop_timer_disarm(s->loop, &s->listen_again);
	close(s->listener.fd);
	unlink(s->addr.sun_path);
	stream_in_stop(&s->in);
	stream_out_fini(&s->out);
	free(s);
}

static const struct chardev_ops socket_ops = {
	.name = "socket",
	.write = socket_write,
	.input_ready = socket_input_ready,
	.attached = socket_attached,
	.destroy = socket_destroy,
};

static void fill_in(struct socket_stream *s, struct loop *loop)
{
	s->base.ops = &socket_ops;
	s->loop = loop;
	s->listener = (struct loop_fd){ .events = EPOLLIN, .fn = on_accept, .opaque = s };
	s->listen_again = (struct loop_timer){ .fn = on_listen_again, .opaque = s };
	s->in.loop = loop;
	s->in.fd = -1;
	s->in.sink = on_input;
	s->in.ended = on_input_ended;
	s->in.opaque = s;
	s->out.loop = loop;
	s->out.fd = -1;
	s->out.keep_latest = true;
	s->out.room = on_room;
	s->out.broken = on_hangup;
	s->out.opaque = s;
}

int socket_open(struct loop *loop, const char *path, struct chardev **out)
{
	struct socket_stream *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	fill_in(s, loop);
	s->addr.sun_family = AF_UNIX;
	int err = -ENAMETOOLONG;
	if (strlen(path) >= sizeof(s->addr.sun_path)) {
		log_error("console socket %s: the name of a socket has at most %zu bytes", path,
			  sizeof(s->addr.sun_path) - 1);
		goto out_free;
	}
	strcpy(s->addr.sun_path, path);
	err = stream_out_init(&s->out);
	if (err)
		goto out_free;
	s->listener.fd = err = listen_at(&s->addr);
	if (err < 0)
		goto out_fini;
	err = loop_fd_add(loop, &s->listener);
	if (err) {
		log_error("console socket %s: %s", path, strerror(-err));
		goto out_close;
	}
	*out = &s->base;
	return 0;
out_close:
	close(s->listener.fd);
	unlink(s->addr.sun_path);
out_fini:
	stream_out_fini(&s->out);
out_free:
	free(s);
	return err;
}
