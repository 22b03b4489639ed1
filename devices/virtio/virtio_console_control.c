/* SPDX-License-Identifier: Apache-2.0 */
/* Control messages of virtio-console (virtio 1.2, 5.3.6.2): what is told about ports, and what the guest says of them. */
/*
 * Control towards the guest is not a list of messages but a set of things still to be told, a bit
 * for each in each port (enum tell): it is bounded, cannot hold an old truth, and survives a
 * snapshot. tell_all() sends what it can whenever there is news or a buffer.
 *
 *     guest: DEVICE_READY -> ADD for each port
 *     guest: PORT_READY   -> CONSOLE and its RESIZE, or NAME; OPEN as the host's end is
 *     guest: PORT_OPEN    -> input may flow
 */
#include <string.h>

#include "devices/virtio/virtio_console_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	/* Control messages (5.3.6.2). */
	MSG_DEVICE_READY = 0,
	MSG_PORT_ADD = 1,
	MSG_PORT_READY = 3,
	MSG_CONSOLE_PORT = 4,
	MSG_RESIZE = 5,
	MSG_PORT_OPEN = 6,
	MSG_PORT_NAME = 7,
	MSG_BYTES = 8,
};

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
	uint8_t buf[MSG_BYTES + NAME_MAX_BYTES];
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

void console_tell_all(struct virtio_console *c)
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

void console_tell(struct port *p, uint32_t what)
{
	p->tell |= what;
	console_tell_all(p->c);
}

/* ---- control, from the guest ---- */

static void on_port_ready(struct port *p)
{
	p->guest_ready = true;
	p->tell |= p->name ? TELL_NAME : TELL_CONSOLE | TELL_RESIZE;
	if (p->host_open || !p->name)
		p->tell |= TELL_OPEN;
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
			console_input_ready(p);
	}
}

bool console_control(struct virtio_device *v, unsigned int q)
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
