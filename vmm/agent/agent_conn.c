/* SPDX-License-Identifier: Apache-2.0 */
/* A client of the agent's: frames between its socket and the guest. */
/*
 * A connection has one stream at a time. Its frames come without a stream's number, and with the session's number as WELCOME gave
 * it: what a client meant for a session that has ended is not for the next one. Nothing is read from a client while there is no
 * session, or no room for the guest; nothing the guest sends is kept beyond the credit that the client gave.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/agent/agent_priv.h"
#include "vmm/base/checked.h"

void agent_conn_destroy(struct agent_conn *c)
{
	struct agent *a = c->agent;
	if (c->stream && a->up)
		agent_to_guest(a, FRAME_CLOSE, c->stream, NULL, 0);
	loop_fd_remove(a->loop, &c->src);
	close(c->src.fd);
	list_del(&c->link);
	a->nconns--;
	free(c->out_buf);
	free(c);
}

void agent_conn_set_lock(struct agent_conn *c, pthread_mutex_t *lock)
{
	c->src.lock = lock;
}

/* ---- to the client ---- */

/* What we wait for: the client to talk when it may, and to listen when it has to. */
static int set_events(struct agent_conn *c)
{
	struct agent *a = c->agent;
	uint32_t events = ring_used(&c->out) ? EPOLLOUT : 0;
	if (a->up && c->pos == c->len && agent_has_room(a))
		events |= EPOLLIN;
	return loop_fd_modify(a->loop, &c->src, events);
}

/* -> false: the client is gone. */
static bool flush(struct agent_conn *c)
{
	while (ring_used(&c->out)) {
		uint32_t len;
		const uint8_t *p = ring_front(&c->out, &len);
		ssize_t n = send(c->src.fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return false;
		ring_drop(&c->out, (uint32_t)n);
	}
	set_events(c);
	return true;
}

/* -> false: no room, which only a guest that breaks the rules can bring about. */
static bool put(struct agent_conn *c, const struct frame *f)
{
	uint8_t header[FRAME_HEADER_BYTES];
	if (ring_room(&c->out) < sizeof(header) + f->len)
		return false;
	frame_put_header(header, f);
	ring_push(&c->out, header, sizeof(header));
	ring_push(&c->out, f->payload, f->len);
	return true;
}

static void put_and_flush(struct agent_conn *c, const struct frame *f)
{
	if (!put(c, f) || !flush(c))
		agent_conn_destroy(c);
}

static void put_error(struct agent_conn *c, enum agent_error what, const char *why)
{
	uint8_t payload[4 + 64];
	size_t len = strlen(why);
	frame_set_u32(payload, what);
	memcpy(payload + 4, why, len);
	const struct frame f = { .type = FRAME_ERROR,
				 .session = c->agent->session,
				 .len = (uint16_t)(4 + len),
				 .payload = payload };
	c->stream = 0;
	put_and_flush(c, &f);
}

/* ---- from the guest ---- */

void agent_conn_session_began(struct agent_conn *c)
{
	const struct frame f = { .type = FRAME_WELCOME,
				 .session = c->agent->session,
				 .len = c->agent->welcome_len,
				 .payload = c->agent->welcome };
	put_and_flush(c, &f);
}

void agent_conn_session_ended(struct agent_conn *c)
{
	if (c->stream)
		put_error(c, AGENT_ERROR_GONE, "the guest started anew");
	else
		set_events(c);
}

/* -> false: more than the client asked for. */
static bool spend_credit(struct agent_conn *c, const struct frame *f)
{
	uint32_t cost = frame_cost(f);
	if (cost > c->credit)
		return false;
	c->credit -= cost;
	return true;
}

void agent_conn_frame(struct agent_conn *c, const struct frame *f)
{
	bool data = f->type == FRAME_STDOUT || f->type == FRAME_STDERR;
	bool last = f->type == FRAME_EXIT || f->type == FRAME_ERROR;
	if (!data && !last && f->type != FRAME_CREDIT)
		return;
	if ((data && !spend_credit(c, f)) || !put(c, f)) {
		log_guest(&c->agent->limit, "the guest's agent sent more than it may");
		agent_conn_destroy(c);
		return;
	}
	if (last)
		c->stream = 0;
	if (!flush(c))
		agent_conn_destroy(c);
}

/* ---- from the client ---- */

/* -> 0, or -1: it broke the rules. */
static int open_stream(struct agent_conn *c, const struct frame *f)
{
	struct agent *a = c->agent;
	if (c->stream)
		return -1;
	c->stream = ++a->last_stream ? a->last_stream : ++a->last_stream;
	c->credit = 0;
	agent_to_guest(a, FRAME_EXEC, c->stream, f->payload, f->len);
	return 0;
}

static int add_credit(struct agent_conn *c, const struct frame *f)
{
	uint32_t n = frame_u32(f, 0);
	if (n > AGENT_WINDOW_BYTES || c->credit > AGENT_WINDOW_BYTES - n)
		return -1;
	c->credit += n;
	return 0;
}

/* There is room for it. -> 0, or -1: it broke the rules. */
static int client_frame(struct agent_conn *c, const struct frame *f)
{
	struct agent *a = c->agent;
	bool to_guest = f->type >= FRAME_EXEC && f->type <= FRAME_CLOSE &&
			f->type != FRAME_STDOUT && f->type != FRAME_STDERR;
	if (!to_guest)
		return -1;
	if (f->session != a->session)
		return 0; /* the client has been told, or is being told */
	if (f->type == FRAME_EXEC)
		return open_stream(c, f);
	if (!c->stream)
		return 0; /* sent before it saw its command's end */
	if (f->type == FRAME_CREDIT && add_credit(c, f))
		return -1;
	agent_to_guest(a, f->type, c->stream, f->payload, f->len);
	if (f->type == FRAME_CLOSE)
		c->stream = 0;
	return 0;
}

/* What was read, as far as there is room. -> 0, or -1: it broke the rules. */
static int decode(struct agent_conn *c)
{
	while (c->pos < c->len && c->agent->up && agent_has_room(c->agent)) {
		const uint8_t *p = c->in + c->pos;
		size_t left = c->len - c->pos;
		struct frame f;
		int got = frame_get(&c->decoder, &p, &left, &f);
		c->pos = (size_t)(p - c->in);
		if (got < 0 || (got > 0 && client_frame(c, &f)))
			return -1;
	}
	return 0;
}

/* -> false: the client is gone. */
static bool receive(struct agent_conn *c)
{
	if (c->pos < c->len)
		return true;
	ssize_t n = recv(c->src.fd, c->in, sizeof(c->in), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return true;
	c->pos = 0;
	c->len = n > 0 ? (size_t)n : 0;
	return n > 0;
}

void agent_conn_resume(struct agent_conn *c)
{
	if (decode(c))
		agent_conn_destroy(c);
	else
		set_events(c);
}

static void on_events(void *opaque, uint32_t events)
{
	struct agent_conn *c = opaque;
	bool there = !(events & (EPOLLHUP | EPOLLERR));
	if (there && events & EPOLLIN)
		there = receive(c) && !decode(c);
	/* What it has not read yet does not matter to one that hung up. */
	if (!there || !flush(c))
		agent_conn_destroy(c);
}

/* ---- life ---- */

bool agent_is_full(const struct agent *a)
{
	return a->nconns == AGENT_CLIENTS_MAX;
}

int agent_add_client(struct agent *a, int fd)
{
	struct agent_conn *c = agent_is_full(a) ? NULL : calloc(1, sizeof(*c));
	if (c)
		c->out_buf = malloc(AGENT_CONN_OUT_BYTES);
	if (!c || !c->out_buf) {
		free(c);
		close(fd);
		return agent_is_full(a) ? -EMFILE : -ENOMEM;
	}
	c->agent = a;
	ring_init(&c->out, c->out_buf, AGENT_CONN_OUT_BYTES);
	c->src = (struct loop_fd){ .fd = fd, .lock = a->base.lock, .fn = on_events, .opaque = c };
	list_add_tail(&a->conns, &c->link);
	a->nconns++;
	int err = loop_fd_add(a->loop, &c->src);
	if (err)
		agent_conn_destroy(c);
	else if (a->up)
		agent_conn_session_began(c);
	return err;
}
