/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine in a process of its own that belongs to this command: it ends when the command does, however that ends. The
 * command speaks to the agent in it by a connection that is there from the start. Main thread, before any other one.
 */
#ifndef VMM_OWN_MACHINE_H
#define VMM_OWN_MACHINE_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/agent/agent_link.h"
#include "vmm/config.h"

struct own_machine {
	struct agent_link link; /* its fd is the machine's to close */
	pid_t pid;
	int leash;
};

/*
 * Starts it. @cfg: what it is to be; made transient, with an agent's port. @time_s: for agent_link_init().
 * -> 0, or -1 after one line.
 */
int own_machine_start(struct own_machine *m, struct machine_config *cfg, uint64_t time_s);
/* Ends it if it has not ended. -> its exit status, or -1. */
int own_machine_stop(struct own_machine *m);
/* Waits until it has ended by itself, @ms at most, and then as own_machine_stop(). */
int own_machine_wait(struct own_machine *m, uint64_t ms);
/*
 * Ends one of which nothing is kept, and returns when nobody sees anything of it any more: no record, port or lock. Its
 * process ends a few milliseconds later, when the kernel has its memory back.
 */
void own_machine_leave(struct own_machine *m);
/* It goes on without us. */
void own_machine_let_go(struct own_machine *m);

/* Waits until an agent answers. -> 0; EXIT_STATUS_TIMEOUT (logged), EXIT_STATUS_GUEST_GONE (not logged). */
int own_machine_wait_for_agent(struct own_machine *m);

#endif
