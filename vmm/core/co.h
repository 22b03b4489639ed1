/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stackful coroutines: code that must wait for many things in a row, written straight down.
 *
 * A scheduler belongs to one loop and its thread. A coroutine runs until it yields or ends; it is
 * resumed from the loop, never from inside another coroutine, so stacks never nest. Whoever
 * completes what a coroutine waits for calls co_wake(); from the loop that runs it at once, from a
 * coroutine it is put on a list that the loop serves in the same turn.
 */
#ifndef CORE_CO_H
#define CORE_CO_H

#include <stdbool.h>

#include "vmm/base/list.h"

struct co;
struct co_sched;
struct loop;

/* -> 0 or -ENOMEM. */
int co_sched_create(struct loop *l, struct co_sched **out);
/* No coroutine is alive. NULL is fine. */
void co_sched_destroy(struct co_sched *s);

/*
 * Starts @fn(@arg): from the loop it runs before co_spawn() returns, until it yields; from a coroutine
 * it is queued. -> 0 or -ENOMEM (no stack), when @fn was not called.
 */
int co_spawn(struct co_sched *s, void (*fn)(void *arg), void *arg);

/* The coroutine that runs now, or NULL in the loop. */
struct co *co_self(const struct co_sched *s);

/* Gives the thread back until co_wake(). In a coroutine only. */
void co_yield (struct co_sched *s);
/* @c has yielded; it is woken once for each yield. */
void co_wake(struct co *c);

/* ---- waiting for one another ---- */

/* Coroutines that wait for a condition, first come, first served. */
struct co_queue {
	struct list waiting;
};

void co_queue_init(struct co_queue *q);
/* Yields until a wake; test the condition again after it. */
void co_queue_wait(struct co_sched *s, struct co_queue *q);
void co_queue_wake_all(struct co_queue *q);
bool co_queue_empty(const struct co_queue *q);

/* A lock between coroutines of one scheduler; handed to the longest waiter. */
struct co_mutex {
	bool locked;
	struct co_queue queue;
};

void co_mutex_init(struct co_mutex *m);
void co_mutex_lock(struct co_sched *s, struct co_mutex *m);
void co_mutex_unlock(struct co_mutex *m);

#endif
