/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections through one virtio port: the host listens where a program in
 * the lab listens, and every connection made there is made once more in the lab
 * and tied to it.
 *
 * Used by both ends; only the host calls lab_net_listen(). Single-threaded.
 */
#ifndef LAB_NET_H
#define LAB_NET_H

#include "lab_wire.h"

struct lab_net;

/* Takes over the descriptor of the port (non-blocking). Returns NULL when out
 * of memory. */
struct lab_net *lab_net_new(int port);

/* Becomes readable whenever lab_net_turn() has something to do. Owned by the
 * object. */
int lab_net_fd(const struct lab_net *net);

void lab_net_turn(struct lab_net *net);

/* Listens at the same address and port. Returns 0 or -errno (-EADDRINUSE: taken
 * by another). */
int lab_net_listen(struct lab_net *net, const struct lab_listen *at);

/* Ceases to; connections that are open stay. Unknown ones are ignored. */
void lab_net_unlisten(struct lab_net *net, const struct lab_listen *at);

#endif
