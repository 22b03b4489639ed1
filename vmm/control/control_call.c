/* SPDX-License-Identifier: Apache-2.0 */
/* A call of the control socket: from a line to its verb, and the verb's answer. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/control/control_priv.h"

enum {
	MESSAGE_MAX = 1024,
	ENVELOPE_MAX = 512,
	PROGRESS_UNREAD_MAX = 64 << 10, /* beyond, a client is told no more of its progress */
};

/* ---- answers ---- */

static void send_member(const struct control_call *call, const char *what, json_t *value)
{
	json_t *o = json_object();
	json_object_set(o, "id", call->id ? call->id : json_null());
	json_object_set_new(o, what, value ? value : json_object());
	control_conn_send(call->conn, o);
	json_decref(o);
}

/* @call is over; its connection may take the next one. */
static void end(struct control_call *call)
{
	if (call->conn)
		call->conn->call = NULL;
	json_decref(call->id);
	free(call);
}

static void answer(struct control_call *call, const char *what, json_t *value)
{
	if (call->conn)
		send_member(call, what, value);
	else
		json_decref(value);
	end(call);
}

/* A line has room for it, its id and its braces. */
static bool fits(const json_t *result)
{
	return !result ||
	       json_dumpb(result, NULL, 0, JSON_COMPACT) < CONTROL_ANSWER_MAX - ENVELOPE_MAX;
}

void control_ok(struct control_call *call, json_t *result)
{
	if (fits(result)) {
		answer(call, "ok", result);
		return;
	}
	json_decref(result);
	control_fail(call, EXIT_STATUS_FAILED,
		     "the answer is longer than 1 MiB, and no line has room for it");
}

void control_fail(struct control_call *call, enum exit_status status, const char *fmt, ...)
{
	char text[MESSAGE_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* A file's name in it may be of bytes that are no text. */
	json_t *message = json_string(text);
	if (!message)
		message = json_string("the machine has a message that is not UTF-8");
	answer(call, "error", json_pack("{s:i, s:o}", "status", status, "message", message));
}

int control_take(struct control_call *call, json_t *result)
{
	struct control_conn *conn = call->conn;
	if (!conn) {
		json_decref(result);
		end(call);
		return -EPIPE;
	}
	send_member(call, "ok", result);
	end(call);
	return control_conn_take(conn);
}

void control_progress(struct control_call *call, json_t *progress)
{
	if (call->conn && control_conn_unread(call->conn) < PROGRESS_UNREAD_MAX)
		send_member(call, "progress", progress);
	else
		json_decref(progress);
}

void control_on_gone(struct control_call *call, void (*fn)(void *opaque), void *opaque)
{
	call->gone = fn;
	call->gone_opaque = opaque;
}

void control_call_gone(struct control_call *call)
{
	call->conn->call = NULL;
	call->conn = NULL;
	if (!call->gone)
		return; /* it is answered one day, into the void */
	call->gone(call->gone_opaque);
	end(call);
}

/* ---- what a verb finds ---- */

struct machine *control_machine(const struct control_call *call)
{
	return call->control->cfg.machine;
}

struct backends *control_hosts(const struct control_call *call)
{
	return call->control->cfg.hosts;
}

const struct machine_config *control_machine_config(const struct control_call *call)
{
	return call->control->cfg.machine_config;
}

void *control_opaque(const struct control_call *call)
{
	return call->control->cfg.opaque;
}

const char *control_arg_str(const json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

bool control_arg_bool(const json_t *request, const char *key, bool otherwise)
{
	const json_t *v = json_object_get(request, key);
	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

json_int_t control_arg_int(const json_t *request, const char *key, json_int_t otherwise)
{
	const json_t *v = json_object_get(request, key);
	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

/* ---- from a line to its verb ---- */

static const struct control_verb *find_verb(const struct control *c, const char *name)
{
	for (size_t i = 0; name && i < c->cfg.nverbs; i++)
		if (!strcmp(c->cfg.verbs[i].name, name))
			return &c->cfg.verbs[i];
	return NULL;
}

/* An id is a number or a string: nothing that would come back larger than it is worth. */
static bool acceptable_id(const json_t *id)
{
	return !id || json_is_integer(id) || (json_is_string(id) && json_string_length(id) <= 64);
}

static void dispatch(struct control_call *call, const json_t *request)
{
	json_t *id = json_object_get(request, "id");
	if (!json_is_object(request) || !acceptable_id(id)) {
		control_fail(call, EXIT_STATUS_USAGE,
			     "a request is an object in JSON on one line, its id a number or a "
			     "short string");
		return;
	}
	call->id = json_incref(id);
	const char *name = control_arg_str(request, "do");
	const struct control_verb *verb = find_verb(call->control, name);
	if (verb)
		verb->fn(call, request);
	else
		control_fail(
			call, EXIT_STATUS_USAGE,
			"this machine's charmvm (%s) knows no '%.64s'; see charmvm-protocol(7)",
			CHARMVM_VERSION, name ? name : "");
}

void control_dispatch(struct control_conn *conn, const char *line, size_t len)
{
	struct control_call *call = calloc(1, sizeof(*call));
	json_error_t err;
	if (!call)
		return; /* the client waits in vain, and that is all there is memory for */
	call->control = conn->control;
	call->conn = conn;
	conn->call = call;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &err);
	if (request)
		dispatch(call, request);
	else
		control_fail(call, EXIT_STATUS_USAGE, "not JSON: %.100s", err.text);
	json_decref(request);
}
