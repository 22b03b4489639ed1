/* SPDX-License-Identifier: Apache-2.0 */
/* The worker pool. */
/*
 * How it works. One lock guards both lists; a thread takes the first job, runs it without the lock
 * and posts the loop's task when it puts it on the list of finished ones. A thread is started when
 * more jobs wait than threads are idle, up to `max`. Worker threads block every signal: the
 * process takes its signals in its loop.
 */
#include "vmm/core/workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "vmm/core/loop.h"

enum { WORKERS_MAX = 64 };

struct workers {
	struct loop *loop;
	struct loop_task task;
	unsigned int max;

	pthread_mutex_t lock;
	pthread_cond_t more;
	struct list queued;
	struct list finished;
	unsigned int n_queued;
	unsigned int idle;
	bool stop;

	/* The loop's thread only. */
	pthread_t threads[WORKERS_MAX];
	unsigned int n_threads;
};

static void *worker_main(void *opaque)
{
	struct workers *ws = opaque;
	pthread_mutex_lock(&ws->lock);
	for (;;) {
		while (list_empty(&ws->queued) && !ws->stop) {
			ws->idle++;
			pthread_cond_wait(&ws->more, &ws->lock);
			ws->idle--;
		}
		if (list_empty(&ws->queued))
			break;
		struct work *w = list_first(&ws->queued, struct work, link);
		list_del(&w->link);
		ws->n_queued--;
		pthread_mutex_unlock(&ws->lock);
		w->run(w);
		pthread_mutex_lock(&ws->lock);
		list_add_tail(&ws->finished, &w->link);
		loop_task_post(ws->loop, &ws->task);
	}
	pthread_mutex_unlock(&ws->lock);
	return NULL;
}

static void serve_finished(void *opaque)
{
	struct workers *ws = opaque;
	struct list done;
	list_init(&done);
	pthread_mutex_lock(&ws->lock);
	list_splice_tail(&done, &ws->finished);
	pthread_mutex_unlock(&ws->lock);
	while (!list_empty(&done)) {
		struct work *w = list_first(&done, struct work, link);
		list_del(&w->link);
		w->done(w);
	}
}

static int start_thread(struct workers *ws)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&ws->threads[ws->n_threads], NULL, worker_main, ws);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!err)
		ws->n_threads++;
	return -err;
}

void workers_submit(struct workers *ws, struct work *w)
{
	pthread_mutex_lock(&ws->lock);
	list_add_tail(&ws->queued, &w->link);
	ws->n_queued++;
	bool start = ws->n_queued > ws->idle && ws->n_threads < ws->max;
	pthread_cond_signal(&ws->more);
	pthread_mutex_unlock(&ws->lock);
	if (!start || !start_thread(ws) || ws->n_threads)
		return;
	pthread_mutex_lock(&ws->lock);
	list_del(&w->link);
	ws->n_queued--;
	pthread_mutex_unlock(&ws->lock);
	w->run(w);
	pthread_mutex_lock(&ws->lock);
	list_add_tail(&ws->finished, &w->link);
	pthread_mutex_unlock(&ws->lock);
	loop_task_post(ws->loop, &ws->task);
}

void workers_set_max(struct workers *ws, unsigned int max_threads)
{
	assert(max_threads >= 1);
	ws->max = max_threads < WORKERS_MAX ? max_threads : WORKERS_MAX;
}

int workers_create(struct loop *l, unsigned int max_threads, struct workers **out)
{
	struct workers *ws = calloc(1, sizeof(*ws));
	if (!ws)
		return -ENOMEM;
	ws->loop = l;
	ws->task = (struct loop_task){ .fn = serve_finished, .opaque = ws };
	pthread_mutex_init(&ws->lock, NULL);
	pthread_cond_init(&ws->more, NULL);
	list_init(&ws->queued);
	list_init(&ws->finished);
	workers_set_max(ws, max_threads);
	*out = ws;
	return 0;
}

void workers_destroy(struct workers *ws)
{
	if (!ws)
		return;
	pthread_mutex_lock(&ws->lock);
	assert(list_empty(&ws->queued) && list_empty(&ws->finished));
	ws->stop = true;
	pthread_cond_broadcast(&ws->more);
	pthread_mutex_unlock(&ws->lock);
	for (unsigned int i = 0; i < ws->n_threads; i++)
		pthread_join(ws->threads[i], NULL);
	loop_task_cancel(ws->loop, &ws->task);
	pthread_cond_destroy(&ws->more);
	pthread_mutex_destroy(&ws->lock);
	free(ws);
}
