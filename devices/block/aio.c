/* SPDX-License-Identifier: Apache-2.0 */
/* The asynchronous I/O context of a loop, on libaio. */
/*
 * How it works. aio_queue() only appends to `pending`. The loop's before-sleep hook submits what is
 * there with one io_submit(2), looks at the completion ring once (a fast disk or the page cache has
 * often answered by then) and goes round again while done() callbacks queue more, a bounded number
 * of times. Otherwise completions are announced by an eventfd, edge-triggered, so it is never read.
 *
 * The ring is the one the kernel maps for the context (struct aio_ring in fs/aio.c, stable since
 * 2.6: its magic is checked); only this thread moves its head, so no lock is needed. Where the
 * magic is unknown, io_getevents(2) is called instead.
 *
 * At most AIO_DEPTH operations are with the kernel; the rest waits in `pending`, first come, first
 * served. -EAGAIN from the kernel leaves them there until something completes; with nothing in
 * flight the op is answered -EAGAIN, and file.c serves it with a worker thread.
 */
#include "devices/block/aio.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/core/loop.h"

enum {
	AIO_DEPTH = 256,
	AIO_ROUNDS = 4,
	AIO_RING_MAGIC = 0xa10a10a1u,
	AIO_EVENTS = EPOLLIN | (int)EPOLLET,
	AIO_AT_ONCE = 16, /* batches in a row that were answered at once */
};

/* What the kernel maps at the context's address. */
struct aio_ring {
	unsigned int id;
	unsigned int nr;
	unsigned int head;
	unsigned int tail;
	unsigned int magic;
	unsigned int compat_features;
	unsigned int incompat_features;
	unsigned int header_length;
	struct io_event events[];
};

struct aio {
	struct loop *loop;
	io_context_t io; /* NULL: the kernel has none for us */
	struct aio_ring *ring;
	int event_fd;
	struct loop_fd src;
	struct loop_hook hook;
	struct loop_task task; /* comes back to the hook without sleeping */
	struct list pending;
	unsigned int in_flight;
	unsigned int at_once; /* batches since one was not answered at once */
};

static void complete(struct aio *a, const struct io_event *ev)
{
	struct aio_op *op = container_of(ev->obj, struct aio_op, iocb);
	a->in_flight--;
	op->done(op, (long)ev->res);
}

/* -> completions served. */
static unsigned int reap_ring(struct aio *a)
{
	struct aio_ring *r = a->ring;
	unsigned int n = 0;
	for (;;) {
		unsigned int head = r->head;
		/* Pairs with the kernel's barrier between filling an event and moving the tail. */
		unsigned int tail = __atomic_load_n(&r->tail, __ATOMIC_ACQUIRE);
		if (head == tail)
			return n;
		struct io_event ev = r->events[head];
		/* The slot is free for the kernel once it sees the new head. */
		__atomic_store_n(&r->head, (head + 1) % r->nr, __ATOMIC_RELEASE);
		complete(a, &ev);
		n++;
	}
}

static unsigned int reap_syscall(struct aio *a)
{
	struct io_event ev[32];
	struct timespec none = { 0, 0 };
	unsigned int n = 0;
	int got;
	do {
		got = a->in_flight ? io_getevents(a->io, 0, ARRAY_SIZE(ev), ev, &none) : 0;
		for (int i = 0; i < got; i++)
			complete(a, &ev[i]);
		n += got > 0 ? (unsigned int)got : 0;
	} while (got == (int)ARRAY_SIZE(ev));
	return n;
}

static unsigned int reap(struct aio *a)
{
	return a->ring ? reap_ring(a) : reap_syscall(a);
}

static void fail_first(struct aio *a, long err)
{
	struct aio_op *op = list_first(&a->pending, struct aio_op, link);
	list_del(&op->link);
	op->done(op, err);
}

static unsigned int collect(struct aio *a, struct iocb **batch)
{
	unsigned int n = 0;
	struct list *pos;
	list_for_each (pos, &a->pending) {
		if (a->in_flight + n == AIO_DEPTH)
			break;
		struct aio_op *op = list_entry(pos, struct aio_op, link);
		if (!op->quiet)
			io_set_eventfd(&op->iocb, a->event_fd);
		batch[n++] = &op->iocb;
	}
	return n;
}

/* One io_submit(2). -> true when something was submitted or answered. */
static bool submit(struct aio *a)
{
	struct iocb *batch[AIO_DEPTH];
	unsigned int n = collect(a, batch);
	if (!n)
		return false;
	int done = a->io ? io_submit(a->io, n, batch) : -ENOSYS;
	for (int i = 0; i < done; i++) {
		struct aio_op *op = container_of(batch[i], struct aio_op, iocb);
		list_del(&op->link);
		a->in_flight++;
	}
	if (done >= 0)
		return done > 0;
	if (done == -EINTR)
		return true;
	if (done == -EAGAIN && a->in_flight)
		return false;
	fail_first(a, done);
	return true;
}

/*
 * The eventfd wakes the loop only while operations outlast the turn that submitted them: of those
 * that are answered at once it would tell what has been reaped already, at a system call each.
 */
static void watch(struct aio *a, bool submitted)
{
	if (a->in_flight) {
		a->at_once = 0;
		loop_fd_modify(a->loop, &a->src, (uint32_t)AIO_EVENTS);
	} else if (submitted && ++a->at_once == AIO_AT_ONCE) {
		loop_fd_modify(a->loop, &a->src, 0);
	}
}

static void before_sleep(void *opaque)
{
	struct aio *a = opaque;
	bool submitted = false;
	for (unsigned int round = 0; !list_empty(&a->pending); round++) {
		bool moved = submit(a);
		bool reaped = reap(a);
		submitted = true;
		if (!moved && !reaped)
			break; /* the kernel is full: a completion will wake us */
		if (round == AIO_ROUNDS) {
			loop_task_post(a->loop, &a->task);
			break;
		}
	}
	watch(a, submitted);
}

static void come_back(void *opaque)
{
	(void)opaque; /* the hook does the work */
}

static void on_event(void *opaque, uint32_t events)
{
	(void)events;
	reap(opaque);
}

void aio_queue(struct aio *a, struct aio_op *op)
{
	list_add_tail(&a->pending, &op->link);
}

/* ---- life ---- */

static void setup_context(struct aio *a)
{
	a->io = NULL;
	if (io_setup(AIO_DEPTH, &a->io) < 0) {
		a->io = NULL;
		return;
	}
	struct aio_ring *r = (struct aio_ring *)a->io;
	if (r->magic == AIO_RING_MAGIC && !r->incompat_features && r->nr > AIO_DEPTH)
		a->ring = r;
}

int aio_create(struct loop *l, struct aio **out)
{
	struct aio *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->loop = l;
	list_init(&a->pending);
	a->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->event_fd < 0)
		goto out_free;
	a->src = (struct loop_fd){
		.fd = a->event_fd, .events = (uint32_t)AIO_EVENTS, .fn = on_event, .opaque = a
	};
	if (loop_fd_add(l, &a->src))
		goto out_close;
	setup_context(a);
	a->hook = (struct loop_hook){ .before_sleep = before_sleep, .opaque = a };
	loop_hook_add(l, &a->hook);
	a->task = (struct loop_task){ .fn = come_back };
	*out = a;
	return 0;
out_close:
	close(a->event_fd);
out_free:
	free(a);
	return -ENOMEM;
}

void aio_destroy(struct aio *a)
{
	if (!a)
		return;
	assert(list_empty(&a->pending) && !a->in_flight);
	loop_task_cancel(a->loop, &a->task);
	loop_hook_remove(a->loop, &a->hook);
	loop_fd_remove(a->loop, &a->src);
	if (a->io)
		io_destroy(a->io);
	close(a->event_fd);
	free(a);
}
