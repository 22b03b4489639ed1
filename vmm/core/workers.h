/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few threads for what would block the loop: buffered files, fsync, fallocate, compression.
 * Threads start with the first jobs that need them. A job is memory of the caller's until done().
 */
#ifndef CORE_WORKERS_H
#define CORE_WORKERS_H

#include <stdbool.h>

#include "vmm/base/list.h"

struct loop;
struct workers;

struct work {
	void (*run)(struct work *w);  /* on a worker thread */
	void (*done)(struct work *w); /* after it, on the loop's thread; may free the job */
	struct list link;
};

/* At most @max_threads threads, >= 1. -> 0 or -ENOMEM. */
int workers_create(struct loop *l, unsigned int max_threads, struct workers **out);
/* Joins the threads; no job is under way. NULL is fine. */
void workers_destroy(struct workers *ws);
/* For tools: more threads than the machine uses. Loop thread. */
void workers_set_max(struct workers *ws, unsigned int max_threads);

/* Queues a job. Loop thread. If no thread can be started at all it runs here, late rather than never. */
void workers_submit(struct workers *ws, struct work *w);

#endif
