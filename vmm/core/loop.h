/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: file descriptors (epoll), timers, tasks and hooks on one thread.
 *
 * A turn is: hooks (before sleep) -> sleep -> file descriptors -> timers -> tasks, and tasks
 * again until none is left. Tasks that the hooks post are served, and the hooks called again, before
 * the sleep. A source may carry a lock, which the loop takes around its callback:
 * that is how the code of a device runs single-threaded beside the bus (devices/device.h).
 *
 * All sources are memory of the caller's; the loop keeps pointers to them until they are removed.
 * A source may remove itself or any other one from a callback: an event that was already
 * collected for a removed source is dropped. Unless it says otherwise, a function is for the
 * loop's own thread, or for any thread while the loop does not run.
 */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/list.h"

struct loop;

/* -> 0, -ENOMEM, or the error of epoll_create1(2), eventfd(2). */
int loop_create(struct loop **out);

/* Every source has been removed before. NULL is fine. */
void loop_destroy(struct loop *l);

/* Runs turns until loop_stop(). -> 0, or -errno of epoll_wait(2) (a broken loop). Not nested. */
int loop_run(struct loop *l);

/* Runs turns until *@done is true: for start-up and for tools, when no loop_run() is under way. */
int loop_run_until(struct loop *l, const bool *done);

/* Ends loop_run() after the present turn. Any thread. */
void loop_stop(struct loop *l);

/* True in loop_run() or loop_run_until(). */
bool loop_running(const struct loop *l);

/* ---- file descriptors ---- */

struct loop_fd {
	int fd;		       /* not owned */
	uint32_t events;       /* EPOLLIN, EPOLLOUT, EPOLLET, ... */
	pthread_mutex_t *lock; /* or NULL: taken around fn */
	void (*fn)(void *opaque, uint32_t events);
	void *opaque;
	bool added;
	struct list link;
};

/* Fill in fd, events, lock, fn, opaque first. -> 0 or the error of epoll_ctl(2). */
int loop_fd_add(struct loop *l, struct loop_fd *src);
/* Other events for a source that is on the loop; nothing to do costs no system call. */
int loop_fd_modify(struct loop *l, struct loop_fd *src, uint32_t events);
/* Fine on one that is not on the loop. Call before closing the descriptor. */
void loop_fd_remove(struct loop *l, struct loop_fd *src);

/* ---- timers ---- */

struct loop_timer {
	uint64_t deadline_ns;  /* CLOCK_MONOTONIC */
	pthread_mutex_t *lock; /* or NULL */
	void (*fn)(void *opaque);
	void *opaque;
	bool armed;
	struct list link;
};

/* Once, at @deadline_ns; an armed timer is moved. Fill in lock, fn, opaque first. Any thread. */
void loop_timer_arm(struct loop *l, struct loop_timer *t, uint64_t deadline_ns);
/* Fine on one that is not armed. Any thread, but fn may be under way when it is another one. */
void loop_timer_disarm(struct loop *l, struct loop_timer *t);

/* ---- tasks ---- */

struct loop_task {
	pthread_mutex_t *lock; /* or NULL */
	void (*fn)(void *opaque);
	void *opaque;
	bool queued;
	struct list link;
};

/* Runs fn once, later in this turn or in the next; one already queued stays queued. Any thread. */
void loop_task_post(struct loop *l, struct loop_task *t);
/* Takes a queued one back. Loop thread. */
void loop_task_cancel(struct loop *l, struct loop_task *t);

/* ---- hooks ---- */

/* Called before each sleep, in order of adding: gather what the turn has collected into one call. */
struct loop_hook {
	void (*before_sleep)(void *opaque);
	void *opaque;
	struct list link;
};

void loop_hook_add(struct loop *l, struct loop_hook *h);
void loop_hook_remove(struct loop *l, struct loop_hook *h);

/* ---- slots ---- */

/* What a layer keeps once for each loop, so that nothing need be global. */
enum loop_slot { LOOP_SLOT_BLOCK, LOOP_SLOTS };

/* The place; NULL in it at first. The layer counts its users and clears it after the last one. */
void **loop_slot(struct loop *l, enum loop_slot slot);

#endif
