/* SPDX-License-Identifier: Apache-2.0 */
/* Where clients of the forwards come in. Internal to slirp.c. */
#ifndef NET_SLIRP_ENTRANCES_H
#define NET_SLIRP_ENTRANCES_H

#include <stdbool.h>

#include "vmm/base/list.h"

struct forward_list;
struct slirp_poll;

struct slirp_entrances {
	struct list listeners; /* what libslirp listens on */
	struct list relays;    /* of datagrams that it is not given directly */
	bool any_udp;
};

void slirp_entrances_init(struct slirp_entrances *e);
/* After the poll, whose doorways lead here, and when libslirp has gone. */
void slirp_entrances_fini(struct slirp_entrances *e);

/* An entrance for each of @forwards, which outlive it or slirp_entrances_clear(); when there are none. -> 0 or -errno. */
int slirp_entrances_add(struct slirp_entrances *e, struct slirp_poll *p,
			const struct forward_list *forwards);

/* Has the new p->slirp listen at all of them. -> 0 or -errno. */
int slirp_entrances_serve(const struct slirp_entrances *e, struct slirp_poll *p);

/* Takes all entrances away, from p->slirp too. Connections stay. */
void slirp_entrances_clear(struct slirp_entrances *e, struct slirp_poll *p);

#endif
