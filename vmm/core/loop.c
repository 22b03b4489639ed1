/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop. */
/*
 * How it works. One epoll instance, one eventfd to wake it (edge-triggered: it is never read), a list of
 * timers in order of their deadlines and a list of tasks. `lock` guards what other threads may touch:
 * timers, tasks, `sleeping`, `stop`. A poster wakes the loop only when it sleeps or is about to
 * (`sleeping` is set under the lock, after the task list was seen empty), so posting to a busy loop
 * costs no system call.
 */
#include "vmm/core/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/clock.h"

enum { LOOP_BATCH = 32, LOOP_ROUNDS = 16 };

struct loop {
	int epoll_fd;
	int wake_fd;
	struct list fds;
	struct list hooks;
	bool running;
	bool no_pwait2; /* learnt: there is no epoll_pwait2(2) */
	void *slots[LOOP_SLOTS];

	/* The events of this turn that have not been served. */
	struct epoll_event batch[LOOP_BATCH];
	int batch_len;

	pthread_mutex_t lock;
	struct list timers; /* ascending deadlines */
	struct list tasks;
	bool sleeping;
	bool stop;
};

int loop_create(struct loop **out)
{
	struct loop *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	int err;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		err = -errno;
		goto out_free;
	}
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake_fd < 0) {
		err = -errno;
		goto out_close_epoll;
	}
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->wake_fd, &ev) < 0) {
		err = -errno;
		goto out_close_wake;
	}
	list_init(&l->fds);
	list_init(&l->hooks);
	list_init(&l->timers);
	list_init(&l->tasks);
	pthread_mutex_init(&l->lock, NULL);
	*out = l;
	return 0;
out_close_wake:
	close(l->wake_fd);
out_close_epoll:
	close(l->epoll_fd);
out_free:
	free(l);
	return err;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	assert(!l->running);
	pthread_mutex_destroy(&l->lock);
	close(l->wake_fd);
	close(l->epoll_fd);
	free(l);
}

bool loop_running(const struct loop *l)
{
	return l->running;
}

/* The lock is held on entry and released here. */
static void unlock_and_wake(struct loop *l)
{
	bool wake = l->sleeping;
	pthread_mutex_unlock(&l->lock);
	uint64_t one = 1;
	if (wake && write(l->wake_fd, &one, sizeof(one)) < 0) {
		/* EAGAIN: 2^64 - 1 wakes are waiting; the loop will wake. */
	}
}

void loop_stop(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	unlock_and_wake(l);
}

/* ---- file descriptors ---- */

int loop_fd_add(struct loop *l, struct loop_fd *src)
{
	assert(!src->added);
	struct epoll_event ev = { .events = src->events, .data.ptr = src };
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, src->fd, &ev) < 0)
		return -errno;
	src->added = true;
	list_add_tail(&l->fds, &src->link);
	return 0;
}

int loop_fd_modify(struct loop *l, struct loop_fd *src, uint32_t events)
{
	assert(src->added);
	if (src->events == events)
		return 0;
	struct epoll_event ev = { .events = events, .data.ptr = src };
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, src->fd, &ev) < 0)
		return -errno;
	src->events = events;
	return 0;
}

void loop_fd_remove(struct loop *l, struct loop_fd *src)
{
	if (!src->added)
		return;
	src->added = false;
	list_del(&src->link);
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, src->fd, NULL);
	for (int i = 0; i < l->batch_len; i++)
		if (l->batch[i].data.ptr == src)
			l->batch[i].data.ptr = NULL;
}

/* ---- timers and tasks ---- */

void loop_timer_arm(struct loop *l, struct loop_timer *t, uint64_t deadline_ns)
{
	pthread_mutex_lock(&l->lock);
	if (t->armed)
		list_del(&t->link);
	t->armed = true;
	t->deadline_ns = deadline_ns;
	struct list *pos;
	list_for_each (pos, &l->timers)
		if (list_entry(pos, struct loop_timer, link)->deadline_ns > deadline_ns)
			break;
	list_add_tail(pos, &t->link);
	if (l->timers.next == &t->link)
		unlock_and_wake(l);
	else
		pthread_mutex_unlock(&l->lock);
}

void loop_timer_disarm(struct loop *l, struct loop_timer *t)
{
	pthread_mutex_lock(&l->lock);
	if (t->armed)
		list_del(&t->link);
	t->armed = false;
	pthread_mutex_unlock(&l->lock);
}

void loop_task_post(struct loop *l, struct loop_task *t)
{
	pthread_mutex_lock(&l->lock);
	if (t->queued) {
		pthread_mutex_unlock(&l->lock);
		return;
	}
	t->queued = true;
	list_add_tail(&l->tasks, &t->link);
	unlock_and_wake(l);
}

void loop_task_cancel(struct loop *l, struct loop_task *t)
{
	pthread_mutex_lock(&l->lock);
	if (t->queued)
		list_del(&t->link);
	t->queued = false;
	pthread_mutex_unlock(&l->lock);
}

void loop_hook_add(struct loop *l, struct loop_hook *h)
{
	list_add_tail(&l->hooks, &h->link);
}

void loop_hook_remove(struct loop *l, struct loop_hook *h)
{
	(void)l;
	list_del(&h->link);
}

void **loop_slot(struct loop *l, enum loop_slot slot)
{
	return &l->slots[slot];
}

/* ---- a turn ---- */

static void call_locked(pthread_mutex_t *lock, void (*fn)(void *opaque), void *opaque)
{
	if (lock)
		pthread_mutex_lock(lock);
	fn(opaque);
	if (lock)
		pthread_mutex_unlock(lock);
}

static void run_hooks(struct loop *l)
{
	struct list *pos, *tmp;
	list_for_each_safe (pos, tmp, &l->hooks) {
		struct loop_hook *h = list_entry(pos, struct loop_hook, link);
		h->before_sleep(h->opaque);
	}
}

/* How long this sleep may be; sets `sleeping`. false: do not sleep at all. */
static bool sleep_time(struct loop *l, struct timespec *ts, bool *forever)
{
	pthread_mutex_lock(&l->lock);
	bool sleep = !l->stop && list_empty(&l->tasks);
	*forever = list_empty(&l->timers);
	if (!*forever) {
		uint64_t now = clock_now_ns();
		uint64_t deadline = list_first(&l->timers, struct loop_timer, link)->deadline_ns;
		uint64_t left = deadline > now ? deadline - now : 0;
		ts->tv_sec = (time_t)(left / NS_PER_S);
		ts->tv_nsec = (long)(left % NS_PER_S);
		sleep = sleep && left;
	}
	l->sleeping = sleep;
	pthread_mutex_unlock(&l->lock);
	if (!sleep)
		*ts = (struct timespec){ 0, 0 };
	return sleep;
}

/*
 * Fills in the batch; @ts NULL: for ever. The kernel floor has epoll_pwait2(2), but not every sandbox
 * (a container's filter, Valgrind) lets it through: there, with epoll_wait(2), timers are up to a
 * millisecond late.
 */
static int collect_events(struct loop *l, const struct timespec *ts)
{
	if (!l->no_pwait2) {
		int n = epoll_pwait2(l->epoll_fd, l->batch, LOOP_BATCH, ts, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n;
		l->no_pwait2 = true;
	}
	int ms = -1;
	if (ts)
		ms = ts->tv_sec < 1000000
			     ? (int)(ts->tv_sec * 1000 + (ts->tv_nsec + 999999) / 1000000)
			     : 1000000000;
	return epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, ms);
}

static int wait_for_events(struct loop *l)
{
	struct timespec ts = { 0, 0 };
	bool forever;
	bool sleep = sleep_time(l, &ts, &forever);
	int n = collect_events(l, sleep && forever ? NULL : &ts);
	int err = n < 0 && errno != EINTR ? -errno : 0;
	l->batch_len = n > 0 ? n : 0;
	pthread_mutex_lock(&l->lock);
	l->sleeping = false;
	pthread_mutex_unlock(&l->lock);
	return err;
}

static void serve_fds(struct loop *l)
{
	for (int i = 0; i < l->batch_len; i++) {
		struct loop_fd *src = l->batch[i].data.ptr;
		if (!src)
			continue; /* the wake-up, or removed since it was collected */
		/* The lock outlives the source's removal by its own callback. */
		pthread_mutex_t *lock = src->lock;
		if (lock)
			pthread_mutex_lock(lock);
		src->fn(src->opaque, l->batch[i].events);
		if (lock)
			pthread_mutex_unlock(lock);
	}
	l->batch_len = 0;
}

/* The first timer that is due, taken off the list; the time is asked for only if there is any. */
static struct loop_timer *next_due(struct loop *l)
{
	struct loop_timer *t = NULL;
	pthread_mutex_lock(&l->lock);
	if (!list_empty(&l->timers)) {
		t = list_first(&l->timers, struct loop_timer, link);
		if (t->deadline_ns > clock_now_ns()) {
			t = NULL;
		} else {
			list_del(&t->link);
			t->armed = false;
		}
	}
	pthread_mutex_unlock(&l->lock);
	return t;
}

static void serve_timers(struct loop *l)
{
	struct loop_timer *t;
	while ((t = next_due(l)))
		call_locked(t->lock, t->fn, t->opaque);
}

static struct loop_task *next_task(struct loop *l)
{
	struct loop_task *t = NULL;
	pthread_mutex_lock(&l->lock);
	if (!list_empty(&l->tasks)) {
		t = list_first(&l->tasks, struct loop_task, link);
		list_del(&t->link);
		t->queued = false;
	}
	pthread_mutex_unlock(&l->lock);
	return t;
}

static void serve_tasks(struct loop *l)
{
	struct loop_task *t;
	while ((t = next_task(l)))
		call_locked(t->lock, t->fn, t->opaque);
}

static bool has_tasks(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	bool any = !list_empty(&l->tasks);
	pthread_mutex_unlock(&l->lock);
	return any;
}

/* @done: or NULL; a hook may be what makes it true, and then there is nothing to sleep for. */
static int turn(struct loop *l, const bool *done)
{
	bool posted_before = has_tasks(l);
	run_hooks(l);
	/* Tasks that the hooks led to (what they submitted is done already) need no system call before
	 * them; but only so often, or a busy device would keep descriptors and timers waiting. */
	unsigned int rounds = posted_before ? 0 : LOOP_ROUNDS;
	for (; rounds && !(done && *done) && has_tasks(l); rounds--) {
		serve_tasks(l);
		run_hooks(l);
	}
	if (done && *done)
		return 0;
	int err = wait_for_events(l);
	serve_fds(l);
	serve_timers(l);
	serve_tasks(l);
	return err;
}

static void enter(struct loop *l)
{
	assert(!l->running);
	l->running = true;
}

int loop_run(struct loop *l)
{
	int err = 0;
	enter(l);
	for (;;) {
		pthread_mutex_lock(&l->lock);
		bool stop = l->stop;
		if (stop)
			l->stop = false;
		pthread_mutex_unlock(&l->lock);
		if (stop || err)
			break;
		err = turn(l, NULL);
	}
	l->running = false;
	return err;
}

int loop_run_until(struct loop *l, const bool *done)
{
	int err = 0;
	enter(l);
	while (!*done && !err)
		err = turn(l, done);
	l->running = false;
	return err;
}
