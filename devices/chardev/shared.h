/* SPDX-License-Identifier: Apache-2.0 */
/* A console on a listening unix socket: several see it, one writes. */
#ifndef CHARDEV_SHARED_H
#define CHARDEV_SHARED_H

struct chardev;
struct loop;

enum {
	SHARED_CLIENTS_MAX = 16,
	SHARED_HISTORY_BYTES = 64 * 1024, /* that a client gets first */
	SHARED_QUEUE_BYTES =
		128 * 1024,	/* that one may be behind, its socket's buffers not counted */
	SHARED_STALL_MS = 2000, /* that the guest waits for a writer that reads nothing */
};

/* Listens at @path as listener_open() does. More can come by chardev_join(). -> 0, or -errno with one line logged. */
int shared_open(struct loop *loop, const char *path, struct chardev **out);

#endif
