/* SPDX-License-Identifier: Apache-2.0 */
/* The verb that leads to the agent in the guest: the connection becomes one of its clients. */
#include "vmm/agent/agent.h"
#include "vmm/backends.h"
#include "vmm/base/log.h"
#include "vmm/control/control_verbs.h"

void verb_agent(struct control_call *call, const json_t *request)
{
	struct agent *a = control_hosts(call)->agent;
	(void)request;
	if (!a) {
		control_fail(call, EXIT_STATUS_FAILED, "this machine was started with --agent off");
		return;
	}
	if (agent_is_full(a)) {
		control_fail(call, EXIT_STATUS_FAILED,
			     "%d commands run in this machine; wait until one has ended",
			     AGENT_CLIENTS_MAX);
		return;
	}
	int fd = control_take(call, NULL);
	if (fd >= 0 && agent_add_client(a, fd))
		log_warn("out of memory: a client of the agent's was refused");
}
