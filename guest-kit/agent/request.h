/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be run, gathered frame by frame, and its start. */
#ifndef AGENT_REQUEST_H
#define AGENT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest-kit/agent/frame.h"

struct request {
	uint32_t flags;
	uint16_t cols;
	uint16_t rows;
	size_t bytes; /* of all strings */
	unsigned int nstrings;
	char **argv; /* NULL-terminated, or NULL: none yet */
	unsigned int argc;
	char **env;
	unsigned int nenv;
	char *cwd;
	char *user;
};

/* A command that runs. Descriptors are ours, non-blocking, -1 when closed; on a terminal err is -1. */
struct command {
	pid_t pid; /* and its process group */
	int in;
	int out;
	int err;
};

/* Takes a string frame (ARG, ENV, CWD, USER). -> 0 or -1: too much, or a NUL inside. */
int request_add(struct request *r, const struct frame *f);
void request_free(struct request *r);

/* Starts it. -> 0, or -1 with what and why for the host. */
int request_start(const struct request *r, struct command *c, enum agent_error *what,
		  char why[256]);

#endif
