/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: who may come in, and how many. */
/*
 * How it works. Only this user's processes are let in: the socket's mode says so, and SO_PEERCRED of each client.
 * When all places are taken, the client that has been silent for longest without a call under way has to go, so that
 * whoever holds connections open keeps nobody out.
 */
#include "vmm/control/control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/control/control_path.h"
#include "vmm/control/control_priv.h"

enum { BACKLOG = 128 };
#define ACCEPT_RETRY_NS NS_PER_S

/* ---- clients ---- */

static bool is_mine(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) && peer.uid == getuid();
}

/* A free place, if need be that of the one who was silent for longest. false: all have calls under way. */
static bool find_place(struct control *c)
{
	struct list *pos;
	if (c->nconns < CONTROL_CLIENTS_MAX)
		return true;
	list_for_each (pos, &c->conns) {
		struct control_conn *conn = list_entry(pos, struct control_conn, link);
		if (conn->call)
			continue;
		control_conn_destroy(conn);
		return true;
	}
	return false;
}

static void turn_away(int fd)
{
	static const char text[] =
		"{\"id\":null,\"error\":{\"status\":1,\"message\":\"too many clients are waiting "
		"for this machine; try again\"}}\n";
	if (send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		/* It has left already. */
	}
	close(fd);
}

static void welcome(struct control *c, int fd)
{
	if (!is_mine(fd))
		close(fd);
	else if (!find_place(c))
		turn_away(fd);
	else if (control_conn_create(c, fd))
		close(fd);
}

static void on_accept(void *opaque, uint32_t events)
{
	struct control *c = opaque;
	(void)events;
	int fd = accept4(c->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		welcome(c, fd);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_warn("control socket %s: accept: %s", c->cfg.path, strerror(errno));
	loop_fd_modify(c->loop, &c->listener, 0);
	loop_timer_arm(c->loop, &c->listen_again, clock_now_ns() + ACCEPT_RETRY_NS);
}

static void on_listen_again(void *opaque)
{
	struct control *c = opaque;
	loop_fd_modify(c->loop, &c->listener, EPOLLIN);
}

/* ---- the listener ---- */

/* Whoever has the machine's record locked owns the name, so a socket that is there is a dead process's. */
static int clear_place(const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return 0; /* bind(2) knows better what is wrong, if anything is */
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	return unlink(path) < 0 ? -errno : 0;
}

/* -> the listening descriptor or -errno. */
static int listen_at(const char *path)
{
	struct control_addr addr;
	int err = clear_place(path);
	err = err ? err : control_addr_of(&addr, path);
	if (err)
		return err;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of an unbound socket becomes that of its file: no moment when others may connect. */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)&addr.un, sizeof(addr.un)) < 0 ||
	    listen(fd, BACKLOG) < 0) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		fd = err;
	}
	control_addr_done(&addr);
	return fd;
}

int control_create(struct loop *loop, const struct control_config *cfg, struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	int err = -ENOMEM;
	if (!c)
		goto out_log;
	c->cfg = *cfg;
	c->loop = loop;
	list_init(&c->conns);
	c->listen_again = (struct loop_timer){ .fn = on_listen_again, .opaque = c };
	int fd = err = listen_at(cfg->path);
	if (fd < 0)
		goto out_free;
	c->listener = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = on_accept, .opaque = c };
	err = loop_fd_add(loop, &c->listener);
	if (err)
		goto out_close;
	*out = c;
	return 0;
out_close:
	close(fd);
	unlink(cfg->path);
out_free:
	free(c);
out_log:
	log_error("control socket %s: cannot listen there: %s", cfg->path, strerror(-err));
	return err;
}

void control_destroy(struct control *c)
{
	if (!c)
		return;
	while (!list_empty(&c->conns))
		control_conn_destroy(list_first(&c->conns, struct control_conn, link));
	loop_fd_remove(c->loop, &c->listener);
	loop_timer_disarm(c->loop, &c->listen_again);
	close(c->listener.fd);
	unlink(c->cfg.path);
	free(c);
}
