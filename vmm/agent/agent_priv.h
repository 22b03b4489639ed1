/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the host's end, for its own files: agent.c (session with the guest), agent_conn.c (clients). */
#ifndef VMM_AGENT_PRIV_H
#define VMM_AGENT_PRIV_H

#include "devices/chardev/chardev.h"
#include "devices/chardev/ring.h"
#include "guest-kit/agent/frame.h"
#include "vmm/agent/agent.h"
#include "vmm/base/list.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

enum {
	AGENT_TO_GUEST_BYTES = 128 * 1024,
	/* What its client gave credit for, and the small frames that need none. */
	AGENT_CONN_OUT_BYTES = 2 * AGENT_WINDOW_BYTES,
	AGENT_CONN_IN_BYTES = 16 * 1024,
};

struct agent {
	struct chardev base;
	struct loop *loop;
	struct log_limit limit;
	struct loop_task pump; /* under the port's lock, as everything here */

	bool up;	     /* between WELCOME and the session's end */
	uint32_t hello_left; /* bytes of to_guest up to the end of our HELLO */
	uint32_t session;    /* of the last HELLO */
	uint8_t nonce[FRAME_NONCE_BYTES];
	uint32_t last_stream;
	struct frame_decoder decoder;
	struct ring to_guest;
	uint8_t *to_guest_buf;
	uint8_t welcome[64]; /* the payload, for clients */
	uint16_t welcome_len;

	/* What the guest is told of the machine. */
	enum agent_event event; /* that it has not been told of yet */
	unsigned int code;
	char name[AGENT_NAME_MAX + 1];
	const struct agent_credential *credentials;
	unsigned int ncredentials;

	struct list conns;
	unsigned int nconns;
};

/* A client's connection. */
struct agent_conn {
	struct agent *agent;
	struct list link;
	struct loop_fd src;
	struct frame_decoder decoder;
	uint32_t stream; /* the command under way, or 0 */
	uint32_t credit; /* how much more the guest may send on it */
	size_t pos;	 /* [pos, len) of in was read and has no room in to_guest yet */
	size_t len;
	uint8_t in[AGENT_CONN_IN_BYTES];
	struct ring out;
	uint8_t *out_buf;
};

/* agent.c */

/* Queues a frame for the guest; false: there is no room. */
bool agent_to_guest(struct agent *a, enum frame_type type, uint32_t stream, const void *payload,
		    uint16_t len);
/* Room for the longest frame. */
bool agent_has_room(const struct agent *a);

/* agent_conn.c */

/* The port's lock has changed. */
void agent_conn_set_lock(struct agent_conn *c, pthread_mutex_t *lock);
/* A session is there: tells the client, and reads what it has to say. May free it. */
void agent_conn_session_began(struct agent_conn *c);
/* The session ended, and with it what the client had under way. May free it. */
void agent_conn_session_ended(struct agent_conn *c);
/* A frame of the guest's for its stream. May free it. */
void agent_conn_frame(struct agent_conn *c, const struct frame *f);
/* There is room in to_guest. May free it. */
void agent_conn_resume(struct agent_conn *c);
void agent_conn_destroy(struct agent_conn *c);

#endif
