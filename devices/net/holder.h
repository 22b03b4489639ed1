/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds a port of this host. */
#ifndef NET_HOLDER_H
#define NET_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HOLDER_STR = 96 };

/*
 * Writes who has @port bound: "nessusd (pid 812)", "this machine itself", "a process of user
 * www-data", or "another process" where the kernel does not tell. For error messages: reads all of
 * /proc. -> @buf.
 */
const char *holder_of_port(bool udp, uint16_t port, char buf[HOLDER_STR]);

#endif
