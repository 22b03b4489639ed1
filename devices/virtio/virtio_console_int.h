/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of virtio-console share: virtio_console.c, virtio_console_control.c, virtio_console_data.c. */
#ifndef DEVICES_VIRTIO_VIRTIO_CONSOLE_INT_H
#define DEVICES_VIRTIO_VIRTIO_CONSOLE_INT_H

#include "devices/chardev/chardev.h"
#include "devices/virtio/virtio.h"
#include "devices/virtio/virtio_console.h"

enum {
	F_SIZE = 0,
	F_MULTIPORT = 1,

	CFG_COLS = 0,
	CFG_ROWS = 2,
	CFG_MAX_NR_PORTS = 4,
	CFG_BYTES = 8,

	Q_RX0 = 0,
	Q_CTRL_TO_GUEST = 2,
	Q_CTRL_FROM_GUEST = 3,
	QUEUE_SIZE = 64,
	NAME_MAX_BYTES = 64, /* of a port's name */
};

/* What is still to be told about a port, in the order of telling. */
enum tell {
	TELL_ADD = 1 << 0,
	TELL_CONSOLE = 1 << 1,
	TELL_RESIZE = 1 << 2,
	TELL_NAME = 1 << 3,
	TELL_CLOSED = 1 << 4,
	TELL_OPEN = 1 << 5,
	TELL_ALL = (1 << 6) - 1,
};

struct port {
	struct virtio_console *c;
	unsigned int index;
	const char *name; /* NULL: a console */
	struct chardev *chardev;
	struct chardev_port face; /* what the stream sees */
	bool host_open;		  /* somebody is at the host's end */
	bool guest_ready;	  /* the guest knows the port */
	bool guest_open;	  /* and has it open */
	bool starved;		  /* input was refused, and waits for chardev_input_ready() */
	uint32_t tell;

	/* From the guest: the chain in hand, of which out_off bytes are gone. */
	bool out_held;
	uint32_t out_off;
	struct vq_chain out;
	struct iovec out_iov[QUEUE_SIZE + GUESTMEM_REGIONS_MAX];
};

struct virtio_console {
	struct virtio_device v;
	struct loop_task in_flush;
	uint32_t in_dirty; /* ports with input pushed and not shown */
	unsigned int nports;
	struct port ports[VIRTIO_CONSOLE_PORTS_MAX];
};

static inline struct virtio_console *console_of(struct virtio_device *v)
{
	return (struct virtio_console *)v;
}

static inline unsigned int rx_queue(unsigned int port)
{
	return port ? 2 * port + 2 : Q_RX0;
}

/* The port of a data queue. */
static inline unsigned int port_of(unsigned int q)
{
	return q < Q_CTRL_TO_GUEST ? 0 : q / 2 - 1;
}

static inline bool multiport(const struct virtio_console *c)
{
	return virtio_has(&c->v, F_MULTIPORT);
}

/* ---- virtio_console_control.c: with the device's lock held ---- */

/* One message of the guest's from queue @q. -> false: there is none, or the queue is broken. */
bool console_control(struct virtio_device *v, unsigned int q);
/* What is still to be told, as far as the guest has buffers for it; the rest when it gives some. */
void console_tell_all(struct virtio_console *c);
/* The same with @what (of enum tell) added for one port. */
void console_tell(struct port *p, uint32_t what);

/* ---- virtio_console_data.c: with the device's lock held ---- */

/* What the port's stream may call. */
extern const struct chardev_port console_face;
/* Output of the guest's, as far as the stream takes it. */
void console_serve_output(struct port *p);
/* The guest has room again: the stream may bring what was refused. */
void console_input_ready(struct port *p);
/* Input that was pushed into rings is shown to the guest. */
void console_show_input(struct virtio_console *c);
/* The same as a task; @opaque is the console. */
void console_in_flush(void *opaque);

#endif
