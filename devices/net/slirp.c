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
 * Memory. libslirp keeps each segment that comes too early, and each fragment, in a buffer of the size of
 * the MTU, as many as the guest likes to send; nothing of its interface says so. So now and then we look at
 * what the whole process has allocated, and if that is beyond all reason, the network is reset.
 *
 * Until the guest has shown its address, no client is accepted: it waits in the backlog and not in
 * libslirp, which would give up on it before a slow guest has booted.
 *
 * The way to the guest, and the rest that libslirp calls, is in slirp_callbacks.c.
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
#include "devices/net/slirp_int.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"

enum {
	MTU_MIN = 1280, /* RFC 8200, 5 */
	FRAME_MIN = 14,
	HOARD_CHECK_FRAMES = 4096,
};

/* What the process may have allocated: for all else, and for each flow's buffers. */
#define HOARD_BASE     (512 * MIB)
#define HOARD_PER_FLOW MIB

/* All forks of a machine keep the same, as nobody else is in their network. */
static const uint8_t guest_mac[6] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

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
	slirp_drop_queue(s);
}

/* -> 0, or -errno with one line logged. */
static int start(struct net_slirp *s)
{
	SlirpConfig cfg;
	fill_config(s, &cfg);
	s->slirp = s->poll.lib.new(&cfg, &slirp_callbacks, s);
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
