/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of the control socket, for commands. */
/*
 * How it works. Lines are read with a look first (MSG_PEEK), so that the descriptor always stands at the beginning of a line:
 * after the answer that hands the connection over, nothing of the raw stream was read ahead.
 */
#include "vmm/control/control_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/control/control.h"
#include "vmm/control/control_path.h"

enum { GREETING_TIMEOUT_MS = 30000, LISTEN_TIMEOUT_MS = 30000, LOOK_AGAIN_MS = 20 };

/* ---- lines ---- */

static int wait_readable(struct control_client *c, uint64_t deadline_ns)
{
	int ms = -1;
	if (c->timeout_ms >= 0) {
		uint64_t now = clock_now_ns();
		ms = now < deadline_ns ? (int)((deadline_ns - now) / NS_PER_MS) : 0;
	}
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	int n = poll(&p, 1, ms);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n ? 0 : -ETIMEDOUT;
}

/* Takes what there is up to the end of the line behind @len bytes. -> how much, 0: nothing yet, -errno. */
static ssize_t take_piece(struct control_client *c, size_t len)
{
	char *at = c->line + len;
	ssize_t n = recv(c->fd, at, CONTROL_ANSWER_MAX - len, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0
		       : errno == ECONNRESET		 ? -EPIPE
							 : -errno;
	if (!n)
		return -EPIPE;
	const char *end = memchr(at, '\n', (size_t)n);
	size_t want = end ? (size_t)(end - at) + 1 : (size_t)n;
	n = recv(c->fd, at, want, MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

/* One line, parsed. -> 0, -EPIPE, -ETIMEDOUT, -EPROTO, -errno. */
static int read_line(struct control_client *c, json_t **out)
{
	uint64_t deadline_ns = clock_now_ns() + (uint64_t)c->timeout_ms * NS_PER_MS;
	size_t len = 0;
	while (!len || c->line[len - 1] != '\n') {
		if (len == CONTROL_ANSWER_MAX)
			return -EPROTO;
		int err = wait_readable(c, deadline_ns);
		ssize_t n = err ? err : take_piece(c, len);
		if (n < 0)
			return (int)n;
		len += (size_t)n;
	}
	*out = json_loadb(c->line, len, JSON_REJECT_DUPLICATES, NULL);
	return json_is_object(*out) ? 0 : -EPROTO;
}

static int send_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- opening ---- */

static int read_greeting(struct control_client *c)
{
	json_t *o = NULL;
	int err = read_line(c, &o);
	json_int_t protocol = json_integer_value(json_object_get(o, "protocol"));
	if (!err && protocol != CONTROL_PROTOCOL)
		err = -EPROTO;
	json_decref(o);
	return err;
}

int control_client_connect(struct control_client *c, const struct record *r, int timeout_ms)
{
	char path[PATH_MAX];
	*c = (struct control_client){ .record = *r, .fd = -1, .timeout_ms = timeout_ms };
	int err = record_socket_path(r, path);
	if (err)
		return err;
	c->line = malloc(CONTROL_ANSWER_MAX);
	c->fd = c->line ? control_path_connect(path) : -ENOMEM;
	err = c->fd < 0 ? c->fd : 0;
	err = err ? err : read_greeting(c);
	if (err)
		control_client_close(c);
	return err;
}

static const char *explain(int err)
{
	switch (err) {
	case -ENOENT:
	case -ECONNREFUSED: return "it does not listen; it is starting still, or about to end";
	case -ETIMEDOUT: return "it does not answer; is it stopped (SIGSTOP), or the host busy?";
	case -EPROTO: return "its charmvm speaks another protocol; use the one that started it";
	case -EPIPE: return "it ended before it answered";
	default: return strerror(-err);
	}
}

/* A machine that starts has its record before its disks and its memory are there, and listens after that. */
static int connect_when_it_listens(struct control_client *c, const struct record *r)
{
	const uint64_t deadline_ns = clock_now_ns() + LISTEN_TIMEOUT_MS * NS_PER_MS;
	int err;
	while (((err = control_client_connect(c, r, GREETING_TIMEOUT_MS)) == -ENOENT ||
		err == -ECONNREFUSED) &&
	       record_is_running(r) && clock_now_ns() < deadline_ns)
		poll(NULL, 0, LOOK_AGAIN_MS);
	return err;
}

enum exit_status control_client_open(struct control_client *c, const char *name)
{
	struct record r;
	*c = (struct control_client){ .fd = -1 };
	if (record_find(&r, name))
		return EXIT_STATUS_NO_MACHINE;
	int err = connect_when_it_listens(c, &r);
	c->timeout_ms = -1;
	if (!err)
		return EXIT_STATUS_OK;
	log_error("machine '%s' cannot be asked: %s", r.name, explain(err));
	return EXIT_STATUS_FAILED;
}

void control_client_close(struct control_client *c)
{
	if (c->line && c->fd >= 0)
		close(c->fd);
	free(c->line);
	c->line = NULL;
	c->fd = -1;
}

int control_client_take(struct control_client *c)
{
	int fd = c->fd;
	c->fd = -1;
	return fd;
}

/* ---- asking ---- */

static int send_request(struct control_client *c, const char *verb, json_t *args)
{
	json_t *o = args ? args : json_object();
	json_object_set_new(o, "id", json_integer(++c->id));
	json_object_set_new(o, "do", json_string(verb));
	char *text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!text)
		return -ENOMEM;
	size_t len = strlen(text);
	text[len] = '\n'; /* in the place of the end: what is sent has a length */
	int err = send_all(c->fd, text, len + 1);
	free(text);
	return err;
}

int control_client_ask(struct control_client *c, const char *verb, json_t *args,
		       control_progress_fn *progress, void *opaque, json_t **answer)
{
	int err = send_request(c, verb, args);
	while (!err) {
		json_t *o = NULL;
		err = read_line(c, &o);
		if (!err && (json_object_get(o, "ok") || json_object_get(o, "error"))) {
			*answer = o;
			return 0;
		}
		if (!err && progress)
			progress(opaque, json_object_get(o, "progress"));
		json_decref(o);
	}
	return err;
}

/* -> the status that the machine's error has. */
static enum exit_status complain(const struct control_client *c, const json_t *error)
{
	const char *message = json_string_value(json_object_get(error, "message"));
	json_int_t status = json_integer_value(json_object_get(error, "status"));
	log_error("machine '%s': %s", c->record.name, message ? message : "an error without words");
	return status > 0 && status < 256 ? (enum exit_status)status : EXIT_STATUS_FAILED;
}

enum exit_status control_client_call(struct control_client *c, const char *verb, json_t *args,
				     control_progress_fn *progress, void *opaque, json_t **result)
{
	json_t *answer = NULL;
	int err = control_client_ask(c, verb, args, progress, opaque, &answer);
	if (err) {
		log_error("machine '%s', %s: %s", c->record.name, verb, explain(err));
		return EXIT_STATUS_FAILED;
	}
	const json_t *error = json_object_get(answer, "error");
	enum exit_status status = error ? complain(c, error) : EXIT_STATUS_OK;
	if (!status && result)
		*result = json_incref(json_object_get(answer, "ok"));
	json_decref(answer);
	return status;
}
