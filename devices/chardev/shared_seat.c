/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at a shared console, who of them writes, and how one is let go. */
#include "devices/chardev/shared_int.h"

#include <string.h>

void shared_say(struct shared_client *cl, const char *text)
{
	if (shared_reads(cl))
		stream_out_write(&cl->out, (const uint8_t *)text, strlen(text));
}

static struct shared_client *next_writer(struct shared_stream *s)
{
	struct shared_client *first = NULL;
	for_each_client (cl, s) {
		if (shared_reads(cl) && cl->in.fd >= 0 && !cl->watches &&
		    (!first || cl->number < first->number))
			first = cl;
	}
	return first;
}

void shared_set_writer(struct shared_stream *s, struct shared_client *cl)
{
	struct shared_client *old = s->writer;
	s->writer = cl;
	loop_timer_disarm(s->loop, &s->stall);
	if (old)
		stream_in_ready(&old->in); /* what the guest has not taken is forgotten */
	chardev_tell_room(&s->base);
}

void shared_settle(struct shared_stream *s)
{
	bool connected = false;
	if (s->writer && s->writer->in.fd < 0)
		shared_set_writer(s, NULL);
	if (!s->writer) {
		struct shared_client *next = next_writer(s);
		if (next) {
			shared_set_writer(s, next);
			shared_say(next, SAY_YOURS);
		}
	}
	for_each_client (cl, s)
		connected |= shared_is_there(cl);
	if (connected == s->connected)
		return;
	s->connected = connected;
	chardev_tell_connected(&s->base, connected);
}

void shared_hang_up(struct shared_client *cl)
{
	stream_in_stop(&cl->in);
	stream_out_drop_fd(&cl->out);
}

void shared_let_go(struct shared_client *cl)
{
	ring_drop(&cl->out.ring, ring_used(&cl->out.ring));
	shared_say(cl, SAY_SLOW);
	cl->leaving = true;
	stream_in_stop(&cl->in);
}
