/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine in the background (--detach): the command's process waits until the machine runs, and SSH answers, and
 * ends; its child, in a session of its own, is the machine. Until it runs, its messages are on the caller's
 * terminal; from then on in NAME.log beside the record.
 */
#ifndef VMM_DETACH_H
#define VMM_DETACH_H

#include <stdbool.h>

#include "vmm/record.h"

struct backends;
struct machine_config;

struct detach {
	int ready_fd; /* of the child: where it says that it runs; -1: this is no child */
};

/* Forks; before any thread is there. The parent waits for SSH and the notebook where cfg->wait says so. -> true in the child; false in the parent, when all has been
 * said, and *status is what it ends with. */
bool detach_fork(struct detach *d, const struct machine_config *cfg, int *status);
/* A process that is to be the machine becomes one in the background; it says to @ready_fd, its own now, when it runs. */
void detach_here(struct detach *d, int ready_fd);
/* Waits at the other end of it for the machine's name. -> false: it did not come so far, has said why, and ends. */
bool detach_name(int fd, char name[RECORD_NAME_MAX + 1]);
/* In the child, when the machine is about to run: lets the parent go. Nothing to do where there is none. */
void detach_ready(struct detach *d, const struct backends *hosts);

#endif
