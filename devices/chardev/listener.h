/* SPDX-License-Identifier: Apache-2.0 */
/* A listening unix socket for the streams that have clients: on the loop for good, with the port's lock (chardev.h). */
#ifndef CHARDEV_LISTENER_H
#define CHARDEV_LISTENER_H

#include <pthread.h>
#include <sys/un.h>

#include "vmm/core/loop.h"

struct listener {
	struct loop *loop;
	void (*accepted)(void *opaque, int fd); /* a client, the callee's own */
	void *opaque;

	struct loop_fd src;
	struct loop_timer again; /* after the process ran out of descriptors */
	struct sockaddr_un addr;
};

/*
 * Zeroed memory; fill in loop, accepted, opaque first. Listens at @path, for the owner only (mode 0600). A socket that a
 * dead process left there is replaced; anything else that is there is an error. -> 0, or -errno with one line logged.
 */
int listener_open(struct listener *l, const char *path);
/* Whose lock is taken around accepted() from now on; NULL: none. */
void listener_set_lock(struct listener *l, pthread_mutex_t *lock);
/* Of one that opened: closes, and removes the socket's file. */
void listener_close(struct listener *l);

#endif
