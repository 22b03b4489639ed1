/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the agent in the guest: a character stream for the console port AGENT_PORT_NAME that keeps one session
 * with whatever agent is at the other end (guest-kit/agent/PROTOCOL.md), and lets local clients run commands through it,
 * each on a connection of its own.
 *
 * The guest is hostile, a client may be slow: a connection buffers what its client gave credit for and no more, one that
 * breaks the rules is dropped, and a guest that does is left without a session until its agent announces itself anew.
 */
#ifndef VMM_AGENT_H
#define VMM_AGENT_H

#include <stdbool.h>

#include "guest-kit/agent/frame.h"

struct agent;
struct chardev;
struct loop;

enum { AGENT_CLIENTS_MAX = 64 };

/* -> 0, -ENOMEM. Before the loop runs, or on its thread; so are all others. */
int agent_create(struct loop *loop, struct agent **out);
/* Hangs up on all clients. No device has its stream any more. NULL is fine. */
void agent_destroy(struct agent *a);

/*
 * What the guest's hooks are told of the machine by the next session that begins: how it came to be, its name (cut off at
 * AGENT_NAME_MAX), the code of its ports or 0.
 */
void agent_set_identity(struct agent *a, enum agent_event event, const char *name,
			unsigned int code);
/* What a guest that was nobody's is handed with the event AGENT_FIRST. @v outlives the agent. */
struct agent_credential {
	const char *name, *value;
};
void agent_set_credentials(struct agent *a, const struct agent_credential *v, unsigned int n);
/* The guest begins anew, with vCPUs stopped: whoever has a command in it is told, and nobody is up until it answers again. NULL is
 * fine. */
void agent_guest_reset(struct agent *a);
/* Only what has happened to it. NULL is fine. */
void agent_set_event(struct agent *a, enum agent_event event);

/* The stream for the console port; the agent's, do not close it. Each device that attaches to it begins a session. */
struct chardev *agent_chardev(struct agent *a);
/* An agent has answered, and its session goes on. */
bool agent_is_up(const struct agent *a);

/* Nobody else may come. */
bool agent_is_full(const struct agent *a);
/* Takes @fd, a connected stream socket, as a client: PROTOCOL.md, "A client's side". Closed on error.
 * -> 0, -EMFILE (too many clients), -ENOMEM, or the error of epoll_ctl(2). */
int agent_add_client(struct agent *a, int fd);

#endif
