/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that need the agent in a guest share. */
#ifndef VMM_CMD_AGENT_H
#define VMM_CMD_AGENT_H

#include <stdint.h>

#include "vmm/agent/agent_link.h"
#include "vmm/exit_status.h"

struct agent_call;

/* "90", "90s", "5m", "2h": seconds, 1 to a week. -> 0, or -EINVAL (logged with the option's name). */
int agent_parse_time(const char *option, const char *value, uint64_t *seconds);

/* Connects to the agent of the running machine @vm (NULL: the only one). @timeout_s 0: none. -> EXIT_STATUS_OK and a
 * link, whose fd is the caller's; or a status, with one line logged. */
enum exit_status agent_connect(struct agent_link *l, const char *vm, uint64_t timeout_s);

/* Where a copy comes from or goes to. */
struct agent_place {
	bool remote;
	char vm[128]; /* of a remote one; empty: the only machine there is */
	const char *path;
};

/* "VM:PATH" is in a machine; what has a '/' before its first ':' or no ':' at all is here. -> 0, -EINVAL (logged). */
int agent_parse_place(const char *text, struct agent_place *p);

/* Copies @here on the host into the guest as @there / the other way. -> a status; what failed was logged. */
enum exit_status agent_copy_in(struct agent_link *l, const char *user, const char *here,
			       const char *there);
enum exit_status agent_copy_out(struct agent_link *l, const char *user, const char *there,
				const char *here);

#endif
