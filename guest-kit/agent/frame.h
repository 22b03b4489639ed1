/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames that charmvm and its agent in the guest speak, and the one decoder that both ends read them with.
 * PROTOCOL.md beside this file says what they mean. Nothing here allocates, locks or trusts a byte.
 */
#ifndef AGENT_FRAME_H
#define AGENT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_PORT_NAME "org.charmvm.agent.0"

enum {
	AGENT_PROTOCOL = 1,

	FRAME_MARK = 0xc5, /* the first byte; zeros between frames are padding */
	FRAME_HEADER_BYTES = 12,
	FRAME_PAYLOAD_MAX = 16 * 1024,
	FRAME_MAX = FRAME_HEADER_BYTES + FRAME_PAYLOAD_MAX,

	FRAME_NONCE_BYTES = 16,
	FRAME_HELLO_BYTES = 4 + FRAME_NONCE_BYTES,
	FRAME_SEED_BYTES = 32,
	FRAME_IDENTITY_BYTES = 8, /* and the name */
	AGENT_NAME_MAX = 64,
	AGENT_CREDENTIAL_NAME_MAX = 64,

	AGENT_WINDOW_BYTES = 128 * 1024, /* unread data of a stream in one direction, at most */
	AGENT_STREAMS_MAX = 32,
	AGENT_REQUEST_BYTES = 128 * 1024, /* all strings of one request */
	AGENT_REQUEST_STRINGS = 4096,
};

/* How a machine came to be what it is. */
enum agent_event {
	AGENT_BOOTED,
	AGENT_RESTORED,
	AGENT_REVERTED,
	AGENT_FORKED,
	AGENT_FIRST, /* from a snapshot that was saved as nobody's machine */
};

enum frame_type {
	FRAME_READY = 1, /* guest: a new agent listens; stream 0, session 0 */
	FRAME_HELLO,	 /* host: a new session begins; session 0 */
	FRAME_WELCOME,	 /* guest: it has begun */
	FRAME_TIME,	 /* host: the wall clock */
	FRAME_SEED,	 /* host: random bytes, for the guest's generator */

	FRAME_EXEC, /* host: opens a stream: flags, columns, rows */
	FRAME_ARG,  /* host: one word of the command */
	FRAME_ENV,  /* host: NAME=value */
	FRAME_CWD,
	FRAME_USER,
	FRAME_START, /* host: the request is whole */

	FRAME_STDIN,
	FRAME_STDIN_EOF,
	FRAME_STDOUT,
	FRAME_STDERR,
	FRAME_CREDIT, /* both: so many more bytes may be sent on this stream */
	FRAME_SIGNAL, /* host: a signal's number */
	FRAME_WINSIZE,
	FRAME_CLOSE, /* host: the stream is not wanted any more */
	FRAME_EXIT,  /* guest: how the command ended; the stream's last frame */
	FRAME_ERROR, /* guest: why there is no command; the stream's last frame */

	FRAME_IDENTITY,	  /* host: how the machine came to be, the code of its ports, its name */
	FRAME_CREDENTIAL, /* host: a name, a NUL, what it is; before an IDENTITY with AGENT_FIRST */

	FRAME_TYPES,
};

/* FRAME_EXEC's flags. */
enum {
	EXEC_TTY = 1 << 0,
	EXEC_BUILTIN = 1 << 1, /* the words name one of the agent's own programs */
	EXEC_FLAGS = EXEC_TTY | EXEC_BUILTIN,
};

/* FRAME_EXIT: how, and the number that goes with it. */
enum exit_how {
	EXIT_EXITED,	    /* status */
	EXIT_SIGNALLED,	    /* signal */
	EXIT_OUT_OF_MEMORY, /* killed by the kernel for want of memory; signal */
};

/* FRAME_ERROR's numbers; text follows. */
enum agent_error {
	AGENT_ERROR_REQUEST = 1, /* the request is wrong or too large */
	AGENT_ERROR_LIMIT,	 /* too many streams, or out of memory or processes */
	AGENT_ERROR_USER,	 /* no such user */
	AGENT_ERROR_NOT_FOUND,	 /* no such command */
	AGENT_ERROR_CANNOT_RUN,	 /* there, but it cannot be run */
	AGENT_ERROR_GONE,	 /* host's own: the session ended */
};

struct frame {
	enum frame_type type;
	uint32_t session;
	uint32_t stream;
	uint16_t len;
	const uint8_t *payload; /* in the decoder's memory: good until its next call */
};

/* Writes @f's header and its payload (of f->len, at most FRAME_PAYLOAD_MAX) to @out; returns the length. */
size_t frame_put(uint8_t *out, const struct frame *f);
/* Only the header, for a payload that is there already. */
void frame_put_header(uint8_t out[FRAME_HEADER_BYTES], const struct frame *f);

/*
 * Zeroed memory is a fresh decoder. In hunting mode it lets everything pass that is not a frame with type,
 * session and stream of want[0] or want[1]: how a reader finds the beginning of a session.
 */
struct frame_decoder {
	bool hunting;
	uint8_t want[2][FRAME_HEADER_BYTES];
	size_t have;
	uint8_t buf[FRAME_MAX];
};

/*
 * Reads from (*p, *len), which it moves on. -> 1: *f is a frame; 0: all was taken and more is needed; -1: this is
 * not a frame (wrong mark, type or length): the stream cannot be read on, but by hunting.
 */
int frame_get(struct frame_decoder *d, const uint8_t **p, size_t *len, struct frame *f);
/* Forgets a half frame; hunts from now on for these, of any length (the second may be NULL). */
void frame_hunt(struct frame_decoder *d, const struct frame *want, const struct frame *or_this);

/* What a frame of data takes from the credit: with its header, so that credit bounds memory for frames of any size. */
static inline uint32_t frame_cost(const struct frame *f)
{
	return (uint32_t)FRAME_HEADER_BYTES + f->len;
}

/* Numbers in payloads; little-endian. A get beyond the end gives 0. */
void frame_set_u32(uint8_t *p, uint32_t v);
uint32_t frame_u32(const struct frame *f, size_t off);

#endif
