/* SPDX-License-Identifier: Apache-2.0 */
/* How a client of an IPv6 address reaches a guest's IPv4 port. */
/*
 * How it works. "localhost" is ::1 first for most programs, but libslirp forwards an IPv6 listener
 * only to an IPv6 address of the guest's, which the guest may not have (yet), and on which its
 * server may not listen. So the client is brought in by another door:
 *
 *     client -> [::1]:2234        accepted here: the client's socket
 *     knock  -> 127.0.0.1:2234    a connection of our own to libslirp's listener
 *     libslirp accepts the knock, and tells the number of the new socket before it uses it
 *     the client's socket takes that number (dup3): from now on libslirp talks to the client
 *
 * libslirp's accept is known for ours by the port that it came from, which is the knock's alone as
 * long as the knock is open. It stays open while the connection lives, so that its port, by which
 * the guest knows the connection, is not given to another. A connection costs six system calls more
 * than one to 127.0.0.1, its bytes cost the same.
 */
#include "devices/net/doorway.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net/forward.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

enum { WAITING_MAX = 64 };

struct door {
	struct loop_fd src;
	struct doorways *all;
	struct sockaddr_in to;
	bool own;
	struct list link;
};

struct door_client {
	int client; /* -1 once libslirp has it */
	int knock;
	int fd;			 /* libslirp's number for it, once it has it */
	struct sockaddr_in from; /* the knock's address */
	struct list link;
};

static void watch(struct door *door)
{
	int err = loop_fd_add(door->all->loop, &door->src);
	if (err)
		log_error("network: cannot watch a forward on IPv6: %s", strerror(-err));
}

static void watch_doors(struct doorways *d)
{
	bool let_in_more = d->open && d->n_waiting < WAITING_MAX;
	struct list *pos;
	list_for_each (pos, &d->doors) {
		struct door *door = list_entry(pos, struct door, link);
		if (!let_in_more)
			loop_fd_remove(d->loop, &door->src);
		else if (!door->src.added)
			watch(door);
	}
}

static void free_client(struct door_client *c)
{
	list_del(&c->link);
	if (c->client >= 0)
		close(c->client);
	close(c->knock);
	free(c);
}

/* Connects to @to; *@from is where that comes from. -> a socket, or -errno. */
static int knock_at(const struct sockaddr_in *to, struct sockaddr_in *from)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*from);
	if (fd < 0)
		return -errno;
	if ((connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS) ||
	    getsockname(fd, (struct sockaddr *)from, &len) < 0) {
		int err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static int let_in(struct door *door, int client)
{
	struct doorways *d = door->all;
	struct door_client *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->client = client;
	c->fd = -1;
	c->knock = knock_at(&door->to, &c->from);
	if (c->knock < 0) {
		int err = c->knock;
		free(c);
		return err;
	}
	list_add_tail(&d->waiting, &c->link);
	d->n_waiting++;
	return 0;
}

static void on_client(void *opaque, uint32_t events)
{
	struct door *door = opaque;
	struct doorways *d = door->all;
	(void)events;
	int client = accept4(door->src.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int err = client < 0 ? -errno : let_in(door, client);
	if (err && client >= 0)
		close(client);
	if (err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -ENOBUFS)
		doorways_set_open(d, false); /* until something else has happened */
	else
		watch_doors(d);
}

/* A stranger came to a listener that is there for knocks only. */
static bool is_stranger(const struct doorways *d, int fd)
{
	struct sockaddr_in here;
	socklen_t len = sizeof(here);
	bool own = false;
	const struct list *pos;
	list_for_each (pos, &d->doors)
		own |= list_entry(pos, struct door, link)->own;
	if (!own || getsockname(fd, (struct sockaddr *)&here, &len) < 0 || len != sizeof(here) ||
	    here.sin_family != AF_INET)
		return false;
	list_for_each (pos, &d->doors) {
		const struct door *door = list_entry(pos, const struct door, link);
		if (door->own && door->to.sin_port == here.sin_port &&
		    door->to.sin_addr.s_addr == here.sin_addr.s_addr)
			return true;
	}
	return false;
}

static struct door_client *find_waiting(struct doorways *d, int fd)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	if (list_empty(&d->waiting) || getpeername(fd, (struct sockaddr *)&from, &len) < 0 ||
	    len != sizeof(from))
		return NULL;
	struct list *pos;
	list_for_each (pos, &d->waiting) {
		struct door_client *c = list_entry(pos, struct door_client, link);
		if (c->from.sin_port == from.sin_port &&
		    c->from.sin_addr.s_addr == from.sin_addr.s_addr)
			return c;
	}
	return NULL;
}

void doorways_opened(struct doorways *d, int fd)
{
	struct door_client *c = find_waiting(d, fd);
	if (!c) {
		if (is_stranger(d, fd))
			shutdown(fd, SHUT_RDWR);
		return;
	}
	list_del(&c->link);
	d->n_waiting--;
	watch_doors(d);
	if (dup3(c->client, fd, O_CLOEXEC) < 0) {
		shutdown(fd, SHUT_RDWR);
		free_client(c);
		return;
	}
	close(c->client);
	c->client = -1;
	c->fd = fd;
	list_add_tail(&d->inside, &c->link);
}

void doorways_closed(struct doorways *d, int fd)
{
	struct list *pos, *tmp;
	list_for_each_safe (pos, tmp, &d->inside) {
		struct door_client *c = list_entry(pos, struct door_client, link);
		if (c->fd == fd)
			free_client(c);
	}
}

int doorways_add(struct doorways *d, const struct forward *f, const struct sockaddr_in *to,
		 bool own)
{
	struct door *door = calloc(1, sizeof(*door));
	if (!door)
		return -ENOMEM;
	door->all = d;
	door->to = *to;
	door->own = own;
	door->src =
		(struct loop_fd){ .fd = f->fd, .events = EPOLLIN, .fn = on_client, .opaque = door };
	list_add_tail(&d->doors, &door->link);
	watch_doors(d);
	return 0;
}

void doorways_set_open(struct doorways *d, bool open)
{
	if (d->open == open)
		return;
	d->open = open;
	watch_doors(d);
}

void doorways_init(struct doorways *d, struct loop *loop)
{
	*d = (struct doorways){ .loop = loop };
	list_init(&d->doors);
	list_init(&d->waiting);
	list_init(&d->inside);
}

void doorways_clear(struct doorways *d)
{
	struct list *pos, *tmp;
	list_for_each_safe (pos, tmp, &d->doors) {
		struct door *door = list_entry(pos, struct door, link);
		loop_fd_remove(d->loop, &door->src);
		list_del(&door->link);
		free(door);
	}
	list_for_each_safe (pos, tmp, &d->waiting)
		free_client(list_entry(pos, struct door_client, link));
	d->n_waiting = 0;
}

void doorways_fini(struct doorways *d)
{
	struct list *pos, *tmp;
	doorways_set_open(d, false);
	doorways_clear(d);
	list_for_each_safe (pos, tmp, &d->inside)
		free_client(list_entry(pos, struct door_client, link));
}
