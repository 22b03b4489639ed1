/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells which TCP ports of the lab's loopback are listened on, as it changes.
 * Nothing polls: a tracepoint of the kernel says when to look.
 */
#ifndef LAB_WATCH_H
#define LAB_WATCH_H

#include "lab_wire.h"

struct lab_watch;

/* Changes go to ctl as LAB_MSG_LISTEN and _UNLISTEN. Returns NULL where it
 * cannot be done. */
struct lab_watch *lab_watch_new(int ctl);

/* Readable when the set may have changed; -1 for a watch that is NULL. */
int lab_watch_fd(const struct lab_watch *w);

/* To be called when that is readable. */
void lab_watch_event(struct lab_watch *w);

/* The moment (CLOCK_MONOTONIC) of the next look, INT64_MAX for none. */
int64_t lab_watch_next_ms(const struct lab_watch *w);

/* Looks, if it is time to. */
void lab_watch_due(struct lab_watch *w, int64_t now_ms);

#endif
