/* SPDX-License-Identifier: Apache-2.0 */
/* How a client of an IPv6 address reaches a guest's IPv4 port. Internal to slirp.c. */
#ifndef NET_DOORWAY_H
#define NET_DOORWAY_H

#include <netinet/in.h>
#include <stdbool.h>

#include "vmm/base/list.h"

struct forward;
struct loop;

struct doorways {
	struct loop *loop;
	struct list doors;   /* of struct door */
	struct list waiting; /* of struct door_client: accepted here, not yet by libslirp */
	struct list inside;  /* of struct door_client: libslirp has them */
	unsigned int n_waiting;
	bool open; /* doors are watched */
};

void doorways_init(struct doorways *d, struct loop *loop);
void doorways_fini(struct doorways *d);

/*
 * Clients of @f, TCP on IPv6, go to libslirp by its listener at @to. @own: that listener is there
 * for knocks only, and serves nobody who comes to it directly. -> 0 or -ENOMEM. @f outlives the
 * doorways.
 */
int doorways_add(struct doorways *d, const struct forward *f, const struct sockaddr_in *to,
		 bool own);

/* Takes all doors away, so that their forwards may be closed. Who is inside stays; who waits is sent away. */
void doorways_clear(struct doorways *d);

/* Whether clients are let in now. Those kept out wait in the backlog. Costs nothing if it is so. */
void doorways_set_open(struct doorways *d, bool open);

/* libslirp has accepted or opened @fd, and has not used it yet. / It is about to close it. */
void doorways_opened(struct doorways *d, int fd);
void doorways_closed(struct doorways *d, int fd);

#endif
