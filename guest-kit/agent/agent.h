/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the agent, for its own files: agent.c (port, poll loop), session.c (frames), stream.c (commands). */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest-kit/agent/frame.h"
#include "guest-kit/agent/request.h"

enum {
	OUT_BYTES = 256 * 1024,
	/* What data leaves free for the frames that must always fit: answers, credits, ends. */
	OUT_RESERVE = 64 * 1024,
	OUT_ANSWER = 1024, /* the longest of those, with room to spare */
	READ_BYTES = 16 * 1024,
};

/* Programs that are run when the guest has become another machine; hooks.c. */
#define AGENT_HOOKS_DIR "/etc/charmvm/hooks.d"
/* What they find of the host's in CREDENTIALS_DIRECTORY, until they have ended. */
#define AGENT_CREDENTIALS_DIR "/run/charmvm-credentials"

enum stream_state { STREAM_FREE, STREAM_REQUEST, STREAM_RUNNING, STREAM_ENDED };

/* One command. */
struct stream {
	enum stream_state state;
	uint32_t id;
	struct request request;
	struct command cmd;
	int wait_status; /* with STREAM_ENDED */
	uint64_t oom_before;

	uint32_t out_credit; /* how much more the host takes */

	uint8_t *in; /* AGENT_WINDOW_BYTES; [in_pos, in_len) waits for the command */
	size_t in_pos;
	size_t in_len;
	bool in_eof;	    /* the host's standard input has ended */
	uint32_t in_credit; /* how much more the host may send */
	uint32_t in_eaten;  /* taken by the command since the last credit */
};

struct agent {
	int port;     /* -1: not open */
	int children; /* signalfd: SIGCHLD */
	bool up;
	bool came_through; /* there was a session before: not the guest has started, the machine is another one */
	uint32_t session;
	struct frame_decoder decoder;

	uint8_t *out; /* OUT_BYTES; [out_pos, out_len) waits for the port */
	size_t out_pos;
	size_t out_len;

	struct stream streams[AGENT_STREAMS_MAX];
};

/* session.c */

/* Queues a frame of this session's. The caller has seen to the room (agent_room()). */
void agent_send(struct agent *a, enum frame_type type, uint32_t stream, const void *payload,
		size_t len);
size_t agent_room(const struct agent *a);
/* A new agent on an open port: says so. */
void session_announce(struct agent *a);
/* Bytes of the host's. */
void session_input(struct agent *a, const uint8_t *p, size_t len);
/* The port is gone, or the host's end of it. */
void session_end(struct agent *a);

/* hooks.c */

/* By an identity frame's word for what has happened; does not wait for them. */
void hooks_run(const struct frame *f);

/* credentials.c */

/* Keeps one for the hooks; what is none is left out. */
void credentials_take(const struct frame *f);
/* Forgets all of them. */
void credentials_forget(void);

/* stream.c */

struct stream *stream_find(struct agent *a, uint32_t id);
void stream_open(struct agent *a, const struct frame *f);
/* A frame of a stream that is there. */
void stream_frame(struct agent *a, struct stream *s, const struct frame *f);
/* Lets go of it; what still runs gets SIGHUP. */
void stream_drop(struct stream *s);
/* One of our children has ended. */
void stream_child_ended(struct agent *a, pid_t pid, int wait_status);
/* What can be moved now, moved. */
void stream_pump(struct agent *a, struct stream *s);
/* Adds what it waits for to @fds; returns how many (at most 3). */
unsigned int stream_poll(const struct agent *a, const struct stream *s, struct pollfd *fds);

#endif
