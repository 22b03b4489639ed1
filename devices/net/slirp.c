/* SPDX-License-Identifier: Apache-2.0 */
/* User-mode networking through libslirp. */
/*
 * How it works. A frame of the guest's is copied once, its checksum is made if the guest left it to
 * us (libslirp verifies every one), it passes the guard (guard.c) and goes to libslirp, which is
 * the other end of all the guest's TCP connections and opens a socket on the host for each.
 * slirp_poll.c watches those. A frame for the guest goes straight from libslirp's buffer to the
 * card.
 *
 * Size. With an MTU of 65,520 the guest's segments reach us 32 KiB at a time (Linux sends no more
 * than half of the window, and libslirp has no window scaling), and libslirp's own are 32 KiB as
 * well.
 *
 * When the card has no room, the frame waits in a short queue, and nothing is read from the host
 * any more: libslirp reads from a socket only when we report it ready. What still comes (answers to
 * what the guest sends, retransmissions) is queued up to QUEUE_MAX and then dropped, as on a wire.
 *
 * Memory. libslirp keeps each segment that comes too early, and each fragment, in a buffer of the size of
 * the MTU, as many as the guest likes to send; nothing of its interface says so. So now and then we look at
 * what the whole process has allocated, and if that is beyond all reason, the network is reset.
 *
 * Until the guest has shown its address, no client is accepted: it waits in the backlog and not in
 * libslirp, which would give up on it before a slow guest has booted.
 */
#include "devices/net/slirp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "devices/net/csum.h"
#include "devices/net/guard.h"
#include "devices/net/net.h"
#include "devices/net/slirp_entrances.h"
#include "devices/net/slirp_poll.h"
#include "vmm/base/clock.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"

enum {
	QUEUE_MAX = 1 << 20, /* bytes waiting for the guest */
	MTU_MIN = 1280,	     /* RFC 8200, 5 */
	FRAME_MIN = 14,
	HOARD_CHECK_FRAMES = 4096,
};

/* What the process may have allocated: for all else, and for each flow's buffers. */
#define HOARD_BASE     (512 * MIB)
#define HOARD_PER_FLOW MIB

/* All forks of a machine keep the same, as nobody else is in their network. */
static const uint8_t guest_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

/* A frame that waits for the guest. */
struct waiting_frame {
	struct list link;
	size_t len;
	uint8_t data[];
};

/* One of libslirp's. It runs as a task, for a task looks up the card's lock when it is posted. */
struct slirp_timer {
	struct loop_timer timer;
	struct loop_task task;
	struct net_slirp *owner;
	SlirpTimerCb fn;
	void *opaque;
};

struct net_slirp {
	struct net_backend base;
	struct loop *loop;
	Slirp *slirp; /* NULL: could not be made anew at a reset */
	struct slirp_poll poll;
	struct guard guard;
	struct slirp_entrances entrances;
	const struct forward_list *forwards; /* the caller's; NULL: none */
	struct list queue;		     /* of struct waiting_frame */
	size_t queue_bytes;
	struct log_limit guest_log;
	bool heard; /* the guest, in this life of libslirp's: else there is nobody to queue for */
	bool restricted;
	bool deny_loopback; /* by libslirp too */
	char hostname[65];
	unsigned int frames_unchecked; /* since check_hoard() */
	uint8_t frame[NET_FRAME_MAX];  /* the guest's, while it is looked at */
};

static struct net_slirp *from_base(struct net_backend *b)
{
	return container_of(b, struct net_slirp, base);
}

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

static void drop_queue(struct net_slirp *s)
{
	while (!list_empty(&s->queue))
		drop_first(s);
	set_hold_input(s, false);
}

static void slirp_wake(struct net_backend *b)
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

static const SlirpCb callbacks = {
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

/* ---- a life of libslirp's: from a reset to the next ---- */

static void fill_config(const struct net_slirp *s, SlirpConfig *cfg)
{
	*cfg = (SlirpConfig){
		.version = 3, /* the newest that 4.6.1 knows; it has all that we need */
		.restricted = s->restricted,
		.in_enabled = true,
		.vnetwork.s_addr = htonl(SLIRP_IP4_NETWORK),
		.vnetmask.s_addr = htonl(SLIRP_IP4_MASK),
		.vhost.s_addr = htonl(SLIRP_IP4_GATEWAY),
		.vnameserver.s_addr = htonl(SLIRP_IP4_DNS),
		.vdhcp_start.s_addr = htonl(SLIRP_IP4_GUEST),
		.in6_enabled = true,
		.vprefix_len = 64,
		.vhostname = s->hostname[0] ? s->hostname : NULL,
		.if_mtu = s->base.mtu_bytes,
		.if_mru = s->base.mtu_bytes,
		.disable_host_loopback = s->deny_loopback,
	};
	inet_pton(AF_INET6, SLIRP_IP6_PREFIX, &cfg->vprefix_addr6);
	inet_pton(AF_INET6, SLIRP_IP6_PREFIX "2", &cfg->vhost6);
	inet_pton(AF_INET6, SLIRP_IP6_PREFIX "3", &cfg->vnameserver6);
}

static void stop(struct net_slirp *s)
{
	if (s->slirp)
		s->poll.lib.cleanup(s->slirp);
	s->slirp = NULL;
	s->heard = false;
	slirp_poll_start(&s->poll, NULL);
	drop_queue(s);
}

/* -> 0, or -errno with one line logged. */
static int start(struct net_slirp *s)
{
	SlirpConfig cfg;
	fill_config(s, &cfg);
	s->slirp = s->poll.lib.new(&cfg, &callbacks, s);
	if (!s->slirp) {
		log_error("network: libslirp %s does not start", s->poll.lib.version_string());
		return -EIO;
	}
	slirp_poll_start(&s->poll, s->slirp);
	int err = slirp_entrances_serve(&s->entrances, &s->poll);
	if (err) {
		log_error("network: cannot serve the forwards: %s", strerror(-err));
		stop(s);
	}
	return err;
}

static void slirp_reset(struct net_backend *b)
{
	struct net_slirp *s = from_base(b);
	stop(s);
	memset(s->guard.peers, 0, sizeof(s->guard.peers));
	start(s); /* a failure is in the log, and a machine without network is better than none */
}

/* ---- from the guest ---- */

static void gather(uint8_t *to, const struct iovec *iov, unsigned int niov, size_t len)
{
	for (unsigned int i = 0; i < niov && len; i++) {
		size_t n = MIN(iov[i].iov_len, len);
		memcpy(to, iov[i].iov_base, n);
		to += n;
		len -= n;
	}
	memset(to, 0, len);
}

/* ARP or IPv4 from the address that the forwards lead to: connections to it have a chance. */
static bool shows_address(const uint8_t *frame, size_t len)
{
	enum { TYPE = 12, IPV4 = 0x0800, IPV4_SRC = 14 + 12, ARP = 0x0806, ARP_SENDER = 14 + 14 };
	size_t at = get_be16(frame + TYPE) == ARP ? ARP_SENDER : IPV4_SRC;
	return (get_be16(frame + TYPE) == ARP || get_be16(frame + TYPE) == IPV4) && len >= at + 4 &&
	       get_be32(frame + at) == SLIRP_IP4_GUEST;
}

static void check_hoard(struct net_slirp *s)
{
	if (s->frames_unchecked++ < HOARD_CHECK_FRAMES)
		return;
	s->frames_unchecked = 0;
	struct mallinfo2 m = mallinfo2();
	if (m.uordblks + m.hblkhd < HOARD_BASE + s->poll.n_flows * HOARD_PER_FLOW)
		return;
	log_guest(&s->guest_log, "network: the guest made it hoard %zu MiB; all flows are reset",
		  (size_t)((m.uordblks + m.hblkhd) / MIB));
	slirp_reset(&s->base);
}

static void slirp_send(struct net_backend *b, const struct iovec *iov, unsigned int niov,
		       size_t len_bytes, const struct net_offload *off)
{
	struct net_slirp *s = from_base(b);
	check_hoard(s);
	if (!s->slirp || len_bytes < FRAME_MIN || len_bytes > sizeof(s->frame))
		return;
	gather(s->frame, iov, niov, len_bytes);
	if (off && off->needs_csum && !csum_complete(s->frame, len_bytes, off)) {
		log_guest(&s->guest_log, "network: a checksum outside of its frame");
		return;
	}
	s->heard = true;
	if (shows_address(s->frame, len_bytes))
		s->poll.hold_accept = false;
	slirp_poll_touch(&s->poll);
	s->guard.flows_full = slirp_poll_full(&s->poll);
	switch (guard_check(&s->guard, s->frame, len_bytes, slirp_poll_now_ns(&s->poll))) {
	case GUARD_DROP: return;
	case GUARD_REFUSE: guard_refuse(s->frame); break;
	case GUARD_PASS: break;
	}
	s->poll.lib.input(s->slirp, s->frame, (int)len_bytes);
}

/* ---- the backend ---- */

static int serve_forwards(struct net_slirp *s)
{
	int err = slirp_entrances_add(&s->entrances, &s->poll, s->forwards);
	/* Whether libslirp lets answers to datagrams out is settled when it starts. */
	if (!err && s->entrances.any_udp && s->deny_loopback)
		err = -ENOTSUP;
	if (!err && s->slirp)
		err = slirp_entrances_serve(&s->entrances, &s->poll);
	return err;
}

static int slirp_forwards(struct net_backend *b, bool serve)
{
	struct net_slirp *s = from_base(b);
	int err = 0;
	if (!s->forwards)
		return -ENOTSUP;
	if (serve)
		err = serve_forwards(s);
	else
		slirp_entrances_clear(&s->entrances, &s->poll);
	slirp_poll_touch(&s->poll);
	return err;
}

static void slirp_destroy(struct net_backend *b)
{
	struct net_slirp *s = from_base(b);
	stop(s);
	slirp_poll_fini(&s->poll);
	slirp_entrances_fini(&s->entrances);
	free(s);
}

static const struct net_backend_ops slirp_ops = {
	.name = "user",
	.send = slirp_send,
	.wake = slirp_wake,
	.reset = slirp_reset,
	.forwards = slirp_forwards,
	.destroy = slirp_destroy,
};

static int apply_config(struct net_slirp *s, const struct slirp_config *cfg)
{
	uint32_t mtu = cfg->mtu_bytes ? cfg->mtu_bytes : NET_MTU_MAX;
	if (mtu < MTU_MIN || mtu > NET_MTU_MAX) {
		log_error("an MTU of %u bytes: choose one from %d to %d", mtu, MTU_MIN,
			  NET_MTU_MAX);
		return -EINVAL;
	}
	if (cfg->n_loopback_ports > GUARD_PORTS_MAX) {
		log_error("--host-loopback: at most %d ports; without a port it means all of them",
			  GUARD_PORTS_MAX);
		return -EINVAL;
	}
	s->base.mtu_bytes = s->guard.mtu_bytes = mtu;
	memcpy(s->base.guest_mac, guest_mac, sizeof(guest_mac));
	s->restricted = cfg->restricted;
	s->guard.loopback_all = cfg->loopback_all;
	s->guard.n_ports = cfg->n_loopback_ports;
	for (unsigned int i = 0; i < cfg->n_loopback_ports; i++)
		s->guard.ports[i] = cfg->loopback_ports[i];
	s->deny_loopback = !cfg->loopback_all && !cfg->n_loopback_ports;
	if (cfg->hostname)
		snprintf(s->hostname, sizeof(s->hostname), "%s", cfg->hostname);
	return 0;
}

int slirp_create(struct loop *loop, const struct slirp_config *cfg, struct net_backend **out)
{
	struct net_slirp *s = calloc(1, sizeof(*s));
	if (!s) {
		log_error("network: no memory");
		return -ENOMEM;
	}
	s->base.ops = &slirp_ops;
	s->loop = loop;
	s->forwards = cfg->forwards;
	slirp_entrances_init(&s->entrances);
	list_init(&s->queue);
	slirp_poll_init(&s->poll, loop, &s->base);
	int err = slirp_lib_load(&s->poll.lib);
	err = err ? err : apply_config(s, cfg);
	if (!err && cfg->forwards) {
		err = slirp_entrances_add(&s->entrances, &s->poll, cfg->forwards);
		if (err)
			log_error("network: cannot serve the forwards: %s", strerror(-err));
		if (s->entrances.any_udp)
			s->deny_loopback = false; /* libslirp would not let answers out */
	}
	if (!err)
		err = start(s);
	if (err) {
		slirp_destroy(&s->base);
		return err;
	}
	*out = &s->base;
	return 0;
}
