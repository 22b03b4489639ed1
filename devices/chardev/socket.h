/* SPDX-License-Identifier: Apache-2.0 */
/* A stream on a listening unix socket: one client at a time, as a channel needs it. */
#ifndef CHARDEV_SOCKET_H
#define CHARDEV_SOCKET_H

struct chardev;
struct loop;

/*
 * Listens at @path, for the owner only (mode 0600). A socket that a dead process left there is
 * replaced; anything else that is there is an error. What the guest says while nobody is connected
 * is kept (its last 64 KiB) and sent to the next client. -> 0, or -errno with one line logged.
 */
int socket_open(struct loop *loop, const char *path, struct chardev **out);

#endif
