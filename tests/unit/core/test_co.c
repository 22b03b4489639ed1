/* SPDX-License-Identifier: Apache-2.0 */
/* Coroutines and the worker pool on a loop. */
#include "tests/unit/test.h"

#include <pthread.h>

#include "vmm/core/co.h"
#include "vmm/core/loop.h"
#include "vmm/core/workers.h"

struct fixture {
	struct loop *l;
	struct co_sched *s;
	char trace[64]; /* what ran, in order */
	struct co *sleeper;
	struct co_queue queue;
	struct co_mutex mutex;
	bool done;
};

static void set_up(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	CHECK_EQ(loop_create(&f->l), 0);
	CHECK_EQ(co_sched_create(f->l, &f->s), 0);
	co_queue_init(&f->queue);
	co_mutex_init(&f->mutex);
}

static void tear_down(struct fixture *f)
{
	co_sched_destroy(f->s);
	loop_destroy(f->l);
}

static void say(struct fixture *f, char c)
{
	f->trace[strlen(f->trace)] = c;
}

static void two_steps(void *arg)
{
	struct fixture *f = arg;
	say(f, 'a');
	f->sleeper = co_self(f->s);
	co_yield (f->s);
	say(f, 'b');
}

TEST(spawn_runs_until_the_first_yield_and_wake_goes_on)
{
	struct fixture f;
	set_up(&f);
	CHECK_EQ(co_spawn(f.s, two_steps, &f), 0);
	say(&f, '1');
	CHECK(!co_self(f.s));
	co_wake(f.sleeper);
	say(&f, '2');
	CHECK_STR(f.trace, "a1b2");
	tear_down(&f);
}

static void child(void *arg)
{
	struct fixture *f = arg;
	say(f, 'c');
	f->done = true;
}

static void parent(void *arg)
{
	struct fixture *f = arg;
	say(f, 'p');
	co_spawn(f->s, child, f);
	say(f, 'q');
}

TEST(spawn_inside_a_coroutine_waits_for_the_loop)
{
	struct fixture f;
	set_up(&f);
	CHECK_EQ(co_spawn(f.s, parent, &f), 0);
	CHECK_STR(f.trace, "pq");
	CHECK_EQ(loop_run_until(f.l, &f.done), 0);
	CHECK_STR(f.trace, "pqc");
	tear_down(&f);
}

static void locker(void *arg)
{
	struct fixture *f = arg;
	co_mutex_lock(f->s, &f->mutex);
	say(f, 'l');
	f->sleeper = co_self(f->s);
	co_yield (f->s);
	say(f, 'u');
	co_mutex_unlock(&f->mutex);
}

static void last_locker(void *arg)
{
	struct fixture *f = arg;
	co_mutex_lock(f->s, &f->mutex);
	say(f, 'z');
	co_mutex_unlock(&f->mutex);
	f->done = true;
}

TEST(mutex_is_handed_to_the_longest_waiter)
{
	struct fixture f;
	set_up(&f);
	CHECK_EQ(co_spawn(f.s, locker, &f), 0);
	CHECK_EQ(co_spawn(f.s, last_locker, &f), 0);
	CHECK_STR(f.trace, "l");
	co_wake(f.sleeper);
	CHECK_EQ(loop_run_until(f.l, &f.done), 0);
	CHECK_STR(f.trace, "luz");
	tear_down(&f);
}

static int deep(int n)
{
	volatile char frame[200];
	frame[0] = (char)n;
	return n ? deep(n - 1) + frame[0] : 0;
}

static void use_stack(void *arg)
{
	struct fixture *f = arg;
	deep(100);
	f->trace[0]++;
}

TEST(many_coroutines_reuse_their_stacks)
{
	struct fixture f;
	set_up(&f);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(co_spawn(f.s, use_stack, &f), 0);
	CHECK_EQ(f.trace[0], 100);
	tear_down(&f);
}

/* ---- workers ---- */

struct job {
	struct work work;
	struct fixture *f;
	pthread_t ran_on, done_on;
	int *left;
};

static void job_run(struct work *w)
{
	struct job *j = container_of(w, struct job, work);
	j->ran_on = pthread_self();
}

static void job_done(struct work *w)
{
	struct job *j = container_of(w, struct job, work);
	j->done_on = pthread_self();
	if (!--*j->left)
		j->f->done = true;
}

TEST(jobs_run_elsewhere_and_end_on_the_loop)
{
	struct fixture f;
	struct workers *ws;
	struct job jobs[50];
	int left = 50;
	set_up(&f);
	CHECK_EQ(workers_create(f.l, 2, &ws), 0);
	for (int i = 0; i < 50; i++) {
		jobs[i] = (struct job){ .work = { .run = job_run, .done = job_done },
					.f = &f,
					.left = &left };
		workers_submit(ws, &jobs[i].work);
	}
	CHECK_EQ(loop_run_until(f.l, &f.done), 0);
	for (int i = 0; i < 50; i++) {
		CHECK(!pthread_equal(jobs[i].ran_on, pthread_self()));
		CHECK(pthread_equal(jobs[i].done_on, pthread_self()));
	}
	workers_destroy(ws);
	tear_down(&f);
}

TEST_MAIN(T(spawn_runs_until_the_first_yield_and_wake_goes_on),
	  T(spawn_inside_a_coroutine_waits_for_the_loop), T(mutex_is_handed_to_the_longest_waiter),
	  T(many_coroutines_reuse_their_stacks), T(jobs_run_elsewhere_and_end_on_the_loop))
