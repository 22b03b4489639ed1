/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm console: this terminal becomes the console of a machine whose console is a socket. */
/*
 * How it works. The terminal is the same stream that a machine in the foreground has, raw mode, escape and all
 * (devices/chardev/term.h). Its port here is the console's socket, and leaving leaves the machine as it is.
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
#include "vmm/control/control_path.h"
#include "vmm/core/loop.h"

struct console {
	struct chardev_port port;
	struct chardev *term;
	struct loop *loop;
	struct loop_fd src;
	uint8_t held[4096]; /* of the machine's, for which the terminal had no room */
	size_t n_held;
};

static size_t on_keys(struct chardev_port *p, const uint8_t *buf, size_t len)
{
	struct console *c = container_of(p, struct console, port);
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

static int serve(struct console *c, int fd)
{
	struct chardev_quit quit = { .fn = on_leave, .opaque = c, .means = "the machine goes on" };
	c->port = (struct chardev_port){ .input = on_keys, .output_ready = on_room };
	c->src = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = on_socket, .opaque = c };
	signal(SIGPIPE, SIG_IGN);
	int err = loop_create(&c->loop);
	err = err ? err : loop_fd_add(c->loop, &c->src);
	err = err ? err : chardev_open(c->loop, "stdio", &quit, &c->term);
	if (!err) {
		chardev_attach(c->term, &c->port, NULL);
		err = loop_run(c->loop);
	}
	chardev_close(c->term);
	if (c->loop)
		loop_fd_remove(c->loop, &c->src);
	loop_destroy(c->loop);
	return err;
}

static enum exit_status attach(const char *name, const char *where)
{
	static const char socket_prefix[] = "socket:";
	struct console c = { 0 };
	if (strncmp(where, socket_prefix, sizeof(socket_prefix) - 1)) {
		log_error("machine '%s': its console is elsewhere (%s); start it with --detach or "
			  "--console socket:PATH",
			  name, where);
		return EXIT_STATUS_FAILED;
	}
	int fd = control_path_connect(where + sizeof(socket_prefix) - 1);
	int err = fd < 0 ? fd : serve(&c, fd);
	if (fd >= 0)
		close(fd);
	if (err)
		log_error("machine '%s': its console %s: %s", name, where, strerror(-err));
	return err ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}

int cmd_console(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm console [VM]",
		.about = "Connects this terminal with the console of a machine that runs in the "
			 "background; Ctrl-] . leaves, and the machine goes on.",
		.operand = vm_operand,
	};
	struct vm_args a = { 0 };
	struct control_client c;
	json_t *o = NULL;
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	enum exit_status status = control_client_open(&c, a.name);
	if (!status)
		status = control_client_call(&c, "status", NULL, NULL, NULL, &o);
	control_client_close(&c);
	const char *where = json_string_value(json_object_get(o, "console"));
	if (!status)
		status = attach(c.record.name, where ? where : "unknown");
	json_decref(o);
	return status;
}
