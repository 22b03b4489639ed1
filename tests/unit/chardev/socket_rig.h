/* SPDX-License-Identifier: Apache-2.0 */
/* A stream on a listening unix socket, and what its clients do. */
#ifndef TESTS_UNIT_CHARDEV_SOCKET_RIG_H
#define TESTS_UNIT_CHARDEV_SOCKET_RIG_H

#include "tests/unit/chardev/fake_port.h"

extern struct loop *loop;
extern struct chardev *stream;
extern struct fake_port port;
extern char dir[64], path[96]; /* of the test, and of the socket in it */

/* @open makes the stream, as socket_open() does. */
void rig_setup(int (*open)(struct loop *l, const char *at, struct chardev **out));
/* The socket's file leaves with the stream. */
void rig_teardown(void);
/* -> a connection to it, which the loop has not seen yet. */
int rig_connect(void);
/* The guest says @text, all of it taken. */
void put(const char *text);
/* @fd gets @want. */
void check_gives(int fd, const char *want);

#endif
