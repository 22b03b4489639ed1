/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a machine, for whoever listens. An event has a word, in charmvm-protocol(7)'s list, and often says of what:
 * a snapshot's name, for instance. Nothing is remembered: who comes late hears what comes later. Loop thread.
 */
#ifndef VMM_MACHINE_EVENT_H
#define VMM_MACHINE_EVENT_H

#include "vmm/base/list.h"

struct machine;

struct machine_listener {
	struct list link;
	/* @event and @of (NULL: of nothing) are valid during the call, which may not listen or unlisten. */
	void (*hear)(void *opaque, const char *event, const char *of);
	void *opaque;
};

/* @l is the caller's, and lives until it no longer listens, which is before the machine goes. */
void machine_listen(struct machine *m, struct machine_listener *l);
void machine_unlisten(struct machine_listener *l);

/* For who makes it happen. */
void machine_tell(struct machine *m, const char *event, const char *of);

#endif
