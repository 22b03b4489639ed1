/* SPDX-License-Identifier: Apache-2.0 */
/* A console on a listening unix socket: several see it, one writes. */
/*
 * How it works. All that the guest says goes into `history`, a ring, and into the queue of everybody who is there; who
 * comes gets the history first. The keys of one of them, the writer, go to the guest; those of the others are read and
 * forgotten, and they are told so. The first to come writes. When the writer leaves, or ends its input, the one who
 * has waited for longest follows; who asked to watch never does. One that joins by force takes the writer's place.
 *
 * Nobody harms others by not reading. A reader whose queue is full is let go: the queue makes way for a line that says
 * so, and that is the last it gets. The writer may hold the guest up instead, so that a slow link loses nothing, but
 * only as long as it reads on: after SHARED_STALL_MS without a byte it is let go as well.
 *
 * A client is a place in a table. It is there as long as one of its halves is; shared_settle() draws the conclusions from what
 * has changed. A place keeps its queue for the next one.
 */
#include "devices/chardev/shared_int.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/base/clock.h"

static struct shared_stream *shared_of(struct chardev *c)
{
	return container_of(c, struct shared_stream, base);
}

/* ---- a client's streams ---- */

static size_t on_input(void *opaque, const uint8_t *buf, size_t len)
{
	struct shared_client *cl = opaque;
	if (cl == cl->shared->writer)
		return chardev_deliver(&cl->shared->base, buf, len);
	if (!cl->told)
		shared_say(cl, cl->watches ? SAY_WATCHES : SAY_READ_ONLY);
	cl->told = true;
	return len;
}

static void on_input_ended(void *opaque)
{
	struct shared_client *cl = opaque;
	shared_settle(cl->shared);
}

static void on_room(void *opaque)
{
	struct shared_client *cl = opaque;
	struct shared_stream *s = cl->shared;
	if (cl != s->writer)
		return;
	loop_timer_disarm(s->loop, &s->stall);
	chardev_tell_room(&s->base);
}

static void on_drained(void *opaque)
{
	struct shared_client *cl = opaque;
	if (!cl->leaving)
		return;
	shared_hang_up(cl);
	shared_settle(cl->shared);
}

/* A writer's last keys arrive all the same. */
static void on_hangup(void *opaque, int err)
{
	struct shared_client *cl = opaque;
	(void)err; /* however it left, it is gone */
	if (cl != cl->shared->writer)
		stream_in_stop(&cl->in);
	shared_settle(cl->shared);
}

static void on_stall(void *opaque)
{
	struct shared_stream *s = opaque;
	uint32_t head = s->writer ? s->writer->out.ring.head : s->stall_head;
	if (head == s->stall_head) {
		if (s->writer)
			shared_let_go(s->writer);
		shared_settle(s);
		return;
	}
	s->stall_head = head;
	loop_timer_arm(s->loop, &s->stall, clock_now_ns() + SHARED_STALL_MS * NS_PER_MS);
}

static void on_client(void *opaque, int fd)
{
	struct shared_stream *s = opaque;
	shared_join(&s->base, fd, &(struct chardev_join){ 0 });
}

/* ---- the stream ---- */

/* How much of it the writer has room for; what it has not holds the guest up. */
static size_t write_to_writer(struct shared_stream *s, const uint8_t *buf, size_t len)
{
	if (!s->writer || !shared_reads(s->writer))
		return len;
	struct stream_out *out = &s->writer->out;
	size_t n = stream_out_write(out, buf, len);
	if (n < len && !s->stall.armed) {
		s->stall_head = out->ring.head;
		loop_timer_arm(s->loop, &s->stall, clock_now_ns() + SHARED_STALL_MS * NS_PER_MS);
	}
	return n;
}

static size_t shared_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	struct shared_stream *s = shared_of(c);
	size_t n = write_to_writer(s, buf, len);
	for_each_client (cl, s)
		if (cl != s->writer && shared_reads(cl) && stream_out_write(&cl->out, buf, n) < n)
			shared_let_go(cl);
	s->history_is_cut |= !ring_push_latest(&s->history, buf, n);
	return n;
}

static void shared_input_ready(struct chardev *c)
{
	struct shared_stream *s = shared_of(c);
	if (s->writer)
		stream_in_ready(&s->writer->in);
}

static void shared_attached(struct chardev *c)
{
	struct shared_stream *s = shared_of(c);
	listener_set_lock(&s->listener, c->lock);
	s->stall.lock = c->lock;
	for_each_client (cl, s) {
		stream_in_set_lock(&cl->in, c->lock);
		stream_out_set_lock(&cl->out, c->lock);
	}
	if (!c->port)
		return;
	chardev_tell_connected(c, s->connected);
	shared_input_ready(c);
}

static void free_all(struct shared_stream *s)
{
	for_each_client (cl, s) {
		stream_in_stop(&cl->in);
		if (cl->out.ring.buf)
			stream_out_fini(&cl->out);
	}
	free(s->history.buf);
	free(s);
}

static void shared_destroy(struct chardev *c)
{
	struct shared_stream *s = shared_of(c);
	listener_close(&s->listener);
	loop_timer_disarm(s->loop, &s->stall);
	s->writer = NULL;
	free_all(s);
}

static const struct chardev_ops shared_ops = {
	.name = "shared",
	.write = shared_write,
	.input_ready = shared_input_ready,
	.join = shared_join,
	.attached = shared_attached,
	.destroy = shared_destroy,
};

static void fill_in(struct shared_stream *s, struct loop *loop)
{
	s->base.ops = &shared_ops;
	s->loop = loop;
	s->listener = (struct listener){ .loop = loop, .accepted = on_client, .opaque = s };
	s->stall = (struct loop_timer){ .fn = on_stall, .opaque = s };
	for_each_client (cl, s) {
		cl->shared = s;
		cl->in = (struct stream_in){ .loop = loop,
					     .fd = -1,
					     .sink = on_input,
					     .ended = on_input_ended,
					     .opaque = cl };
		cl->out = (struct stream_out){ .loop = loop,
					       .fd = -1,
					       .size_bytes = SHARED_QUEUE_BYTES,
					       .room = on_room,
					       .drained = on_drained,
					       .broken = on_hangup,
					       .opaque = cl };
	}
}

int shared_open(struct loop *loop, const char *path, struct chardev **out)
{
	struct shared_stream *s = calloc(1, sizeof(*s));
	uint8_t *history = malloc(SHARED_HISTORY_BYTES);
	if (!s || !history) {
		free(s);
		free(history);
		return -ENOMEM;
	}
	fill_in(s, loop);
	ring_init(&s->history, history, SHARED_HISTORY_BYTES);
	int err = listener_open(&s->listener, path);
	if (err) {
		free_all(s);
		return err;
	}
	*out = &s->base;
	return 0;
}
