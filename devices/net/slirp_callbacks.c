/* SPDX-License-Identifier: Apache-2.0 */
/* What libslirp calls: frames for the guest, timers, sockets to watch. */
/*
 * When the card has no room, the frame waits in a short queue, and nothing is read from the host
 * any more: libslirp reads from a socket only when we report it ready. What still comes (answers to
 * what the guest sends, retransmissions) is queued up to QUEUE_MAX and then dropped, as on a wire.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/net/slirp_int.h"
#include "vmm/base/clock.h"

enum { QUEUE_MAX = 1 << 20 }; /* bytes waiting for the guest */

/* One of libslirp's. It runs as a task, for a task looks up the card's lock when it is posted. */
struct slirp_timer {
	struct loop_timer timer;
	struct loop_task task;
	struct net_slirp *owner;
	SlirpTimerCb fn;
	void *opaque;
};

/* ---- to the guest ---- */

static bool deliver(struct net_slirp *s, const void *data, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
	return s->base.sink->deliver(s->base.sink, &iov, 1, len);
}

static void set_hold_input(struct net_slirp *s, bool hold)
{
	if (s->poll.hold_input == hold)
		return;
	s->poll.hold_input = hold;
	slirp_poll_touch(&s->poll);
}

static void enqueue(struct net_slirp *s, const void *data, size_t len)
{
	if (!s->heard || s->queue_bytes + len > QUEUE_MAX)
		return;
	struct waiting_frame *f = malloc(sizeof(*f) + len);
	if (!f)
		return;
	f->len = len;
	memcpy(f->data, data, len);
	list_add_tail(&s->queue, &f->link);
	s->queue_bytes += len;
	set_hold_input(s, true);
}

static void drop_first(struct net_slirp *s)
{
	struct waiting_frame *f = list_first(&s->queue, struct waiting_frame, link);
	list_del(&f->link);
	s->queue_bytes -= f->len;
	free(f);
}

void slirp_drop_queue(struct net_slirp *s)
{
	while (!list_empty(&s->queue))
		drop_first(s);
	set_hold_input(s, false);
}

void slirp_wake(struct net_backend *b)
{
	struct net_slirp *s = from_base(b);
	while (b->sink && !list_empty(&s->queue)) {
		struct waiting_frame *f = list_first(&s->queue, struct waiting_frame, link);
		if (!deliver(s, f->data, f->len))
			return;
		drop_first(s);
	}
	set_hold_input(s, false);
}

/* ---- what libslirp asks of us ---- */

static ssize_t cb_send_packet(const void *data, size_t len, void *opaque)
{
	struct net_slirp *s = opaque;
	if (s->heard)
		slirp_poll_touch(&s->poll);
	guard_saw(&s->guard, data, len);
	if (s->base.sink && (!list_empty(&s->queue) || !deliver(s, data, len)))
		enqueue(s, data, len);
	return (ssize_t)len;
}

static void cb_guest_error(const char *msg, void *opaque)
{
	struct net_slirp *s = opaque;
	log_guest(&s->guest_log, "network: the guest sent something wrong: %s", msg);
}

static int64_t cb_clock_get_ns(void *opaque)
{
	struct net_slirp *s = opaque;
	return (int64_t)slirp_poll_now_ns(&s->poll);
}

static void on_timer(void *opaque)
{
	struct slirp_timer *t = opaque;
	t->task.lock = t->owner->base.lock;
	loop_task_post(t->owner->loop, &t->task);
}

static void run_timer(void *opaque)
{
	struct slirp_timer *t = opaque;
	t->fn(t->opaque);
}

static void *cb_timer_new(SlirpTimerCb fn, void *fn_opaque, void *opaque)
{
	struct slirp_timer *t = calloc(1, sizeof(*t));
	if (!t)
		abort(); /* as libslirp itself does without memory */
	t->owner = opaque;
	t->fn = fn;
	t->opaque = fn_opaque;
	t->timer.fn = on_timer;
	t->timer.opaque = t;
	t->task.fn = run_timer;
	t->task.opaque = t;
	return t;
}

static void cb_timer_free(void *timer, void *opaque)
{
	struct net_slirp *s = opaque;
	struct slirp_timer *t = timer;
	loop_timer_disarm(s->loop, &t->timer);
	loop_task_cancel(s->loop, &t->task);
	free(t);
}

static void cb_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct net_slirp *s = opaque;
	struct slirp_timer *t = timer;
	loop_timer_arm(s->loop, &t->timer, (uint64_t)expire_ms * NS_PER_MS);
}

static void cb_register_poll_fd(int fd, void *opaque)
{
	struct net_slirp *s = opaque;
	slirp_poll_opened(&s->poll, fd);
}

static void cb_unregister_poll_fd(int fd, void *opaque)
{
	struct net_slirp *s = opaque;
	slirp_poll_closed(&s->poll, fd);
}

static void cb_notify(void *opaque)
{
	struct net_slirp *s = opaque;
	slirp_poll_touch(&s->poll);
}

const SlirpCb slirp_callbacks = {
	.send_packet = cb_send_packet,
	.guest_error = cb_guest_error,
	.clock_get_ns = cb_clock_get_ns,
	.timer_new = cb_timer_new,
	.timer_free = cb_timer_free,
	.timer_mod = cb_timer_mod,
	.register_poll_fd = cb_register_poll_fd,
	.unregister_poll_fd = cb_unregister_poll_fd,
	.notify = cb_notify,
};
