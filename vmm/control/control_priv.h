/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the control socket: control.c, control_conn.c, control_call.c. */
#ifndef VMM_CONTROL_PRIV_H
#define VMM_CONTROL_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/list.h"
#include "vmm/control/control.h"
#include "vmm/core/loop.h"

struct control {
	struct control_config cfg;
	struct loop *loop;
	struct loop_fd listener;
	struct loop_timer listen_again; /* after the process ran out of descriptors */
	struct list conns; /* of struct control_conn; the one that was heard last at the end */
	unsigned int nconns;
};

struct control_conn {
	struct control *control;
	struct list link;
	struct loop_fd src;	   /* fd -1: handed over or broken; freed by the task */
	struct loop_task task;	   /* pump() */
	struct control_call *call; /* under way, or NULL */
	bool ended;		   /* the client sends no more; it may still read */
	/* What came and was not looked at yet. */
	char *in;
	size_t in_len;
	/* What the client has not read yet: out[out_off..out_len). */
	char *out;
	size_t out_off, out_len, out_size;
};

struct control_call {
	const struct control *control; /* NULL: destroyed */
	struct control_conn *conn;     /* NULL: the client has gone */
	json_t *id;		       /* as the client wrote it; NULL: it did not */
	void (*gone)(void *opaque);
	void *gone_opaque;
};

/* control_conn.c */
/* Takes over the connected socket @fd. -> 0 or -errno, and then @fd is still the caller's. */
int control_conn_create(struct control *c, int fd);
/* Hangs up, tells a call under way, frees. Not from within a verb. */
void control_conn_destroy(struct control_conn *conn);
/* Queues @line and a newline, taken over (free). */
void control_conn_send(struct control_conn *conn, const json_t *line);
/* Bytes that the client has not read. */
size_t control_conn_unread(const struct control_conn *conn);
/* Gives the descriptor away, all that was queued being sent. -> it, or -EPIPE. */
int control_conn_take(struct control_conn *conn);

/* control_call.c */
/* Looks at one request, a line without its newline: finds the verb and calls it, or answers with an error. */
void control_dispatch(struct control_conn *conn, const char *line, size_t len);
/* The client of @call has gone. */
void control_call_gone(struct control_call *call);

#endif
