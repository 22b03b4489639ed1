/* SPDX-License-Identifier: Apache-2.0 */
/* A stream into a file. */
#include "devices/chardev/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/chardev/chardev.h"
#include "devices/chardev/stream.h"
#include "vmm/base/log.h"

struct file {
	struct chardev base;
	struct stream_out out;
	char path[]; /* for messages */
};

static struct file *file_of(struct chardev *c)
{
	return container_of(c, struct file, base);
}

static void on_room(void *opaque)
{
	struct file *f = opaque;
	chardev_tell_room(&f->base);
}

static void on_broken(void *opaque, int err)
{
	struct file *f = opaque;
	log_warn("console file %s: %s; further output is dropped", f->path, strerror(-err));
}

static size_t file_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	return stream_out_write(&file_of(c)->out, buf, len);
}

static void file_input_ready(struct chardev *c)
{
	(void)c; /* there is no input */
}

static void file_attached(struct chardev *c)
{
	stream_out_set_lock(&file_of(c)->out, c->lock);
	chardev_tell_connected(c, true);
}

static void file_destroy(struct chardev *c)
{
	struct file *f = file_of(c);
	stream_out_fini(&f->out);
	free(f);
}

static const struct chardev_ops file_ops = {
	.name = "file",
	.write = file_write,
	.input_ready = file_input_ready,
	.attached = file_attached,
	.destroy = file_destroy,
};

static int open_for_append(const char *path)
{
	/* O_NONBLOCK: a FIFO without a reader is an error and not a wait. */
	int fd =
		open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
	if (fd >= 0)
		return fd;
	int err = -errno;
	if (err == -ENXIO)
		log_error("console file %s: nobody reads from this pipe; start its reader first",
			  path);
	else
		log_error("console file %s: cannot be opened for writing: %s", path,
			  strerror(-err));
	return err;
}

int chardev_file_open(struct loop *loop, const char *path, struct chardev **out)
{
	size_t path_bytes = strlen(path) + 1;
	struct file *f = calloc(1, sizeof(*f) + path_bytes);
	if (!f)
		return -ENOMEM;
	memcpy(f->path, path, path_bytes);
	f->base.ops = &file_ops;
	int err = open_for_append(path);
	if (err < 0)
		goto out_free;
	f->out = (struct stream_out){ .loop = loop, .fd = err, .kind = STREAM_NONBLOCK };
	f->out.room = on_room;
	f->out.broken = on_broken;
	f->out.opaque = f;
	err = stream_out_init(&f->out);
	if (err)
		goto out_close;
	*out = &f->base;
	return 0;
out_close:
	close(f->out.fd);
out_free:
	free(f);
	return err;
}
