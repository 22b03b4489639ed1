/* SPDX-License-Identifier: Apache-2.0 */
/* A stream on a listening unix socket, for one client at a time. */
/*
 * How it works. The first client gets both halves of the
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
#include <sys/socket.h>
#include <unistd.h>

#include "devices/chardev/chardev.h"
#include "devices/chardev/listener.h"
#include "devices/chardev/stream.h"
#include "vmm/base/log.h"

struct socket_stream {
	struct chardev base;
	struct listener listener;
	struct stream_in in;
	struct stream_out out;
	bool connected;
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
	static const char text[] = "charmvm: another client is connected to this socket\r\n";
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
		log_warn("console socket %s: a client was refused: %s", s->listener.addr.sun_path,
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

static void on_client(void *opaque, int fd)
{
	struct socket_stream *s = opaque;
	if (has_reader(s))
		turn_away(fd);
	else
		welcome(s, fd);
}

/* ---- the stream ---- */

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
	listener_set_lock(&s->listener, c->lock);
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
	listener_close(&s->listener);
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
	s->listener = (struct listener){ .loop = loop, .accepted = on_client, .opaque = s };
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
	int err = stream_out_init(&s->out);
	if (err)
		goto out_free;
	err = listener_open(&s->listener, path);
	if (err)
		goto out_fini;
	*out = &s->base;
	return 0;
out_fini:
	stream_out_fini(&s->out);
out_free:
	free(s);
	return err;
}
