/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: NAME.sock in the run directory, where other commands talk to a running machine. One JSON
 * object a line, as charmvm-protocol(7) has it:
 *
 *     {"id": 1, "do": "status", ...}      -> {"id": 1, "progress": {...}} ... {"id": 1, "ok": {...}}
 *                                         or {"id": 1, "error": {"status": 3, "message": "..."}}
 *
 * A verb is a function in one visible table (control_verbs.c). It gets a call and answers it once: at once, or later
 * from a callback of its own. A connection has one call at a time; its next line is looked at when that one is
 * answered and the answer was read. So what a peer can make us keep is bounded, whatever it sends or does not read.
 *
 * Everything here: the loop's thread.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vmm/exit_status.h"

struct backends;
struct control;
struct control_call;
struct loop;
struct machine;
struct machine_config;

enum {
	CONTROL_PROTOCOL = 1,	      /* the greeting's "protocol" */
	CONTROL_LINE_MAX = 64 << 10,  /* bytes of a request, with its newline */
	CONTROL_ANSWER_MAX = 1 << 20, /* bytes of any line to a client */
	CONTROL_CLIENTS_MAX = 64,     /* beyond: the one that was silent for longest has to go */
};

/* ---- the server ---- */

struct control_verb {
	const char *name; /* the request's "do" */
	/* @request: the whole object, valid during the call only (json_incref() what is kept). */
	void (*fn)(struct control_call *call, const json_t *request);
};

struct control_config {
	const char *path; /* of the socket; what a dead process left there is replaced */
	const char *name; /* the machine's, for the greeting */
	const struct control_verb *verbs;
	size_t nverbs;
	/* What the verbs find in their calls; all outlive the server or are NULL. */
	struct machine *machine;
	struct backends *hosts;
	const struct machine_config *machine_config;
	void *opaque;
};

/* Listens, mode 0600, for this user only. @cfg is copied, its strings and tables are not. -> 0, or -errno with one
 * line logged. */
int control_create(struct loop *loop, const struct control_config *cfg, struct control **out);
/* Hangs up on everybody, as if all clients had gone, and removes the socket. NULL is fine. */
void control_destroy(struct control *c);

/* ---- a call, for verbs ---- */

struct machine *control_machine(const struct control_call *call);
struct backends *control_hosts(const struct control_call *call);
const struct machine_config *control_machine_config(const struct control_call *call);
void *control_opaque(const struct control_call *call);

/*
 * The answers. Each ends the call: it must not be touched after. @result: an object, taken over; NULL stands
 * for an empty one (and for one that could not be made for want of memory).
 */
void control_ok(struct control_call *call, json_t *result);
/* @status: what the command is to end with. The message: one line that says what, why, and what to do. */
void control_fail(struct control_call *call, enum exit_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * Answers with ok, and hands the connection over as a raw stream: a descriptor of the caller's own, non-blocking,
 * close-on-exec. The client sends nothing before it has read the answer. -> the descriptor, or -EPIPE (the client is
 * gone or broke that rule). Ends the call either way.
 */
int control_take(struct control_call *call, json_t *result);

/* News for the client while the call is under way, taken over; left out for one that does not read. */
void control_progress(struct control_call *call, json_t *progress);

/*
 * When the client goes away before the answer, @fn is called and the call has ended: cancel what it asked for, and do not
 * answer. Without this, the call is answered as ever, and nobody hears it.
 */
void control_on_gone(struct control_call *call, void (*fn)(void *opaque), void *opaque);

/* ---- arguments: each gives NULL or @otherwise when the member is not there or of another type ---- */

const char *control_arg_str(const json_t *request, const char *key);
bool control_arg_bool(const json_t *request, const char *key, bool otherwise);
json_int_t control_arg_int(const json_t *request, const char *key, json_int_t otherwise);

#endif
