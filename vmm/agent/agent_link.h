/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command's end of a connection to the agent: frames over a blocking socket, with a deadline. For sub-commands, not for
 * the machine's process; one thread.
 */
#ifndef VMM_AGENT_LINK_H
#define VMM_AGENT_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest-kit/agent/frame.h"

struct agent_link {
	int fd;		      /* the caller's to close */
	uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
	bool up;
	uint32_t session;
	struct frame_decoder decoder;
	size_t pos; /* [pos, len) of in was read and not decoded */
	size_t len;
	uint8_t in[FRAME_PAYLOAD_MAX];
};

/* @timeout_s 0: none. */
void agent_link_init(struct agent_link *l, int fd, uint64_t timeout_s);
/* -> milliseconds left, for poll(2): -1 without a deadline, 0 when it has passed. */
int agent_link_left_ms(const struct agent_link *l);

/* Waits until an agent answers. -> 0, -ETIMEDOUT, -EPIPE (the machine is gone), -EPROTO. */
int agent_link_wait(struct agent_link *l);
/* -> 0, -ETIMEDOUT, -EPIPE. */
int agent_link_send(struct agent_link *l, enum frame_type type, const void *payload, size_t len);
/*
 * The next frame; with @wait false only of what is here by now. -> 1, 0 (nothing), -ETIMEDOUT, -EPIPE, -EPROTO. A
 * WELCOME is noted and given as any other.
 */
int agent_link_next(struct agent_link *l, bool wait, struct frame *f);

#endif
