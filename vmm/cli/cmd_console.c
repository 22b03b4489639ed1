/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm console: this terminal becomes the console of a machine whose console is a socket. */
/*
 * How it works. The terminal is the same stream that a machine in the foreground has, raw mode, escape and all
 * (devices/chardev/term.h). Its port here is a connection to the control socket that was handed over as the console's, and leaving
 * leaves the machine as it is. To take over is to come again, by force.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/chardev/chardev.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control_client.h"
#include "vmm/core/loop.h"

struct console {
	struct vm_args vm;
	bool force, watch;
	struct chardev_port port;
	struct chardev *term;
	struct loop *loop;
	struct loop_fd src;
	struct loop_task force_task;
	uint8_t held[4096]; /* of the machine's, for which the terminal had no room */
	size_t n_held;
};

static size_t on_keys(struct chardev_port *p, const uint8_t *buf, size_t len)
{
	struct console *c = container_of(p, struct console, port);
	if (c->watch)
		return len;
	ssize_t n = send(c->src.fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		loop_fd_modify(c->loop, &c->src, c->src.events | EPOLLOUT);
	else if (n < 0)
		loop_stop(c->loop);
	return n < 0 ? 0 : (size_t)n;
}

static void show(struct console *c)
{
	size_t n = chardev_write(c->term, c->held, c->n_held);
	memmove(c->held, c->held + n, c->n_held - n);
	c->n_held -= n;
	uint32_t events = c->src.events & ~(uint32_t)EPOLLIN;
	loop_fd_modify(c->loop, &c->src, c->n_held ? events : events | EPOLLIN);
}

static void on_room(struct chardev_port *p)
{
	show(container_of(p, struct console, port));
}

static void on_socket(void *opaque, uint32_t events)
{
	struct console *c = opaque;
	if (events & EPOLLOUT) {
		loop_fd_modify(c->loop, &c->src, c->src.events & ~(uint32_t)EPOLLOUT);
		chardev_input_ready(c->term);
	}
	if (c->n_held || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	ssize_t n = recv(c->src.fd, c->held, sizeof(c->held), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_stop(c->loop); /* the machine has ended */
		return;
	}
	c->n_held = (size_t)n;
	show(c);
}

static void on_leave(void *opaque)
{
	loop_stop(((struct console *)opaque)->loop);
}

/* ---- coming to the machine ---- */

/* -> EXIT_STATUS_OK and the raw stream in *@fd, or a status with one line logged. */
static enum exit_status join(struct console *c, bool force, bool history, int *fd)
{
	struct control_client client;
	enum exit_status status = control_client_open(&client, c->vm.name);
	if (!status)
		status = control_client_call(&client, "console",
					     json_pack("{s:b, s:b, s:b}", "watch", c->watch,
						       "force", force, "history", history),
					     NULL, NULL, NULL);
	if (!status)
		*fd = control_client_take(&client);
	control_client_close(&client);
	return status;
}

/* Comes again, as the one who writes, and leaves the place that it had. */
static void take_over(void *opaque)
{
	struct console *c = opaque;
	int fd;
	bool watched = c->watch;
	c->watch = false;
	if (join(c, true, false, &fd)) {
		c->watch = watched; /* it goes on as before */
		return;
	}
	loop_fd_remove(c->loop, &c->src);
	close(c->src.fd);
	c->src.fd = fd;
	if (loop_fd_add(c->loop, &c->src))
		loop_stop(c->loop);
}

static void on_force(void *opaque)
{
	struct console *c = opaque;
	loop_task_post(c->loop, &c->force_task);
}

static enum exit_status serve(struct console *c)
{
	struct chardev_quit quit = {
		.fn = on_leave, .opaque = c, .means = "the machine goes on", .force = on_force
	};
	c->port = (struct chardev_port){ .input = on_keys, .output_ready = on_room };
	c->src.events = EPOLLIN;
	c->src.fn = on_socket;
	c->src.opaque = c;
	c->force_task = (struct loop_task){ .fn = take_over, .opaque = c };
	signal(SIGPIPE, SIG_IGN);
	int err = loop_create(&c->loop);
	err = err ? err : loop_fd_add(c->loop, &c->src);
	err = err ? err : chardev_open(c->loop, "stdio", CHARDEV_CONSOLE, &quit, &c->term);
	if (!err) {
		chardev_attach(c->term, &c->port, NULL);
		err = loop_run(c->loop);
	}
	chardev_close(c->term);
	if (c->loop)
		loop_fd_remove(c->loop, &c->src);
	loop_destroy(c->loop);
	if (err)
		log_error("console: %s", strerror(-err));
	return err ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}

/* ---- the command ---- */

static int set_force(void *cfg, const char *value)
{
	(void)value;
	((struct console *)cfg)->force = true;
	return 0;
}

static int set_watch(void *cfg, const char *value)
{
	(void)value;
	((struct console *)cfg)->watch = true;
	return 0;
}

static const struct option_spec options[] = {
	{ "force", 'f', NULL, "write, and let whoever does so read on", set_force },
	{ "watch", 'w', NULL, "read only", set_watch },
};

int cmd_console(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm console [VM] [--watch | --force]",
		.about = "Connects this terminal with the console of a machine that runs in the "
			 "background,\nbeside others that are there; the first one writes. What "
			 "was said last "
			 "comes first.\nCtrl-] . leaves, and the machine goes on; Ctrl-] f takes "
			 "the writing over.",
		.options = options,
		.noptions = ARRAY_SIZE(options),
		.operand = vm_operand,
	};
	struct console c = { 0 };
	int over;
	if (!vm_parse(&command, &c, argc, argv, &over))
		return over;
	enum exit_status status = join(&c, c.force, true, &c.src.fd);
	if (status)
		return status;
	status = serve(&c);
	close(c.src.fd);
	return status;
}
