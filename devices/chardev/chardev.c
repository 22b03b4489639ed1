/* SPDX-License-Identifier: Apache-2.0 */
/* What all character streams share: attaching, opening by name, and the stream that goes nowhere.
 */
#include "devices/chardev/chardev.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/chardev/file.h"
#include "devices/chardev/shared.h"
#include "devices/chardev/socket.h"
#include "devices/chardev/term.h"
#include "vmm/base/log.h"

void chardev_attach(struct chardev *c, struct chardev_port *port, pthread_mutex_t *lock)
{
	assert(!c->port);
	c->port = port;
	c->lock = lock;
	if (c->ops->attached)
		c->ops->attached(c);
}

void chardev_detach(struct chardev *c)
{
	c->port = NULL;
	c->lock = NULL;
	if (c->ops->attached)
		c->ops->attached(c);
}

size_t chardev_deliver(struct chardev *c, const uint8_t *buf, size_t len)
{
	return c->port ? c->port->input(c->port, buf, len) : 0;
}

void chardev_tell_connected(struct chardev *c, bool on)
{
	if (c->port && c->port->connected)
		c->port->connected(c->port, on);
}

void chardev_tell_room(struct chardev *c)
{
	if (c->port && c->port->output_ready)
		c->port->output_ready(c->port);
}

void chardev_tell_size(struct chardev *c, unsigned int cols, unsigned int rows)
{
	if (c->port && c->port->resized)
		c->port->resized(c->port, cols, rows);
}

int chardev_join(struct chardev *c, int fd, const struct chardev_join *how)
{
	pthread_mutex_t *lock = c->lock;
	assert(chardev_is_shared(c));
	if (lock)
		pthread_mutex_lock(lock);
	int err = c->ops->join(c, fd, how);
	if (lock)
		pthread_mutex_unlock(lock);
	return err;
}

/* ---- nowhere ---- */

static size_t null_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	(void)c;
	(void)buf;
	return len;
}

static void null_input_ready(struct chardev *c)
{
	(void)c;
}

static void null_destroy(struct chardev *c)
{
	free(c);
}

static const struct chardev_ops null_ops = {
	.name = "none",
	.write = null_write,
	.input_ready = null_input_ready,
	.destroy = null_destroy,
};

int null_open(struct chardev **out)
{
	struct chardev *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->ops = &null_ops;
	*out = c;
	return 0;
}

/* ---- by name ---- */

/* What follows @prefix in @spec, or NULL. */
static const char *after(const char *spec, const char *prefix)
{
	size_t n = strlen(prefix);
	return strncmp(spec, prefix, n) ? NULL : spec + n;
}

static int open_spec(struct loop *loop, const char *spec, enum chardev_use use,
		     const struct chardev_quit *quit, struct chardev **out)
{
	const char *path;
	if (!strcmp(spec, "stdio"))
		return term_open(loop, STDIN_FILENO, STDOUT_FILENO, quit, out);
	if (!strcmp(spec, "none"))
		return null_open(out);
	if ((path = after(spec, "file:")) && *path)
		return chardev_file_open(loop, path, out);
	if ((path = after(spec, "socket:")) && *path)
		return use == CHARDEV_CONSOLE ? shared_open(loop, path, out)
					      : socket_open(loop, path, out);
	log_error("console '%s': not known; use stdio, file:PATH, socket:PATH or none", spec);
	return -EINVAL;
}

int chardev_open(struct loop *loop, const char *spec, enum chardev_use use,
		 const struct chardev_quit *quit, struct chardev **out)
{
	int err = open_spec(loop, spec, use, quit, out);
	if (err == -ENOMEM)
		log_error("console '%s': out of memory", spec);
	return err;
}

void chardev_close(struct chardev *c)
{
	if (!c)
		return;
	if (c->port)
		chardev_detach(c);
	c->ops->destroy(c);
}
