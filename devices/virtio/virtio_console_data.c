/* SPDX-License-Identifier: Apache-2.0 */
/* What flows through the ports of virtio-console: input to the guest, output from it. */
/*
 * Input that the guest has no buffer for, or whose port it has not opened, stays with the stream.
 * Output that a stream does not take stays in the guest's chain until there is room, so a named
 * port is flow-controlled end to end. Not so the console: Linux spins, with a lock held, until its
 * console output has been taken (hvc), so what its stream has no room for is dropped.
 */
#include <string.h>

#include "devices/virtio/virtio_console_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

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
void console_serve_output(struct port *p)
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

void console_show_input(struct virtio_console *c)
{
	for (unsigned int i = 0; i < c->nports; i++)
		if (c->in_dirty >> i & 1)
			virtio_publish(&c->v, rx_queue(i));
	c->in_dirty = 0;
}

void console_in_flush(void *opaque)
{
	console_show_input(opaque);
}

void console_input_ready(struct port *p)
{
	if (!p->starved || !p->chardev)
		return;
	p->starved = false;
	chardev_input_ready(p->chardev);
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
	console_tell(p, on ? TELL_OPEN : TELL_CLOSED);
}

static void on_output_ready(struct chardev_port *face)
{
	console_serve_output(container_of(face, struct port, face));
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
		console_tell(p, TELL_RESIZE);
	else if (virtio_has(v, F_SIZE))
		virtio_config_changed(v);
}

const struct chardev_port console_face = {
	.input = on_input,
	.connected = on_connected,
	.output_ready = on_output_ready,
	.resized = on_resized,
};
