/* SPDX-License-Identifier: Apache-2.0 */
/* Copies bytes from one descriptor to another, one buffer at a time, for a poll
 * loop. */
#ifndef LAB_PUMP_H
#define LAB_PUMP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LAB_PUMP_BYTES = 32 << 10, /* the most that the kernel's virtio port takes at once */
};

struct lab_pump {
	int from;	      /* -1: at its end; the descriptors are the caller's to close */
	int to;		      /* -1: the reader has gone, what comes is dropped */
	size_t chunk_bytes;   /* the most per write(), so that a blocking "to" does not
				 block */
	uint64_t total_bytes; /* written or dropped so far */
	size_t off;
	size_t len_bytes;
	uint8_t buf[LAB_PUMP_BYTES];
};

/* What the pump waits for. */
struct pollfd lab_pump_poll(const struct lab_pump *p);

/* Acts on the result of poll(). Returns whether anything moved or ended. */
bool lab_pump_turn(struct lab_pump *p, const struct pollfd *pfd);

/* True when no byte can follow any more. */
bool lab_pump_is_empty(const struct lab_pump *p);

#endif
