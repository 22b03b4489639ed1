/* SPDX-License-Identifier: Apache-2.0 */
/* Where clients of the forwards come in. */
/*
 * How it works. libslirp insists on making its listeners itself. It makes one at a port that does
 * not matter, and the bound socket of the forward takes its number (slirp_poll_adopt_listener()).
 * So a port is bound once, for as long as the machine lives, with a proper backlog, and a reset
 * replaces all of libslirp beneath it.
 *
 * libslirp listens on IPv4 only. Clients of an IPv6 address are led to the forward on 127.0.0.1
 * that has the same port of the guest, by doorway.c (TCP) or udp_relay.c; where there is none, to a
 * listener made here for that.
 */
#include "devices/net/slirp_entrances.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net/forward.h"
#include "devices/net/slirp.h"
#include "devices/net/slirp_poll.h"
#include "devices/net/udp_relay.h"

struct listener {
	struct list link;
	bool udp;
	bool own; /* made here, for clients of IPv6 */
	uint16_t guest_port;
	struct sockaddr_in addr;
	int fd;
};

struct relay {
	struct list link;
	struct udp_relay *relay;
};

static struct listener *add_listener(struct slirp_entrances *e, bool udp, int fd,
				     uint16_t guest_port)
{
	struct listener *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->udp = udp;
	l->fd = fd;
	l->guest_port = guest_port;
	list_add_tail(&e->listeners, &l->link);
	return l;
}

/* A listener of our own on 127.0.0.1, where no forward is, for clients of IPv6. */
static int own_listener(struct slirp_entrances *e, bool udp, uint16_t guest_port,
			struct listener **out)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(addr);
	int type = (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int fd = socket(AF_INET, type, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 || (!udp && listen(fd, SOMAXCONN) < 0) ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0) {
		int err = -errno;
		close(fd);
		return err;
	}
	*out = add_listener(e, udp, fd, guest_port);
	if (!*out) {
		close(fd);
		return -ENOMEM;
	}
	(*out)->own = true;
	(*out)->addr = addr;
	return 0;
}

/* The listener on 127.0.0.1 that leads to the same port of the guest. */
static struct listener *find_way(struct slirp_entrances *e, bool udp, uint16_t guest_port)
{
	struct list *pos;
	list_for_each (pos, &e->listeners) {
		struct listener *l = list_entry(pos, struct listener, link);
		uint32_t ip = ntohl(l->addr.sin_addr.s_addr);
		if (l->udp == udp && l->guest_port == guest_port &&
		    (ip == INADDR_LOOPBACK || ip == INADDR_ANY))
			return l;
	}
	return NULL;
}

static int add_relay(struct slirp_entrances *e, struct loop *loop, const struct forward *f,
		     const struct sockaddr_in *to)
{
	struct relay *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	int err = udp_relay_create(loop, f, to, &r->relay);
	if (err)
		free(r);
	else
		list_add_tail(&e->relays, &r->link);
	return err;
}

static int add_ipv6_forward(struct slirp_entrances *e, struct slirp_poll *p,
			    const struct forward *f)
{
	struct listener *way = find_way(e, f->udp, f->guest_port);
	if (!way) {
		int err = own_listener(e, f->udp, f->guest_port, &way);
		if (err)
			return err;
	}
	struct sockaddr_in to = way->addr;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (f->udp)
		return add_relay(e, p->loop, f, &to);
	return doorways_add(&p->doors, f, &to, way->own);
}

static int add_ipv4_forward(struct slirp_entrances *e, const struct forward *f)
{
	struct listener *l = add_listener(e, f->udp, f->fd, f->guest_port);
	if (!l)
		return -ENOMEM;
	memcpy(&l->addr, &f->addr, sizeof(l->addr));
	return 0;
}

/* IPv4 first: the way of the others leads there. */
int slirp_entrances_add(struct slirp_entrances *e, struct slirp_poll *p,
			const struct forward_list *forwards)
{
	const struct list *pos;
	int err = 0;
	list_for_each (pos, &forwards->head) {
		const struct forward *f = list_entry(pos, const struct forward, link);
		e->any_udp |= f->udp;
		if (!err && f->addr.ss_family == AF_INET)
			err = add_ipv4_forward(e, f);
	}
	list_for_each (pos, &forwards->head) {
		const struct forward *f = list_entry(pos, const struct forward, link);
		if (!err && f->addr.ss_family == AF_INET6)
			err = add_ipv6_forward(e, p, f);
	}
	return err;
}

/* ---- in each life of libslirp's ---- */

/* Has libslirp listen on @l. -> 0 or -errno. */
static int serve_listener(struct slirp_poll *p, const struct listener *l)
{
	struct in_addr loopback = { .s_addr = htonl(INADDR_LOOPBACK) };
	struct in_addr guest = { .s_addr = htonl(SLIRP_IP4_GUEST) };
	slirp_poll_before_listener(p);
	if (p->lib.add_hostfwd(p->slirp, l->udp, loopback, 0, guest, l->guest_port) < 0)
		return errno ? -errno : -EIO;
	return slirp_poll_adopt_listener(p, l->fd);
}

int slirp_entrances_serve(const struct slirp_entrances *e, struct slirp_poll *p)
{
	int err = 0;
	const struct list *pos;
	list_for_each (pos, &e->listeners)
		if (!err)
			err = serve_listener(p, list_entry(pos, const struct listener, link));
	return err;
}

/* libslirp closes its own number of the socket; the forward's stays open. */
void slirp_entrances_clear(struct slirp_entrances *e, struct slirp_poll *p)
{
	const struct list *pos;
	list_for_each (pos, &e->listeners) {
		const struct listener *l = list_entry(pos, const struct listener, link);
		if (p->slirp)
			p->lib.remove_hostfwd(p->slirp, l->udp, l->addr.sin_addr,
					      ntohs(l->addr.sin_port));
	}
	doorways_clear(&p->doors);
	slirp_entrances_fini(e);
	slirp_entrances_init(e);
}

void slirp_entrances_init(struct slirp_entrances *e)
{
	e->any_udp = false;
	list_init(&e->listeners);
	list_init(&e->relays);
}

void slirp_entrances_fini(struct slirp_entrances *e)
{
	struct list *pos, *tmp;
	list_for_each_safe (pos, tmp, &e->relays) {
		struct relay *r = list_entry(pos, struct relay, link);
		udp_relay_destroy(r->relay);
		free(r);
	}
	list_for_each_safe (pos, tmp, &e->listeners) {
		struct listener *l = list_entry(pos, struct listener, link);
		if (l->own)
			close(l->fd);
		free(l);
	}
}
