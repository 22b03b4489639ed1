/* SPDX-License-Identifier: Apache-2.0 */
/* How a datagram to an IPv6 address reaches a guest's IPv4 port. */
/*
 * How it works. As for TCP (doorway.c), libslirp would want an IPv6 address of the guest's, and it
 * crashes on a datagram that comes before there is one. A datagram has no connection that could be
 * handed over, so it is passed on: each peer has a socket of its own, connected to the forward on
 * 127.0.0.1, by whose port the answers find back. The peers least recently heard of make room for
 * new ones.
 */
#include "devices/net/udp_relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net/forward.h"
#include "vmm/base/list.h"
#include "vmm/core/loop.h"

enum {
	PEERS_MAX = 32,
	AT_ONCE = 16, /* datagrams taken before the loop goes on */
	DATAGRAM_MAX = 65536,
};

struct relay_peer {
	struct udp_relay *relay;
	struct sockaddr_in6 addr;
	struct loop_fd src; /* towards libslirp */
	struct list link;
};

struct udp_relay {
	struct loop *loop;
	struct loop_fd src; /* the forward's */
	struct sockaddr_in to;
	struct list peers; /* the last heard of first */
	unsigned int n_peers;
	uint8_t datagram[DATAGRAM_MAX];
};

static void free_peer(struct relay_peer *p)
{
	loop_fd_remove(p->relay->loop, &p->src);
	close(p->src.fd);
	list_del(&p->link);
	p->relay->n_peers--;
	free(p);
}

/* The way back. What fails is lost, as datagrams are. */
static void on_answer(void *opaque, uint32_t events)
{
	struct relay_peer *p = opaque;
	struct udp_relay *r = p->relay;
	(void)events;
	for (int i = 0; i < AT_ONCE; i++) {
		ssize_t n = recv(p->src.fd, r->datagram, sizeof(r->datagram), 0);
		if (n < 0)
			break;
		sendto(r->src.fd, r->datagram, (size_t)n, 0, (struct sockaddr *)&p->addr,
		       sizeof(p->addr));
	}
}

static struct relay_peer *find_peer(struct udp_relay *r, const struct sockaddr_in6 *addr)
{
	struct list *pos;
	list_for_each (pos, &r->peers) {
		struct relay_peer *p = list_entry(pos, struct relay_peer, link);
		if (p->addr.sin6_port == addr->sin6_port &&
		    p->addr.sin6_scope_id == addr->sin6_scope_id &&
		    !memcmp(&p->addr.sin6_addr, &addr->sin6_addr, sizeof(addr->sin6_addr)))
			return p;
	}
	return NULL;
}

static struct relay_peer *add_peer(struct udp_relay *r, const struct sockaddr_in6 *addr)
{
	struct relay_peer *p = calloc(1, sizeof(*p));
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (!p || fd < 0 || connect(fd, (const struct sockaddr *)&r->to, sizeof(r->to)) < 0)
		goto out_free;
	p->relay = r;
	p->addr = *addr;
	p->src = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = on_answer, .opaque = p };
	if (loop_fd_add(r->loop, &p->src))
		goto out_free;
	if (r->n_peers == PEERS_MAX)
		free_peer(list_entry(r->peers.prev, struct relay_peer, link));
	list_add_head(&r->peers, &p->link);
	r->n_peers++;
	return p;
out_free:
	if (fd >= 0)
		close(fd);
	free(p);
	return NULL;
}

static void on_datagram(void *opaque, uint32_t events)
{
	struct udp_relay *r = opaque;
	(void)events;
	for (int i = 0; i < AT_ONCE; i++) {
		struct sockaddr_in6 from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(r->src.fd, r->datagram, sizeof(r->datagram), 0,
				     (struct sockaddr *)&from, &len);
		if (n < 0)
			break;
		struct relay_peer *p = find_peer(r, &from);
		if (!p)
			p = add_peer(r, &from);
		if (!p)
			continue;
		list_del(&p->link);
		list_add_head(&r->peers, &p->link);
		send(p->src.fd, r->datagram, (size_t)n, 0);
	}
}

int udp_relay_create(struct loop *loop, const struct forward *f, const struct sockaddr_in *to,
		     struct udp_relay **out)
{
	struct udp_relay *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->to = *to;
	list_init(&r->peers);
	r->src = (struct loop_fd){ .fd = f->fd, .events = EPOLLIN, .fn = on_datagram, .opaque = r };
	int err = loop_fd_add(loop, &r->src);
	if (err) {
		free(r);
		return err;
	}
	*out = r;
	return 0;
}

void udp_relay_destroy(struct udp_relay *r)
{
	struct list *pos, *tmp;
	list_for_each_safe (pos, tmp, &r->peers)
		free_peer(list_entry(pos, struct relay_peer, link));
	loop_fd_remove(r->loop, &r->src);
	free(r);
}
