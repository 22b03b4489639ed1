/* SPDX-License-Identifier: Apache-2.0 */
/* One client of the control socket: its bytes in, its lines, its bytes out. */
/*
 * How it works. pump() is the only place that moves anything: it sends what is queued, and looks at the next line
 * when no call is under way and nothing is left to send. It runs for the descriptor's events and as a task, which every
 * answer posts; never from within a verb, so an answer cannot free what its verb stands on.
 *
 * Limits. In: one buffer of CONTROL_LINE_MAX, a longer line ends the connection. Out: one answer at a time
 * and what was queued before it, as control_progress() looks at what is unread.
 */
#include "vmm/control/control_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

size_t control_conn_unread(const struct control_conn *conn)
{
	return conn->out_len - conn->out_off;
}

/* The next line may be looked at. */
static bool idle(const struct control_conn *conn)
{
	return conn->src.fd >= 0 && !conn->call && !control_conn_unread(conn);
}

/* ---- out ---- */

/* What cannot be sent any more is not worth keeping: the connection is freed by its task. */
static void drop(struct control_conn *conn)
{
	if (conn->src.fd < 0)
		return;
	loop_fd_remove(conn->control->loop, &conn->src);
	close(conn->src.fd);
	conn->src.fd = -1;
	loop_task_post(conn->control->loop, &conn->task);
}

static void flush(struct control_conn *conn)
{
	while (conn->src.fd >= 0 && control_conn_unread(conn)) {
		ssize_t n = send(conn->src.fd, conn->out + conn->out_off, control_conn_unread(conn),
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			drop(conn);
			return;
		}
		conn->out_off += (size_t)n;
	}
	/* A large answer's memory is not kept for a client that asks no more. */
	free(conn->out);
	conn->out = NULL;
	conn->out_off = conn->out_len = conn->out_size = 0;
}

/* Room for @len more bytes behind what is queued. */
static bool make_room(struct control_conn *conn, size_t len)
{
	size_t unread = control_conn_unread(conn);
	if (len <= conn->out_size - conn->out_len)
		return true;
	char *to = malloc(unread + len);
	if (!to)
		return false;
	if (unread)
		memcpy(to, conn->out + conn->out_off, unread);
	free(conn->out);
	conn->out = to;
	conn->out_off = 0;
	conn->out_len = unread;
	conn->out_size = unread + len;
	return true;
}

void control_conn_send(struct control_conn *conn, const json_t *line)
{
	if (conn->src.fd < 0)
		return;
	size_t len = json_dumpb(line, NULL, 0, JSON_COMPACT);
	/* Nothing may be left out of an answer: rather none at all. */
	if (!len || len >= CONTROL_ANSWER_MAX || !make_room(conn, len + 1)) {
		drop(conn);
		return;
	}
	json_dumpb(line, conn->out + conn->out_len, len, JSON_COMPACT);
	conn->out[conn->out_len + len] = '\n';
	conn->out_len += len + 1;
	loop_task_post(conn->control->loop, &conn->task);
}

int control_conn_take(struct control_conn *conn)
{
	flush(conn);
	int fd = conn->src.fd;
	/* Bytes before the answer: they would be lost, or taken for a request. */
	if (fd < 0 || control_conn_unread(conn) || conn->in_len) {
		drop(conn);
		return -EPIPE;
	}
	loop_fd_remove(conn->control->loop, &conn->src);
	conn->src.fd = -1;
	loop_task_post(conn->control->loop, &conn->task);
	return fd;
}

/* ---- in ---- */

/* The first line without its newline goes to its verb. false: there is no whole line. */
static bool take_line(struct control_conn *conn)
{
	char *end = memchr(conn->in, '\n', conn->in_len);
	if (!end)
		return false;
	size_t used = (size_t)(end - conn->in) + 1;
	char *line = malloc(used);
	if (!line) {
		drop(conn);
		return false;
	}
	/* Out of the buffer first: control_take() looks whether anything came after it. */
	memcpy(line, conn->in, used);
	memmove(conn->in, end + 1, conn->in_len - used);
	conn->in_len -= used;
	control_dispatch(conn, line, used - 1);
	free(line);
	return true;
}

static void refuse_length(struct control_conn *conn)
{
	json_t *o = json_pack("{s:n, s:{s:i, s:s}}", "id", "error", "status", EXIT_STATUS_USAGE,
			      "message", "a request is at most 65536 bytes; hanging up");
	control_conn_send(conn, o);
	json_decref(o);
	flush(conn);
	drop(conn);
}

static void receive(struct control_conn *conn)
{
	if (!idle(conn) || conn->in_len == CONTROL_LINE_MAX)
		return; /* an event from before set_events() */
	ssize_t n = recv(conn->src.fd, conn->in + conn->in_len, CONTROL_LINE_MAX - conn->in_len,
			 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		drop(conn);
		return;
	}
	conn->ended = n == 0;
	conn->in_len += (size_t)n;
	list_del(&conn->link);
	list_add_tail(&conn->control->conns, &conn->link);
}

/* ---- the pump ---- */

static void set_events(struct control_conn *conn)
{
	uint32_t events = control_conn_unread(conn) ? EPOLLOUT : 0;
	if (idle(conn) && !conn->ended)
		events |= EPOLLIN;
	loop_fd_modify(conn->control->loop, &conn->src, events);
}

static void pump(void *opaque)
{
	struct control_conn *conn = opaque;
	flush(conn);
	while (idle(conn) && take_line(conn))
		flush(conn);
	if (idle(conn) && conn->in_len == CONTROL_LINE_MAX)
		refuse_length(conn);
	if (conn->src.fd < 0 || (idle(conn) && conn->ended))
		control_conn_destroy(conn);
	else
		set_events(conn);
}

static void on_events(void *opaque, uint32_t events)
{
	struct control_conn *conn = opaque;
	/* Hung up for good: half a hang-up, the end of what it sends, is no such event. */
	if (events & (EPOLLHUP | EPOLLERR)) {
		control_conn_destroy(conn);
		return;
	}
	if (events & EPOLLIN)
		receive(conn);
	pump(conn);
}

/* ---- life ---- */

static void greet(struct control_conn *conn)
{
	json_t *o = json_pack("{s:s, s:i, s:s}", "charmvm", CHARMVM_VERSION, "protocol",
			      CONTROL_PROTOCOL, "name", conn->control->cfg.name);
	control_conn_send(conn, o);
	json_decref(o);
}

int control_conn_create(struct control *c, int fd)
{
	struct control_conn *conn = calloc(1, sizeof(*conn));
	char *in = malloc(CONTROL_LINE_MAX);
	if (!conn || !in) {
		free(in);
		free(conn);
		return -ENOMEM;
	}
	conn->control = c;
	conn->in = in;
	conn->task = (struct loop_task){ .fn = pump, .opaque = conn };
	conn->src =
		(struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = on_events, .opaque = conn };
	int err = loop_fd_add(c->loop, &conn->src);
	if (err) {
		free(in);
		free(conn);
		return err;
	}
	list_add_tail(&c->conns, &conn->link);
	c->nconns++;
	greet(conn);
	return 0;
}

void control_conn_destroy(struct control_conn *conn)
{
	struct control *c = conn->control;
	if (conn->src.fd >= 0) {
		loop_fd_remove(c->loop, &conn->src);
		close(conn->src.fd);
		conn->src.fd = -1; /* for the verb that may still try to answer */
	}
	if (conn->call)
		control_call_gone(conn->call);
	loop_task_cancel(c->loop, &conn->task);
	list_del(&conn->link);
	c->nconns--;
	free(conn->in);
	free(conn->out);
	free(conn);
}
