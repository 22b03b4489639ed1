/* SPDX-License-Identifier: Apache-2.0 */
/* A listening unix socket for the streams that have clients. */
#include "devices/chardev/listener.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/log.h"

enum { LISTENER_BACKLOG = 4 };
#define LISTENER_RETRY_NS NS_PER_S

/* Takes away a socket that nobody listens on any more. -> 0, or -errno with one line logged. */
static int clear_place(const struct sockaddr_un *addr)
{
	struct stat st;
	if (lstat(addr->sun_path, &st) < 0)
		return 0; /* bind(2) knows better what is wrong, if anything is */
	if (!S_ISSOCK(st.st_mode)) {
		log_error("console socket %s: there is something else with this name; "
			  "choose another name or remove it",
			  addr->sun_path);
		return -EEXIST;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	bool dead = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
		    errno == ECONNREFUSED;
	close(fd);
	if (!dead) {
		log_error("console socket %s: in use by another process; choose another name",
			  addr->sun_path);
		return -EADDRINUSE;
	}
	return unlink(addr->sun_path) < 0 ? -errno : 0;
}

/* -> the listening descriptor, or -errno with one line logged. */
static int listen_at(const struct sockaddr_un *addr)
{
	int err = clear_place(addr);
	if (err)
		return err;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of an unbound socket becomes that of its file: no moment when others may
	 * connect. */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ||
	    listen(fd, LISTENER_BACKLOG) < 0) {
		err = -errno;
		log_error("console socket %s: cannot listen there: %s", addr->sun_path,
			  strerror(-err));
		if (fd >= 0)
			close(fd);
		return err;
	}
	return fd;
}

static void on_accept(void *opaque, uint32_t events)
{
	struct listener *l = opaque;
	(void)events;
	int fd = accept4(l->src.fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0) {
		l->accepted(l->opaque, fd);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_warn("console socket %s: accept: %s", l->addr.sun_path, strerror(errno));
	loop_fd_modify(l->loop, &l->src, 0);
	loop_timer_arm(l->loop, &l->again, clock_now_ns() + LISTENER_RETRY_NS);
}

static void on_again(void *opaque)
{
	struct listener *l = opaque;
	loop_fd_modify(l->loop, &l->src, EPOLLIN);
}

int listener_open(struct listener *l, const char *path)
{
	l->addr.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(l->addr.sun_path)) {
		log_error("console socket %s: the name of a socket has at most %zu bytes", path,
			  sizeof(l->addr.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(l->addr.sun_path, path);
	int fd = listen_at(&l->addr);
	if (fd < 0)
		return fd;
	l->src = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = on_accept, .opaque = l };
	l->again = (struct loop_timer){ .fn = on_again, .opaque = l };
	int err = loop_fd_add(l->loop, &l->src);
	if (err) {
		log_error("console socket %s: %s", path, strerror(-err));
		close(fd);
		unlink(path);
	}
	return err;
}

void listener_set_lock(struct listener *l, pthread_mutex_t *lock)
{
	l->src.lock = l->again.lock = lock;
}

void listener_close(struct listener *l)
{
	loop_fd_remove(l->loop, &l->src);
	loop_timer_disarm(l->loop, &l->again);
	close(l->src.fd);
	unlink(l->addr.sun_path);
}
