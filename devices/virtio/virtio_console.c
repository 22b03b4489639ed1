/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console: ports between the guest's rings and character streams. */
/*
 * How it works (virtio 1.2, 5.3)
 *
 * Queues: port 0 has queues 0 (to the guest) and 1 (from it), then come the two of control, then a
 * pair for each further port. Without MULTIPORT a driver knows port 0 only.
 *
 * Control towards the guest is not a list of messages but a set of things still to be told, a bit
 * for each in each port (enum tell): it is bounded, cannot hold an old truth, and survives a
 * snapshot. tell_all() sends what it can whenever there is news or a buffer.
 *
 *     guest: DEVICE_READY -> ADD for each port
 *     guest: PORT_READY   -> CONSOLE and its RESIZE, or NAME; OPEN as the host's end is
 *     guest: PORT_OPEN    -> input may flow
 *
 * Input that the guest has no buffer for, or whose port it has not opened, stays with the stream.
 * Output that a stream does not take stays in the guest's chain until there is room, so a named
 * port is flow-controlled end to end. Not so the console: Linux spins, with a lock held, until its
 * console output has been taken (hvc), so what its stream has no room for is dropped.
 *
 * After a restore, whoever was at the other end of a named port is gone: the guest is told of a
 * close before any new open, so that a session cannot go on with a stranger.
 */
#include "devices/virtio/virtio_console.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "devices/chardev/chardev.h"
#include "devices/virtio/virtio.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

static const char state_compatible[] = "charmvm,virtio-console-1";
static const char port_compatible[] = "charmvm,virtio-console-port-1";

enum {
	F_SIZE = 0,
	F_MULTIPORT = 1,

	CFG_COLS = 0,
	CFG_ROWS = 2,
	CFG_MAX_NR_PORTS = 4,
	CFG_BYTES = 8,

	/* Control messages (5.3.6.2). */
	MSG_DEVICE_READY = 0,
	MSG_PORT_ADD = 1,
	MSG_PORT_READY = 3,
	MSG_CONSOLE_PORT = 4,
	MSG_RESIZE = 5,
	MSG_PORT_OPEN = 6,
	MSG_PORT_NAME = 7,
	MSG_BYTES = 8,
	MSG_NAME_MAX = 64,

	Q_RX0 = 0,
	Q_CTRL_TO_GUEST = 2,
	Q_CTRL_FROM_GUEST = 3,
	QUEUE_SIZE = 64,
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

static struct virtio_console *console_of(struct virtio_device *v)
{
	return (struct virtio_console *)v;
}

static unsigned int rx_queue(unsigned int port)
{
	return port ? 2 * port + 2 : Q_RX0;
}

/* The port of a data queue. */
static unsigned int port_of(unsigned int q)
{
	return q < Q_CTRL_TO_GUEST ? 0 : q / 2 - 1;
}

static bool multiport(const struct virtio_console *c)
{
	return virtio_has(&c->v, F_MULTIPORT);
}

/* ---- control, to the guest ---- */

static size_t message(const struct port *p, enum tell what, uint8_t *buf)
{
	size_t len = MSG_BYTES;
	uint16_t event = MSG_PORT_ADD, value = 1;
	switch (what) {
	case TELL_CONSOLE: event = MSG_CONSOLE_PORT; break;
	case TELL_RESIZE:
		/* Rows first, as Linux reads it; the specification has them the other way round. */
		event = MSG_RESIZE;
		memcpy(buf + MSG_BYTES, p->c->v.config + CFG_ROWS, 2);
		memcpy(buf + MSG_BYTES + 2, p->c->v.config + CFG_COLS, 2);
		len += 4;
		break;
	case TELL_NAME:
		event = MSG_PORT_NAME;
		memcpy(buf + MSG_BYTES, p->name, strlen(p->name));
		len += strlen(p->name);
		break;
	case TELL_CLOSED:
		event = MSG_PORT_OPEN;
		value = 0;
		break;
	case TELL_OPEN: event = MSG_PORT_OPEN; break;
	default: break;
	}
	put_le32(buf, p->index);
	put_le16(buf + 4, event);
	put_le16(buf + 6, value);
	return len;
}

/* -> false: no buffer for it now. */
static bool tell_one(struct virtio_console *c, const struct port *p, enum tell what)
{
	struct iovec iov[QUEUE_SIZE + GUESTMEM_REGIONS_MAX];
	struct vq_chain chain = { .iov = iov, .iov_max = ARRAY_SIZE(iov) };
	uint8_t buf[MSG_BYTES + MSG_NAME_MAX];
	if (!virtio_pop(&c->v, Q_CTRL_TO_GUEST, &chain))
		return false;
	size_t len = message(p, what, buf);
	if (chain.nout || chain.in_bytes < len) {
		virtio_broken(&c->v, Q_CTRL_TO_GUEST, "a buffer too small for a message");
		return false;
	}
	iov_put(iov, chain.nin, 0, buf, len);
	vq_push(virtio_vq(&c->v, Q_CTRL_TO_GUEST), chain.head, (uint32_t)len);
	return true;
}

/* As much as there are buffers for. -> false: something is left. */
static bool tell_some(struct virtio_console *c)
{
	for (unsigned int i = 0; i < c->nports; i++) {
		struct port *p = &c->ports[i];
		for (uint32_t bit = 1; bit < TELL_ALL; bit <<= 1) {
			if (!(p->tell & bit))
				continue;
			if (!tell_one(c, p, (enum tell)bit))
				return false;
			p->tell &= ~bit;
		}
	}
	return true;
}

static void tell_all(struct virtio_console *c)
{
	struct virtqueue *vq = virtio_vq(&c->v, Q_CTRL_TO_GUEST);
	if (!multiport(c) || !virtio_live(&c->v))
		return;
	vq_kicks_off(vq);
	/* Kicks only when a buffer is what we wait for. */
	while (!tell_some(c) && vq_kicks_on(vq))
		;
	virtio_publish(&c->v, Q_CTRL_TO_GUEST);
}

static void tell(struct port *p, uint32_t what)
{
	p->tell |= what;
	tell_all(p->c);
}

/* ---- control, from the guest ---- */

static void on_port_ready(struct port *p)
{
	p->guest_ready = true;
	p->tell |= p->name ? TELL_NAME : TELL_CONSOLE | TELL_RESIZE;
	if (p->host_open || !p->name)
		p->tell |= TELL_OPEN;
}

static void input_ready(struct port *p)
{
	if (!p->starved || !p->chardev)
		return;
	p->starved = false;
	chardev_input_ready(p->chardev);
}

static void on_message(struct virtio_console *c, const uint8_t *msg)
{
	uint32_t id = get_le32(msg);
	uint16_t event = get_le16(msg + 4), value = get_le16(msg + 6);
	if (event == MSG_DEVICE_READY) {
		for (unsigned int i = 0; i < c->nports && value; i++)
			c->ports[i].tell |= TELL_ADD;
		return;
	}
	if (id >= c->nports) {
		log_guest(&c->v.limit, "%s: the guest names port %u of %u", c->v.dev.name, id,
			  c->nports);
		return;
	}
	struct port *p = &c->ports[id];
	if (event == MSG_PORT_READY && value) {
		on_port_ready(p);
	} else if (event == MSG_PORT_OPEN) {
		p->guest_open = value;
		if (value)
			input_ready(p);
	}
}

static bool control_one(struct virtio_device *v, unsigned int q)
{
	struct virtio_console *c = console_of(v);
	struct iovec iov[QUEUE_SIZE + GUESTMEM_REGIONS_MAX];
	struct vq_chain chain = { .iov = iov, .iov_max = ARRAY_SIZE(iov) };
	uint8_t msg[MSG_BYTES];
	if (!virtio_pop(v, q, &chain))
		return false;
	if (iov_get(iov, chain.nout, 0, msg, sizeof(msg)) < sizeof(msg)) {
		virtio_broken(v, q, "a message without a header");
		return false;
	}
	on_message(c, msg);
	vq_push(virtio_vq(v, q), chain.head, 0);
	return true;
}

/* ---- from the guest ---- */

/* What is left of the chain in hand. -> false: the stream is full. */
static bool write_held(struct port *p)
{
	struct iovec *iov = p->out.iov;
	unsigned int niov = p->out.nout;
	/* The ranges themselves stay as they were: a chain that is given back and taken again
	 * starts from them. */
	size_t skip = p->out_off;
	for (unsigned int i = 0; i < niov; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t len = iov[i].iov_len - skip;
		size_t n = chardev_write(p->chardev, (const uint8_t *)iov[i].iov_base + skip, len);
		p->out_off += (uint32_t)n;
		if (n < len)
			return false;
		skip = 0;
	}
	return true;
}

static bool output_one(struct virtio_device *v, unsigned int q)
{
	struct port *p = &console_of(v)->ports[port_of(q)];
	if (!p->out_held) {
		p->out = (struct vq_chain){ .iov = p->out_iov, .iov_max = ARRAY_SIZE(p->out_iov) };
		if (!virtio_pop(v, q, &p->out))
			return false;
		p->out_held = true;
	}
	if (p->chardev && !write_held(p) && p->name)
		return false;
	p->out_held = false;
	p->out_off = 0;
	vq_push(virtio_vq(v, q), p->out.head, 0);
	return true;
}

/* A chain in hand is served before the queue is looked at, which may be empty by now. */
static void serve_output(struct port *p)
{
	struct virtio_device *v = &p->c->v;
	unsigned int q = rx_queue(p->index) + 1;
	if (!virtio_live(v) || (p->out_held && !output_one(v, q)))
		return;
	virtio_serve(v, q, output_one);
}

/* ---- to the guest ---- */

static bool guest_listens(struct port *p)
{
	struct virtio_device *v = &p->c->v;
	if (!virtio_live(v) || !virtio_vq(v, rx_queue(p->index))->enabled)
		return false;
	return p->guest_open || !multiport(p->c);
}

/* One buffer full. -> bytes taken, 0 when there is no buffer. */
static size_t push_input(struct port *p, const uint8_t *buf, size_t len)
{
	struct virtio_device *v = &p->c->v;
	unsigned int q = rx_queue(p->index);
	struct iovec iov[QUEUE_SIZE + GUESTMEM_REGIONS_MAX];
	struct vq_chain chain = { .iov = iov, .iov_max = ARRAY_SIZE(iov) };
	while (!virtio_pop(v, q, &chain))
		if (!virtio_live(v) || !vq_kicks_on(virtio_vq(v, q)))
			return 0;
	if (chain.nout) {
		virtio_broken(v, q, "an input buffer that cannot be written");
		return 0;
	}
	size_t n = iov_put(iov, chain.nin, 0, buf, len);
	vq_push(virtio_vq(v, q), chain.head, (uint32_t)n);
	return n;
}

static size_t on_input(struct chardev_port *face, const uint8_t *buf, size_t len)
{
	struct port *p = container_of(face, struct port, face);
	struct virtio_console *c = p->c;
	size_t done = 0, n = 1;
	while (guest_listens(p) && done < len && n) {
		n = push_input(p, buf + done, len - done);
		done += n;
	}
	if (done) {
		c->in_dirty |= UINT32_C(1) << p->index;
		loop_task_post(c->v.dev.env->loop, &c->in_flush);
	}
	p->starved = done < len;
	return done;
}

static void show_input(struct virtio_console *c)
{
	for (unsigned int i = 0; i < c->nports; i++)
		if (c->in_dirty >> i & 1)
			virtio_publish(&c->v, rx_queue(i));
	c->in_dirty = 0;
}

static void in_flush(void *opaque)
{
	show_input(opaque);
}

/* ---- the streams' other events ---- */

static void on_connected(struct chardev_port *face, bool on)
{
	struct port *p = container_of(face, struct port, face);
	if (p->host_open == on)
		return;
	p->host_open = on;
	/* A console is open for the guest whether or not anybody looks at it. */
	if (!p->name || !p->guest_ready)
		return;
	if (!on)
		p->tell &= ~(uint32_t)TELL_OPEN;
	tell(p, on ? TELL_OPEN : TELL_CLOSED);
}

static void on_output_ready(struct chardev_port *face)
{
	serve_output(container_of(face, struct port, face));
}

static void on_resized(struct chardev_port *face, unsigned int cols, unsigned int rows)
{
	struct port *p = container_of(face, struct port, face);
	struct virtio_device *v = &p->c->v;
	if (p->index || cols > UINT16_MAX || rows > UINT16_MAX)
		return;
	put_le16(v->config + CFG_COLS, (uint16_t)cols);
	put_le16(v->config + CFG_ROWS, (uint16_t)rows);
	if (multiport(p->c) && p->guest_ready)
		tell(p, TELL_RESIZE);
	else if (virtio_has(v, F_SIZE))
		virtio_config_changed(v);
}

/* ---- the model ---- */

static void console_kick(struct virtio_device *v, unsigned int q)
{
	struct virtio_console *c = console_of(v);
	if (q == Q_CTRL_TO_GUEST) {
		tell_all(c);
	} else if (q == Q_CTRL_FROM_GUEST) {
		virtio_serve(v, q, control_one);
		tell_all(c);
	} else if (q & 1) {
		serve_output(&c->ports[port_of(q)]);
	} else {
		vq_kicks_off(virtio_vq(v, q));
		input_ready(&c->ports[port_of(q)]);
	}
}

static void forget_guest(struct virtio_device *v)
{
	struct virtio_console *c = console_of(v);
	for (unsigned int i = 0; i < c->nports; i++) {
		struct port *p = &c->ports[i];
		p->guest_ready = p->guest_open = false;
		p->tell = 0;
		p->out_held = false;
		p->out_off = 0;
	}
	c->in_dirty = 0;
}

/* What is in hand goes back to the queue; out_off remembers how much of it is gone. */
static void console_quiesce(struct virtio_device *v)
{
	struct virtio_console *c = console_of(v);
	show_input(c);
	for (unsigned int i = 0; i < c->nports; i++) {
		if (c->ports[i].out_held)
			vq_unpop(virtio_vq(v, rx_queue(i) + 1), 1);
		c->ports[i].out_held = false;
	}
}

static const struct virtio_ops console_virtio_ops = {
	.kick = console_kick,
	.reset = forget_guest,
	.quiesce = console_quiesce,
};

/* ---- life cycle ---- */

static void console_destroy(struct device *dev)
{
	struct virtio_console *c = console_of(virtio_of(dev));
	for (unsigned int i = 0; i < c->nports; i++)
		if (c->ports[i].chardev && c->ports[i].chardev->port == &c->ports[i].face)
			chardev_detach(c->ports[i].chardev);
	loop_task_cancel(dev->env->loop, &c->in_flush);
	virtio_fini(&c->v);
	free(c);
}

static void console_save(struct device *dev, struct state_writer *w)
{
	struct virtio_console *c = console_of(virtio_of(dev));
	state_put_u32(w, "nports", c->nports);
	state_put_u32(w, "cols", get_le16(c->v.config + CFG_COLS));
	state_put_u32(w, "rows", get_le16(c->v.config + CFG_ROWS));
	for (unsigned int i = 0; i < c->nports; i++) {
		const struct port *p = &c->ports[i];
		char name[16];
		snprintf(name, sizeof(name), "port%u", i);
		state_begin(w, name, port_compatible);
		state_put_bool(w, "guest-ready", p->guest_ready);
		state_put_bool(w, "guest-open", p->guest_open);
		state_put_u32(w, "tell", p->tell);
		state_put_u32(w, "out-off", p->out_off);
		state_end(w);
	}
	virtio_save(&c->v, w);
}

static int restore_port(struct state_node dev, struct port *p)
{
	struct state_node n;
	char name[16];
	snprintf(name, sizeof(name), "port%u", p->index);
	int err = state_child(dev, name, &n);
	if (!err)
		err = state_check(n, port_compatible);
	if (err)
		return err;
	if (state_get_bool(n, "guest-ready", &p->guest_ready) ||
	    state_get_bool(n, "guest-open", &p->guest_open) || state_get_u32(n, "tell", &p->tell) ||
	    state_get_u32(n, "out-off", &p->out_off))
		return -EINVAL;
	p->tell &= TELL_ALL;
	/* A console has no name to tell, whatever a snapshot says. */
	if (!p->name)
		p->tell &= ~(uint32_t)TELL_NAME;
	else if (p->guest_ready)
		p->tell = (p->tell & ~(uint32_t)TELL_OPEN) | TELL_CLOSED;
	return 0;
}

static int console_restore(struct virtio_console *c, struct state_node n)
{
	uint32_t nports = 0, cols, rows;
	int err = state_check(n, state_compatible);
	if (err)
		return err;
	if (state_get_u32(n, "nports", &nports) || state_get_u32(n, "cols", &cols) ||
	    state_get_u32(n, "rows", &rows) || nports != c->nports)
		err = -EINVAL;
	for (unsigned int i = 0; !err && i < c->nports; i++)
		err = restore_port(n, &c->ports[i]);
	if (err) {
		log_error("%s: the snapshot's console is damaged or has %u ports instead of %u",
			  c->v.dev.name, nports, c->nports);
		return err == -ENOTSUP ? err : -EINVAL;
	}
	put_le16(c->v.config + CFG_COLS, (uint16_t)cols);
	put_le16(c->v.config + CFG_ROWS, (uint16_t)rows);
	return 0;
}

static void attach_ports(struct virtio_console *c)
{
	for (unsigned int i = 0; i < c->nports; i++)
		if (c->ports[i].chardev)
			chardev_attach(c->ports[i].chardev, &c->ports[i].face, &c->v.dev.lock);
}

static void fill_ports(struct virtio_console *c, const struct virtio_console_config *config)
{
	c->nports = config->nports;
	for (unsigned int i = 0; i < c->nports; i++) {
		assert(!i == !config->ports[i].name);
		assert(!i || strlen(config->ports[i].name) <= MSG_NAME_MAX);
		c->ports[i] = (struct port){
			.c = c,
			.index = i,
			.name = config->ports[i].name,
			.chardev = config->ports[i].chardev,
			.face = {
				.input = on_input,
				.connected = on_connected,
				.output_ready = on_output_ready,
				.resized = on_resized,
			},
		};
	}
}

static int console_create(const struct device_env *env, const char *name, const void *cfg,
			  const struct state_node *from, struct device **out)
{
	const struct virtio_console_config *config = cfg;
	assert(config->nports && config->nports <= VIRTIO_CONSOLE_PORTS_MAX);
	struct virtio_console *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	fill_ports(c, config);
	c->in_flush = (struct loop_task){ .lock = &c->v.dev.lock, .fn = in_flush, .opaque = c };
	const struct virtio_params params = {
		.dev_ops = &virtio_console_device,
		.ops = &console_virtio_ops,
		.device_id = VIRTIO_ID_CONSOLE,
		.pci_class = 0x078000,
		.pci_slot = config->pci_slot,
		.features = 1 << F_SIZE | 1 << F_MULTIPORT,
		.nqueues = 2 * c->nports + 2,
		.queue_size = QUEUE_SIZE,
		.config_len = CFG_BYTES,
	};
	int err = virtio_init(&c->v, &params, env, name);
	if (!err) {
		put_le32(c->v.config + CFG_MAX_NR_PORTS, c->nports);
		err = from ? console_restore(c, *from) : 0;
	}
	if (!err)
		err = virtio_ready(&c->v, from);
	if (err) {
		console_destroy(&c->v.dev);
		return err;
	}
	attach_ports(c);
	*out = &c->v.dev;
	return 0;
}

const struct device_ops virtio_console_device = {
	.compatible = state_compatible,
	.create = console_create,
	.reset = virtio_device_reset,
	.quiesce = virtio_device_quiesce,
	.save = console_save,
	.resume = virtio_device_resume,
	.destroy = console_destroy,
};
