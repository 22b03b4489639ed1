/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of the control socket, for commands: find a machine by its name, ask it, print what it says. One thread,
 * no loop. What the machine sends is no more trusted than what it is sent: lines are bounded and checked.
 */
#ifndef VMM_CONTROL_CLIENT_H
#define VMM_CONTROL_CLIENT_H

#include <jansson.h>

#include "vmm/exit_status.h"
#include "vmm/record.h"

struct control_client {
	struct record record; /* of the machine; its name is record.name */
	int fd;
	int timeout_ms; /* for each line that is waited for; -1: as long as it takes */
	json_int_t id;
	char *line; /* of CONTROL_ANSWER_MAX */
};

/* News on the way to an answer; @progress is valid during the call. */
typedef void control_progress_fn(void *opaque, const json_t *progress);

/* Connects to the running machine @name (NULL: the only one) and reads its greeting. -> EXIT_STATUS_OK and an open
 * client, or _NO_MACHINE, _FAILED with one line logged. One that is starting is waited for, up to half a minute. */
enum exit_status control_client_open(struct control_client *c, const char *name);
/* The same for a record that was found, with nothing logged. -> 0 or -errno. */
int control_client_connect(struct control_client *c, const struct record *r, int timeout_ms);
/* Fine on one that was zeroed or did not open. */
void control_client_close(struct control_client *c);

/*
 * Asks @verb with @args (taken over, may be NULL), and waits for the whole answer. @progress may be NULL.
 * *result: what came with ok, to json_decref(); NULL: it is not wanted. -> EXIT_STATUS_OK, or the status of the machine's
 * error, or _FAILED (the machine ended before it answered), with one line logged.
 */
enum exit_status control_client_call(struct control_client *c, const char *verb, json_t *args,
				     control_progress_fn *progress, void *opaque, json_t **result);
/* The same, with nothing logged. -> 0 and the answer in *answer, an object with "ok" or "error"; -EPIPE (it ended),
 * -ETIMEDOUT, -EPROTO, -ENOMEM. */
int control_client_ask(struct control_client *c, const char *verb, json_t *args,
		       control_progress_fn *progress, void *opaque, json_t **answer);

/* After the answer to a verb that hands the connection over: the raw stream, the caller's own, from the first byte
 * behind the answer. */
int control_client_take(struct control_client *c);

#endif
