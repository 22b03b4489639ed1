/* SPDX-License-Identifier: Apache-2.0 */
/* One more comes to a shared console. */
#include "devices/chardev/shared_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/log.h"

enum { LINE_START_BYTES = 4096 }; /* how far into the history a line's beginning is looked for */

/* Those who hung up in this very turn are no more there. */
static void sweep(struct shared_stream *s)
{
	for_each_client (cl, s) {
		struct pollfd p = { .fd = cl->out.fd };
		if (cl->out.fd < 0 || poll(&p, 1, 0) == 1)
			shared_hang_up(cl);
	}
	shared_settle(s);
}

/* A place for a client, with a queue; those who were let go make way. NULL: none. */
static struct shared_client *find_place(struct shared_stream *s)
{
	struct shared_client *place = NULL;
	for_each_client (cl, s)
		if (!shared_is_there(cl) || (!place && cl->leaving))
			place = cl;
	if (!place)
		return NULL;
	shared_hang_up(place);
	return place->out.ring.buf || !stream_out_init(&place->out) ? place : NULL;
}

/* From a line's beginning, where one can be found. */
static void show_history(struct shared_stream *s, struct shared_client *cl)
{
	struct ring r = s->history;
	for (int i = 0; s->history_is_cut && i < LINE_START_BYTES && ring_used(&r);)
		i = ring_pop(&r) == '\n' ? LINE_START_BYTES : i + 1;
	while (ring_used(&r)) {
		uint32_t len;
		const uint8_t *p = ring_front(&r, &len);
		stream_out_write(&cl->out, p, len);
		ring_drop(&r, len);
	}
}

/* Both halves of @cl work on @fd, which is closed on error. -> 0, -errno. */
static int start_client(struct shared_stream *s, struct shared_client *cl, int fd)
{
	int out_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	int err = out_fd < 0 ? -errno : 0;
	cl->in.fd = fd;
	cl->in.kind = STREAM_SOCKET;
	stream_in_set_lock(&cl->in, s->base.lock);
	stream_out_set_lock(&cl->out, s->base.lock);
	err = err ? err : stream_in_start(&cl->in);
	if (!err) {
		stream_out_set_fd(&cl->out, out_fd, STREAM_SOCKET);
		return 0;
	}
	log_warn("console socket %s: a client was refused: %s", s->listener.addr.sun_path,
		 strerror(-err));
	stream_in_stop(&cl->in);
	if (out_fd >= 0)
		close(out_fd);
	return err;
}

static void seat(struct shared_stream *s, struct shared_client *cl, const struct chardev_join *how)
{
	struct shared_client *old = s->writer;
	if (how->force || (!old && !how->watch)) {
		shared_set_writer(s, cl);
		if (old)
			shared_say(old, SAY_TAKEN);
	} else {
		cl->told = true;
		shared_say(cl, how->watch ? SAY_WATCHES : SAY_READ_ONLY);
	}
}

static int turn_away(int fd)
{
	if (send(fd, SAY_FULL, strlen(SAY_FULL), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		/* It has left already. */
	}
	close(fd);
	return -EBUSY;
}

int shared_join(struct chardev *c, int fd, const struct chardev_join *how)
{
	struct shared_stream *s = container_of(c, struct shared_stream, base);
	sweep(s);
	struct shared_client *cl = find_place(s);
	if (!cl)
		return turn_away(fd);
	cl->number = ++s->last_number;
	cl->watches = how->watch;
	cl->told = cl->leaving = false;
	int err = start_client(s, cl, fd);
	if (err)
		return err;
	if (!how->no_history)
		show_history(s, cl);
	seat(s, cl, how);
	shared_settle(s);
	return 0;
}
