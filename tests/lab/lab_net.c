/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections through one virtio port.
 *
 * How it works
 *   A connection is a struct chan on either side, with the same number; the
 * host, which accepts, gives the numbers and never gives one twice. Frames,
 * each a head and perhaps bytes: OPEN (host only), DATA, FIN (no more bytes
 * from here: half-close), RESET, CREDIT. Each side may have NET_WINDOW_BYTES in
 * flight per connection; the receiver returns credit when bytes have reached
 * its socket. So a reader that stalls never holds up another one. All
 * descriptors are in one epoll set; those for which nothing is to be done are
 * not in it, since a socket that was shut on both sides would report EPOLLHUP
 * for ever.
 *
 * Limits: NET_CHANS_MAX connections; more are refused.
 */
#include "lab_net.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	NET_WINDOW_BYTES = 256 << 10,
	NET_FRAME_BYTES = 16 << 10, /* the most in one DATA frame */
	NET_TX_BYTES = 128 << 10,   /* sockets are not read while more than this waits */
	NET_RX_BYTES = 64 << 10,
	NET_CHANS_MAX = 512,
	NET_LISTENERS_MAX = 256,
	NET_EVENTS = 64,
};

enum frame_type {
	FRAME_OPEN = 1, /* struct lab_listen: where to */
	FRAME_DATA,
	FRAME_FIN,
	FRAME_RESET,
	FRAME_CREDIT, /* len_bytes is the credit, no bytes follow */
};

struct frame {
	uint32_t type;
	uint32_t id;
	uint32_t len_bytes;
};

enum watched_kind {
	WATCHED_PORT,
	WATCHED_LISTENER,
	WATCHED_CHAN,
};

/* First member of whatever is in the epoll set. */
struct watched {
	enum watched_kind kind;
	int fd;
	uint32_t events; /* as registered; 0: not in the set */
};

struct listener {
	struct watched w;
	struct lab_listen at;
};

struct chan {
	struct watched w;
	uint32_t id;
	bool connecting;
	bool fin_sent; /* the socket's bytes have ended */
	bool fin_got;  /* the peer's bytes have ended */
	bool shut;     /* and the socket was told */
	bool dead;     /* freed at the end of the turn */
	size_t credit_bytes;
	size_t off;
	size_t len_bytes;
	uint8_t *buf; /* NET_WINDOW_BYTES for the socket */
	struct chan *next;
};

struct lab_net {
	int epoll;
	struct watched port;
	uint32_t last_id;
	size_t chan_count;
	struct chan *chans;
	struct listener *listeners[NET_LISTENERS_MAX];
	uint8_t *tx;
	size_t tx_off;
	size_t tx_bytes;
	size_t tx_cap_bytes;
	size_t rx_bytes;
	uint8_t rx[NET_RX_BYTES];
};

/* --- interest --- */

static void watch(struct lab_net *net, struct watched *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->events == events)
		return;
	if (!events)
		epoll_ctl(net->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	else
		epoll_ctl(net->epoll, w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &ev);
	w->events = events;
}

static void chan_watch(struct lab_net *net, struct chan *c)
{
	uint32_t events = 0;

	if (c->dead)
		return;
	if (c->connecting || c->len_bytes)
		events |= EPOLLOUT;
	if (!c->connecting && !c->fin_sent && c->credit_bytes && net->tx_bytes < NET_TX_BYTES)
		events |= EPOLLIN;
	watch(net, &c->w, events);
}

/* --- to the port --- */

static void tx_put(struct lab_net *net, const void *data, size_t len_bytes)
{
	if (net->tx_off) {
		memmove(net->tx, net->tx + net->tx_off, net->tx_bytes);
		net->tx_off = 0;
	}
	if (net->tx_bytes + len_bytes > net->tx_cap_bytes) {
		net->tx_cap_bytes = 2 * (net->tx_bytes + len_bytes);
		net->tx = realloc(net->tx, net->tx_cap_bytes);
		if (!net->tx)
			abort();
	}
	memcpy(net->tx + net->tx_bytes, data, len_bytes);
	net->tx_bytes += len_bytes;
}

static void frame_put(struct lab_net *net, enum frame_type type, uint32_t id, const void *data,
		      size_t len_bytes)
{
	struct frame head = { .type = type, .id = id, .len_bytes = (uint32_t)len_bytes };

	tx_put(net, &head, sizeof(head));
	if (data)
		tx_put(net, data, len_bytes);
	watch(net, &net->port, EPOLLIN | EPOLLOUT);
}

static void port_write(struct lab_net *net)
{
	ssize_t done = write(net->port.fd, net->tx + net->tx_off, net->tx_bytes);

	if (done <= 0)
		return;
	net->tx_off += (size_t)done;
	net->tx_bytes -= (size_t)done;
	if (!net->tx_bytes) {
		net->tx_off = 0;
		watch(net, &net->port, EPOLLIN);
	}
	for (struct chan *c = net->chans; c; c = c->next)
		chan_watch(net, c);
}

/* --- connections --- */

static struct chan *chan_new(struct lab_net *net, int fd, uint32_t id)
{
	struct chan *c = calloc(1, sizeof(*c));
	uint8_t *buf = malloc(NET_WINDOW_BYTES);
	int on = 1;

	if (!c || !buf || net->chan_count >= NET_CHANS_MAX) {
		free(c);
		free(buf);
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->w = (struct watched){ .kind = WATCHED_CHAN, .fd = fd };
	c->id = id;
	c->buf = buf;
	c->credit_bytes = NET_WINDOW_BYTES;
	c->next = net->chans;
	net->chans = c;
	net->chan_count++;
	return c;
}

static struct chan *chan_find(struct lab_net *net, uint32_t id)
{
	for (struct chan *c = net->chans; c; c = c->next) {
		if (c->id == id && !c->dead)
			return c;
	}
	return NULL;
}

static void chan_close(struct lab_net *net, struct chan *c)
{
	watch(net, &c->w, 0);
	close(c->w.fd);
	c->dead = true;
}

/* Ends it at once on this side, so that the socket's peer sees a reset, too. */
static void chan_abort(struct lab_net *net, struct chan *c)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(c->w.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	chan_close(net, c);
}

static void chan_fail(struct lab_net *net, struct chan *c)
{
	frame_put(net, FRAME_RESET, c->id, NULL, 0);
	chan_abort(net, c);
}

static void chans_sweep(struct lab_net *net)
{
	struct chan **link = &net->chans;

	while (*link) {
		struct chan *c = *link;

		if (!c->dead) {
			link = &c->next;
			continue;
		}
		*link = c->next;
		free(c->buf);
		free(c);
		net->chan_count--;
	}
}

static void chan_settle(struct lab_net *net, struct chan *c)
{
	if (c->fin_got && !c->len_bytes && !c->shut && !c->connecting) {
		shutdown(c->w.fd, SHUT_WR);
		c->shut = true;
	}
	if (c->fin_sent && c->shut)
		chan_close(net, c);
	else
		chan_watch(net, c);
}

static void chan_read(struct lab_net *net, struct chan *c)
{
	uint8_t data[NET_FRAME_BYTES];
	size_t want_bytes = c->credit_bytes < sizeof(data) ? c->credit_bytes : sizeof(data);
	ssize_t got = read(c->w.fd, data, want_bytes);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < 0) {
		chan_fail(net, c);
		return;
	}
	if (!got) {
		c->fin_sent = true;
		frame_put(net, FRAME_FIN, c->id, NULL, 0);
		return;
	}
	c->credit_bytes -= (size_t)got;
	frame_put(net, FRAME_DATA, c->id, data, (size_t)got);
}

static void chan_write(struct lab_net *net, struct chan *c)
{
	ssize_t done = send(c->w.fd, c->buf + c->off, c->len_bytes, MSG_NOSIGNAL);

	if (done < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (done < 0) {
		chan_fail(net, c);
		return;
	}
	c->off += (size_t)done;
	c->len_bytes -= (size_t)done;
	frame_put(net, FRAME_CREDIT, c->id, NULL, (size_t)done);
}

static void chan_connected(struct lab_net *net, struct chan *c)
{
	int error = 0;
	socklen_t len_bytes = sizeof(error);

	getsockopt(c->w.fd, SOL_SOCKET, SO_ERROR, &error, &len_bytes);
	c->connecting = false;
	if (error)
		chan_fail(net, c);
}

static void chan_turn(struct lab_net *net, struct chan *c, uint32_t events)
{
	if (c->dead)
		return;
	if (c->connecting)
		chan_connected(net, c);
	else if (c->len_bytes && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		chan_write(net, c);
	if (!c->dead && c->w.events & EPOLLIN && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		chan_read(net, c);
	if (!c->dead)
		chan_settle(net, c);
}

/* --- from the port --- */

static socklen_t address_of(const struct lab_listen *at, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *six = (void *)ss;
	struct sockaddr_in *four = (void *)ss;

	memset(ss, 0, sizeof(*ss));
	if (at->is_v6) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons((uint16_t)at->port);
		memcpy(&six->sin6_addr, at->addr, 16);
		return sizeof(*six);
	}
	four->sin_family = AF_INET;
	four->sin_port = htons((uint16_t)at->port);
	memcpy(&four->sin_addr, at->addr, 4);
	return sizeof(*four);
}

static void open_got(struct lab_net *net, uint32_t id, const struct lab_listen *to)
{
	struct sockaddr_storage ss;
	socklen_t len_bytes = address_of(to, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct chan *c = fd < 0 ? NULL : chan_new(net, fd, id);

	if (!c) {
		frame_put(net, FRAME_RESET, id, NULL, 0);
		if (fd >= 0)
			close(fd);
		return;
	}
	c->connecting = true;
	if (connect(fd, (void *)&ss, len_bytes) && errno != EINPROGRESS)
		chan_fail(net, c);
	else
		chan_watch(net, c);
}

static void data_got(struct lab_net *net, struct chan *c, const uint8_t *data, size_t len_bytes)
{
	if (c->len_bytes + len_bytes > NET_WINDOW_BYTES) {
		chan_fail(net, c);
		return;
	}
	memmove(c->buf, c->buf + c->off, c->len_bytes);
	c->off = 0;
	memcpy(c->buf + c->len_bytes, data, len_bytes);
	c->len_bytes += len_bytes;
	if (!c->connecting)
		chan_write(net, c);
}

static void frame_got(struct lab_net *net, const struct frame *head, const uint8_t *data)
{
	struct chan *c = chan_find(net, head->id);
	struct lab_listen to;

	if (head->type == FRAME_OPEN && head->len_bytes == sizeof(to)) {
		memcpy(&to, data, sizeof(to));
		open_got(net, head->id, &to);
		return;
	}
	if (!c) /* closed here while the frame was under way */
		return;
	switch (head->type) {
	case FRAME_DATA: data_got(net, c, data, head->len_bytes); break;
	case FRAME_FIN: c->fin_got = true; break;
	case FRAME_RESET: chan_abort(net, c); break;
	case FRAME_CREDIT: c->credit_bytes += head->len_bytes; break;
	}
	if (!c->dead)
		chan_settle(net, c);
}

static void port_read(struct lab_net *net)
{
	ssize_t got = read(net->port.fd, net->rx + net->rx_bytes, NET_RX_BYTES - net->rx_bytes);
	struct frame head;
	size_t off = 0;

	if (got <= 0) {
		if (!got) /* the other side has gone, and with it all of us */
			watch(net, &net->port, 0);
		return;
	}
	net->rx_bytes += (size_t)got;
	while (net->rx_bytes - off >= sizeof(head)) {
		size_t data_bytes;

		memcpy(&head, net->rx + off, sizeof(head));
		data_bytes = head.type == FRAME_CREDIT ? 0 : head.len_bytes;
		if (net->rx_bytes - off - sizeof(head) < data_bytes)
			break;
		frame_got(net, &head, net->rx + off + sizeof(head));
		off += sizeof(head) + data_bytes;
	}
	net->rx_bytes -= off;
	memmove(net->rx, net->rx + off, net->rx_bytes);
}

/* --- listening --- */

static void listener_accept(struct lab_net *net, struct listener *l)
{
	int fd = accept4(l->w.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct chan *c;

	if (fd < 0)
		return;
	c = chan_new(net, fd, ++net->last_id);
	if (!c) {
		close(fd);
		return;
	}
	frame_put(net, FRAME_OPEN, c->id, &l->at, sizeof(l->at));
	chan_watch(net, c);
}

static int listener_bind(const struct lab_listen *at)
{
	struct sockaddr_storage ss;
	socklen_t len_bytes = address_of(at, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;
	int rc;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (at->is_v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (void *)&ss, len_bytes) || listen(fd, 128)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int lab_net_listen(struct lab_net *net, const struct lab_listen *at)
{
	struct listener *l;
	int fd;

	for (int i = 0; i < NET_LISTENERS_MAX; i++) {
		if (net->listeners[i])
			continue;
		fd = listener_bind(at);
		if (fd < 0)
			return fd;
		l = calloc(1, sizeof(*l));
		if (!l) {
			close(fd);
			return -ENOMEM;
		}
		l->w = (struct watched){ .kind = WATCHED_LISTENER, .fd = fd };
		l->at = *at;
		net->listeners[i] = l;
		watch(net, &l->w, EPOLLIN);
		return 0;
	}
	return -ENOSPC;
}

void lab_net_unlisten(struct lab_net *net, const struct lab_listen *at)
{
	for (int i = 0; i < NET_LISTENERS_MAX; i++) {
		struct listener *l = net->listeners[i];

		if (!l || memcmp(&l->at, at, sizeof(*at)))
			continue;
		watch(net, &l->w, 0);
		close(l->w.fd);
		free(l);
		net->listeners[i] = NULL;
	}
}

/* --- life --- */

struct lab_net *lab_net_new(int port)
{
	struct lab_net *net = calloc(1, sizeof(*net));

	if (!net)
		return NULL;
	net->epoll = epoll_create1(EPOLL_CLOEXEC);
	net->port = (struct watched){ .kind = WATCHED_PORT, .fd = port };
	watch(net, &net->port, EPOLLIN);
	return net;
}

int lab_net_fd(const struct lab_net *net)
{
	return net->epoll;
}

/* Only connections are freed while events are at hand, and those at the end of
 * the turn. */
void lab_net_turn(struct lab_net *net)
{
	struct epoll_event ev[NET_EVENTS];
	int count = epoll_wait(net->epoll, ev, NET_EVENTS, 0);

	for (int i = 0; i < count; i++) {
		struct watched *w = ev[i].data.ptr;

		switch (w->kind) {
		case WATCHED_PORT:
			if (ev[i].events & EPOLLOUT)
				port_write(net);
			if (ev[i].events & (EPOLLIN | EPOLLHUP))
				port_read(net);
			break;
		case WATCHED_LISTENER: listener_accept(net, (struct listener *)w); break;
		case WATCHED_CHAN: chan_turn(net, (struct chan *)w, ev[i].events); break;
		}
	}
	chans_sweep(net);
}
