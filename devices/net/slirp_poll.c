/* SPDX-License-Identifier: Apache-2.0 */
/* libslirp's sockets and timers on our loop. */
/*
 * How it works. libslirp was made for poll(2): before a sleep it is asked for all its sockets and
 * the events it wants (fill), after it, it asks for those that happened (poll). Here,
 *
 *     hook, before the sleep:  if libslirp has run since: fill, and change in epoll what differs
 *     a socket is ready:       note the events, post the task
 *     the task, same turn:     poll; frames go to the guest
 *     the tick:                post the task, for libslirp's timers
 *
 * so that a turn in which nothing of libslirp's happened costs nothing, and one in which the same
 * sockets are wanted as before costs no system call. libslirp is touched on the loop's thread only;
 * the task takes the card's lock, because it delivers.
 *
 * Ticks. libslirp asks for two a second for ever, since it counts its listeners as connections. All
 * that its slow timer does is to retransmit and to age, so it runs while there is something to
 * retransmit: for ACTIVE_NS after the last frame or event, which is longer than libslirp's longest
 * pause (64 s). An idle machine sleeps.
 *
 * What libslirp reports is taken with two grains of salt: it asserts that there is room when it is
 * told of an error on a socket that it polls for writing only, so there an error is told as
 * "writable"; and what it did not ask for is not told.
 */
#include "devices/net/slirp_poll.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "devices/net/net.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

#define ACTIVE_NS (UINT64_C(70) * NS_PER_S)

/*
 * How long clients wait for a guest that says nothing. Not for ever: a restored guest may have no reason to
 * speak, though it would answer.
 */
#define PATIENCE_NS (UINT64_C(10) * NS_PER_S)

/* Sockets for the guest's flows; never more than half of what the process may open. */
enum { FLOWS_MAX = 4096 };

struct slirp_fd {
	struct loop_fd src;
	struct slirp_poll *poll;
	int wanted; /* SLIRP_POLL_*, at the last fill; 0: none */
	int got;    /* and what has happened since */
	bool listener;
	bool known; /* to slirp_poll_before_listener() */
};

/* ---- one socket ---- */

static uint32_t to_epoll(int slirp_events)
{
	uint32_t events = 0;
	if (slirp_events & SLIRP_POLL_IN)
		events |= EPOLLIN;
	if (slirp_events & SLIRP_POLL_OUT)
		events |= EPOLLOUT;
	if (slirp_events & SLIRP_POLL_PRI)
		events |= EPOLLPRI;
	return events;
}

static int from_epoll(uint32_t events, int wanted)
{
	int got = 0;
	if (events & EPOLLIN)
		got |= SLIRP_POLL_IN;
	if (events & EPOLLOUT)
		got |= SLIRP_POLL_OUT;
	if (events & EPOLLPRI)
		got |= SLIRP_POLL_PRI;
	if (events & EPOLLERR)
		got |= SLIRP_POLL_ERR;
	if (events & EPOLLHUP)
		got |= SLIRP_POLL_HUP;
	if (!(wanted & SLIRP_POLL_IN) && got & (SLIRP_POLL_ERR | SLIRP_POLL_HUP))
		got = SLIRP_POLL_OUT;
	return got & wanted;
}

/* The lock is looked up now: a timer may be older than the card's net_attach(). */
static void post_task(struct slirp_poll *p)
{
	p->task.lock = p->backend->lock;
	loop_task_post(p->loop, &p->task);
}

static void on_ready(void *opaque, uint32_t events)
{
	struct slirp_fd *e = opaque;
	e->got |= from_epoll(events, e->wanted);
	if (e->got) {
		slirp_poll_touch(e->poll);
		post_task(e->poll);
	}
}

/* The entry of @fd, made if need be; NULL: no memory. */
static struct slirp_fd *get_fd(struct slirp_poll *p, int fd)
{
	assert(fd >= 0);
	if ((unsigned int)fd >= p->fds_cap) {
		unsigned int cap = (unsigned int)fd + 32;
		struct slirp_fd **fds = realloc(p->fds, cap * sizeof(struct slirp_fd *));
		if (!fds)
			return NULL;
		memset(fds + p->fds_cap, 0, (cap - p->fds_cap) * sizeof(struct slirp_fd *));
		p->fds = fds;
		p->fds_cap = cap;
	}
	if (!p->fds[fd]) {
		struct slirp_fd *e = calloc(1, sizeof(*e));
		if (!e)
			return NULL;
		e->poll = p;
		e->src.fd = fd;
		e->src.fn = on_ready;
		e->src.opaque = e;
		p->fds[fd] = e;
	}
	return p->fds[fd];
}

static void forget_fd(struct slirp_poll *p, int fd)
{
	if (fd < 0 || (unsigned int)fd >= p->fds_cap || !p->fds[fd])
		return;
	struct slirp_fd *e = p->fds[fd];
	loop_fd_remove(p->loop, &e->src);
	e->wanted = e->got = 0;
	e->listener = false;
}

void slirp_poll_opened(struct slirp_poll *p, int fd)
{
	forget_fd(p, fd); /* whatever had this number was closed without a word */
	doorways_opened(&p->doors, fd);
	p->n_flows++;
	slirp_poll_touch(p);
}

void slirp_poll_closed(struct slirp_poll *p, int fd)
{
	forget_fd(p, fd);
	doorways_closed(&p->doors, fd);
	slirp_poll_touch(p);
}

bool slirp_poll_full(const struct slirp_poll *p)
{
	return p->n_flows >= p->max_flows;
}

/* ---- before a sleep: what libslirp wants ---- */

/* Makes epoll agree with what is wanted. */
static void sync_fd(struct slirp_poll *p, struct slirp_fd *e)
{
	uint32_t events = to_epoll(e->wanted);
	int err = 0;
	if (!e->wanted) {
		loop_fd_remove(p->loop, &e->src);
	} else if (e->src.added) {
		err = loop_fd_modify(p->loop, &e->src, events);
		if (err == -ENOENT) {
			/* Closed and opened anew under the same number. */
			loop_fd_remove(p->loop, &e->src);
			err = 0;
		}
	}
	if (!err && e->wanted && !e->src.added) {
		e->src.events = events;
		err = loop_fd_add(p->loop, &e->src);
	}
	if (err) {
		log_error("network: cannot watch a socket: %s", strerror(-err));
		e->wanted = 0;
	}
}

/* libslirp's question: watch @fd for @events; -> what it is to ask get_events() by, or -1: not
 * watched. */
static int add_poll(int fd, int events, void *opaque)
{
	struct slirp_poll *p = opaque;
	struct slirp_fd *e = get_fd(p, fd);
	if (!e)
		return -1;
	if (e->listener) {
		if (!p->accepting)
			events = 0;
	} else {
		p->n_flows++;
		if (p->hold_input)
			events &= events & SLIRP_POLL_OUT ? SLIRP_POLL_OUT | SLIRP_POLL_ERR : 0;
	}
	e->wanted = events;
	return events ? fd : -1;
}

static void arm_tick(struct slirp_poll *p, uint32_t timeout_ms)
{
	uint64_t now_ns = slirp_poll_now_ns(p);
	uint64_t deadline_ns = now_ns + timeout_ms * NS_PER_MS;
	if (deadline_ns > p->active_until_ns) {
		loop_timer_disarm(p->loop, &p->tick);
	} else if (!p->tick.armed || deadline_ns < p->tick.deadline_ns) {
		loop_timer_arm(p->loop, &p->tick, deadline_ns);
	}
}

static void before_sleep(void *opaque)
{
	struct slirp_poll *p = opaque;
	if (p->dirty && p->slirp) {
		uint32_t timeout_ms = UINT32_MAX;
		for (unsigned int fd = 0; fd < p->fds_cap; fd++)
			if (p->fds[fd])
				p->fds[fd]->wanted = 0;
		p->accepting = !p->hold_accept && !p->hold_input && !slirp_poll_full(p);
		p->n_flows = 0;
		p->lib.pollfds_fill(p->slirp, &timeout_ms, add_poll, p);
		for (unsigned int fd = 0; fd < p->fds_cap; fd++)
			if (p->fds[fd])
				sync_fd(p, p->fds[fd]);
		doorways_set_open(&p->doors, p->accepting);
		arm_tick(p, timeout_ms);
		p->dirty = false;
	}
	p->now_stale = true;
}

void slirp_poll_start(struct slirp_poll *p, Slirp *slirp)
{
	p->slirp = slirp;
	p->hold_accept = true;
	p->dirty = true;
	p->active_until_ns = 0; /* no guest, no ticks */
	if (slirp)
		loop_timer_arm(p->loop, &p->patience, slirp_poll_now_ns(p) + PATIENCE_NS);
	else
		loop_timer_disarm(p->loop, &p->patience);
}

static void patience_ends(void *opaque)
{
	struct slirp_poll *p = opaque;
	p->hold_accept = false;
	p->dirty = true;
}

void slirp_poll_touch(struct slirp_poll *p)
{
	p->dirty = true;
	p->active_until_ns = slirp_poll_now_ns(p) + ACTIVE_NS;
}

uint64_t slirp_poll_now_ns(struct slirp_poll *p)
{
	if (p->now_stale)
		p->now_ns = clock_now_ns();
	p->now_stale = false;
	return p->now_ns;
}

/* ---- after it: what happened ---- */

static int get_events(int idx, void *opaque)
{
	struct slirp_poll *p = opaque;
	if (idx < 0 || (unsigned int)idx >= p->fds_cap || !p->fds[idx])
		return 0;
	/* Told once: the number may come back in this very call, for another socket. */
	int got = p->fds[idx]->got;
	p->fds[idx]->got = 0;
	/* The guest may have become full in this very call. What is not told now comes again. */
	return p->hold_input ? got & SLIRP_POLL_OUT : got;
}

static void on_events(void *opaque)
{
	struct slirp_poll *p = opaque;
	if (!p->slirp)
		return;
	p->lib.pollfds_poll(p->slirp, 0, get_events, p);
	p->dirty = true; /* and that is no activity in itself: it may have been a tick */
}

static void on_tick(void *opaque)
{
	post_task(opaque);
}

/* ---- listeners ---- */

struct find_listener {
	struct slirp_poll *poll;
	int found;
};

static int find_unknown(int fd, int events, void *opaque)
{
	struct find_listener *find = opaque;
	const struct slirp_fd *e = get_fd(find->poll, fd);
	(void)events;
	if (e && !e->known)
		find->found = fd;
	return -1;
}

static int mark_known(int fd, int events, void *opaque)
{
	struct slirp_fd *e = get_fd(opaque, fd);
	(void)events;
	if (e)
		e->known = true;
	return -1;
}

void slirp_poll_before_listener(struct slirp_poll *p)
{
	uint32_t timeout_ms = UINT32_MAX;
	for (unsigned int fd = 0; fd < p->fds_cap; fd++)
		if (p->fds[fd])
			p->fds[fd]->known = false;
	p->lib.pollfds_fill(p->slirp, &timeout_ms, mark_known, p);
	p->dirty = true;
}

int slirp_poll_adopt_listener(struct slirp_poll *p, int fd)
{
	/* The socket's number can be had in no other way. */
	struct find_listener find = { .poll = p, .found = -1 };
	uint32_t timeout_ms = UINT32_MAX;
	p->lib.pollfds_fill(p->slirp, &timeout_ms, find_unknown, &find);
	p->dirty = true;
	if (find.found < 0)
		return -ENOMEM;
	if (dup3(fd, find.found, O_CLOEXEC) < 0)
		return -errno;
	p->fds[find.found]->listener = true;
	return 0;
}

/* ---- its own life ---- */

void slirp_poll_init(struct slirp_poll *p, struct loop *loop, const struct net_backend *backend)
{
	*p = (struct slirp_poll){
		.loop = loop,
		.backend = backend,
		.now_stale = true,
		.hook = { .before_sleep = before_sleep, .opaque = p },
		.task = { .fn = on_events, .opaque = p },
		.tick = { .fn = on_tick, .opaque = p },
		.patience = { .fn = patience_ends, .opaque = p },
	};
	struct rlimit limit;
	p->max_flows = FLOWS_MAX;
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur / 2 < p->max_flows)
		p->max_flows = (unsigned int)limit.rlim_cur / 2;
	doorways_init(&p->doors, loop);
	loop_hook_add(loop, &p->hook);
}

void slirp_poll_fini(struct slirp_poll *p)
{
	loop_hook_remove(p->loop, &p->hook);
	loop_task_cancel(p->loop, &p->task);
	loop_timer_disarm(p->loop, &p->tick);
	loop_timer_disarm(p->loop, &p->patience);
	doorways_fini(&p->doors);
	for (unsigned int fd = 0; fd < p->fds_cap; fd++) {
		if (p->fds[fd])
			loop_fd_remove(p->loop, &p->fds[fd]->src);
		free(p->fds[fd]);
	}
	free(p->fds);
}
