/* SPDX-License-Identifier: Apache-2.0 */
/* libslirp's sockets and timers on our loop. Internal to slirp.c and doorway.c. */
#ifndef NET_SLIRP_POLL_H
#define NET_SLIRP_POLL_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/net/doorway.h"
#include "devices/net/slirp_lib.h"
#include "vmm/core/loop.h"

struct net_backend;
struct slirp_fd;

struct slirp_poll {
	struct loop *loop;
	const struct net_backend *backend; /* whose lock the callbacks that deliver take */
	struct slirp_lib lib;
	Slirp *slirp; /* NULL: nothing to poll */
	struct loop_hook hook;
	struct loop_task task;
	struct loop_timer tick;
	struct loop_timer patience; /* ends hold_accept */
	struct doorways doors;
	struct slirp_fd **fds; /* by descriptor */
	unsigned int fds_cap;
	unsigned int n_flows; /* sockets of flows, at the last fill and opened since */
	unsigned int max_flows;
	uint64_t now_ns;	  /* the time, asked for once a turn */
	uint64_t active_until_ns; /* till then libslirp's slow timers run */
	bool now_stale;
	bool dirty;	  /* libslirp ran: what it wants polled may be other than before */
	bool hold_input;  /* the guest takes no frames: nothing is read for it */
	bool accepting;	  /* listeners are watched */
	bool hold_accept; /* the guest has no address yet: clients wait in the backlog */
};

void slirp_poll_init(struct slirp_poll *p, struct loop *loop, const struct net_backend *backend);
void slirp_poll_fini(struct slirp_poll *p);

/* A new libslirp, or NULL: none. No clients are let in until hold_accept is cleared, or for some seconds. */
void slirp_poll_start(struct slirp_poll *p, Slirp *slirp);

/* There are as many flows as there may be: no new ones. */
bool slirp_poll_full(const struct slirp_poll *p);

/* libslirp has run, or hold_input or hold_accept changed: look at what it wants before the next
 * sleep. */
void slirp_poll_touch(struct slirp_poll *p);

/* CLOCK_MONOTONIC of this turn of the loop. */
uint64_t slirp_poll_now_ns(struct slirp_poll *p);

/* A socket of libslirp's that it is about to use, or to close. */
void slirp_poll_opened(struct slirp_poll *p, int fd);
void slirp_poll_closed(struct slirp_poll *p, int fd);

/* libslirp is about to make a listener: what it has now is another one. */
void slirp_poll_before_listener(struct slirp_poll *p);
/*
 * Puts @fd in the place of the socket that libslirp has just begun to listen on: it keeps the
 * number, which is all that libslirp knows. @fd stays the caller's. -> 0 or -errno.
 */
int slirp_poll_adopt_listener(struct slirp_poll *p, int fd);

#endif
