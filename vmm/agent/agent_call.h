/* SPDX-License-Identifier: Apache-2.0 */
/* A command run in the guest for a command on the host: its streams, its signals, its status. */
#ifndef VMM_AGENT_CALL_H
#define VMM_AGENT_CALL_H

#include <stdint.h>

#include "vmm/agent/agent_link.h"

struct agent_call {
	uint32_t flags;	   /* EXEC_TTY, EXEC_BUILTIN */
	char *const *argv; /* argc words; none: the user's login shell */
	int argc;
	const char *const *env; /* NAME=value, up to NULL; or NULL */
	const char *user;	/* NULL: the guest's choice */
	const char *cwd;	/* NULL: the user's home */
	int in;			/* -1: none */
	int out;
	int err; /* -1: what the command says there is logged, a line at its end */
};

/*
 * Waits for an agent, runs the command and copies until it has ended. SIGINT, SIGTERM, SIGQUIT and SIGHUP go to the command
 * meanwhile; the third of one kind gives up. With EXEC_TTY, @in is a terminal and is in raw mode meanwhile.
 *
 * -> what the process is to end with: the command's status, 128 and the signal that ended it, or one of
 * exit_status.h's (timed out, out of memory, guest gone, cannot be run, not found); those are logged in one line.
 */
int agent_call_run(struct agent_link *l, const struct agent_call *call);

#endif
