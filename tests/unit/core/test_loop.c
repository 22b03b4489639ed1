/* SPDX-License-Identifier: Apache-2.0 */
/* What sources may rely on. */
#include "vmm/core/loop.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/base/clock.h"

struct fixture {
	struct loop *loop;
	struct loop_task task;
	struct loop_timer timer;
	struct loop_fd a, b;
	unsigned int calls;
	bool done;
};

static void finish(void *opaque)
{
	struct fixture *f = opaque;
	f->calls++;
	f->done = true;
}

static void setup(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	CHECK_EQ(loop_create(&f->loop), 0);
	f->task = (struct loop_task){ .fn = finish, .opaque = f };
	f->timer = (struct loop_timer){ .fn = finish, .opaque = f };
}

static void *post_later(void *opaque)
{
	struct fixture *f = opaque;
	usleep(20000);
	loop_task_post(f->loop, &f->task);
	return NULL;
}

TEST(task_from_another_thread_wakes_a_sleeping_loop)
{
	struct fixture f;
	pthread_t t;
	setup(&f);
	CHECK_EQ(pthread_create(&t, NULL, post_later, &f), 0);
	CHECK_EQ(loop_run_until(f.loop, &f.done), 0);
	pthread_join(t, NULL);
	CHECK_EQ(f.calls, 1);
	loop_destroy(f.loop);
}

TEST(task_posted_twice_runs_once)
{
	struct fixture f;
	setup(&f);
	loop_task_post(f.loop, &f.task);
	loop_task_post(f.loop, &f.task);
	CHECK_EQ(loop_run_until(f.loop, &f.done), 0);
	CHECK_EQ(f.calls, 1);
	loop_destroy(f.loop);
}

TEST(cancelled_task_does_not_run)
{
	struct fixture f;
	setup(&f);
	loop_task_post(f.loop, &f.task);
	loop_task_cancel(f.loop, &f.task);
	loop_timer_arm(f.loop, &f.timer, clock_now_ns());
	CHECK_EQ(loop_run_until(f.loop, &f.done), 0);
	CHECK_EQ(f.calls, 1); /* the timer's */
	loop_destroy(f.loop);
}

TEST(timer_does_not_fire_before_its_deadline)
{
	struct fixture f;
	setup(&f);
	uint64_t deadline = clock_now_ns() + 5 * NS_PER_MS;
	loop_timer_arm(f.loop, &f.timer, clock_now_ns() + NS_PER_S);
	loop_timer_arm(f.loop, &f.timer, deadline); /* moved, not doubled */
	CHECK_EQ(loop_run_until(f.loop, &f.done), 0);
	CHECK(clock_now_ns() >= deadline);
	CHECK_EQ(f.calls, 1);
	CHECK(!f.timer.armed);
	loop_destroy(f.loop);
}

static void remove_other(void *opaque, uint32_t events)
{
	struct fixture *f = opaque;
	(void)events;
	f->calls++;
	loop_fd_remove(f->loop, f->a.added && f->calls == 1 ? &f->b : &f->a);
	loop_fd_remove(f->loop, &f->a);
	loop_fd_remove(f->loop, &f->b);
	f->done = true;
}

/* As in a container whose filter was written before Linux 5.11. -> whether it could be done. */
static bool forbid_pwait2(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_epoll_pwait2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(timer_fires_where_there_is_no_epoll_pwait2)
{
	struct fixture f;
	setup(&f);
	int status;
	pid_t pid = fork();
	if (!pid) {
		if (!forbid_pwait2())
			_exit(2);
		uint64_t deadline = clock_now_ns() + 20 * NS_PER_MS;
		loop_timer_arm(f.loop, &f.timer, deadline);
		_exit(loop_run_until(f.loop, &f.done) || clock_now_ns() < deadline);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	loop_destroy(f.loop);
}

TEST(event_collected_for_a_removed_source_is_dropped)
{
	struct fixture f;
	setup(&f);
	f.a = (struct loop_fd){
		.fd = eventfd(1, 0), .events = EPOLLIN, .fn = remove_other, .opaque = &f
	};
	f.b = (struct loop_fd){
		.fd = eventfd(1, 0), .events = EPOLLIN, .fn = remove_other, .opaque = &f
	};
	CHECK_EQ(loop_fd_add(f.loop, &f.a), 0);
	CHECK_EQ(loop_fd_add(f.loop, &f.b), 0);
	CHECK_EQ(loop_run_until(f.loop, &f.done), 0);
	CHECK_EQ(f.calls, 1);
	close(f.a.fd);
	close(f.b.fd);
	loop_destroy(f.loop);
}

static void check_locked(void *opaque)
{
	struct fixture *f = opaque;
	CHECK(pthread_mutex_trylock(f->task.lock) != 0);
	finish(f);
}

TEST(lock_of_a_source_is_held_around_its_callback)
{
	struct fixture f;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	setup(&f);
	f.task = (struct loop_task){ .fn = check_locked, .opaque = &f, .lock = &lock };
	loop_task_post(f.loop, &f.task);
	CHECK_EQ(loop_run_until(f.loop, &f.done), 0);
	CHECK_EQ(pthread_mutex_trylock(&lock), 0);
	loop_destroy(f.loop);
}

static void stop_loop(void *opaque)
{
	struct fixture *f = opaque;
	f->calls++;
	loop_stop(f->loop);
}

/* A hook that posts a task, as one does whose submission was answered at once. */
struct poster {
	struct loop *loop;
	struct loop_hook hook;
	struct loop_task task;
	struct loop_fd fd;
	unsigned int hooks, tasks, fds, tasks_before_fd;
	bool done;
};

static void post_from_hook(void *opaque)
{
	struct poster *p = opaque;
	p->hooks++;
	loop_task_post(p->loop, &p->task);
}

static void count_task(void *opaque)
{
	struct poster *p = opaque;
	p->tasks++;
}

static void count_fd(void *opaque, uint32_t events)
{
	struct poster *p = opaque;
	(void)events;
	p->fds++;
	p->tasks_before_fd = p->tasks;
	p->done = true;
}

TEST(tasks_of_hooks_come_before_the_sleep_and_do_not_starve_descriptors)
{
	struct poster p = { 0 };
	CHECK_EQ(loop_create(&p.loop), 0);
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
	p.hook = (struct loop_hook){ .before_sleep = post_from_hook, .opaque = &p };
	p.task = (struct loop_task){ .fn = count_task, .opaque = &p };
	p.fd = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = count_fd, .opaque = &p };
	loop_hook_add(p.loop, &p.hook);
	CHECK_EQ(loop_fd_add(p.loop, &p.fd), 0);
	CHECK_EQ(loop_run_until(p.loop, &p.done), 0);
	CHECK(p.tasks_before_fd >= 2);
	CHECK(p.tasks_before_fd < 100);
	CHECK_EQ(p.fds, 1);
	loop_task_cancel(p.loop, &p.task);
	loop_fd_remove(p.loop, &p.fd);
	loop_hook_remove(p.loop, &p.hook);
	close(fd);
	loop_destroy(p.loop);
}

TEST(stop_ends_one_run_and_not_the_next)
{
	struct fixture f;
	setup(&f);
	f.task.fn = stop_loop;
	for (unsigned int i = 1; i <= 2; i++) {
		loop_task_post(f.loop, &f.task);
		CHECK_EQ(loop_run(f.loop), 0);
		CHECK_EQ(f.calls, i);
	}
	loop_destroy(f.loop);
}

TEST_MAIN(T(task_from_another_thread_wakes_a_sleeping_loop), T(task_posted_twice_runs_once),
	  T(cancelled_task_does_not_run), T(timer_does_not_fire_before_its_deadline),
	  T(timer_fires_where_there_is_no_epoll_pwait2),
	  T(event_collected_for_a_removed_source_is_dropped),
	  T(lock_of_a_source_is_held_around_its_callback),
	  T(tasks_of_hooks_come_before_the_sleep_and_do_not_starve_descriptors),
	  T(stop_ends_one_run_and_not_the_next))
