/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console: ports between the guest's rings and character streams. */
/*
 * How it works (virtio 1.2, 5.3)
 *
 * Queues: port 0 has queues 0 (to the guest) and 1 (from it), then come the two of control, then a
 * pair for each further port. Without MULTIPORT a driver knows port 0 only.
 *
 * After a restore, whoever was at the other end of a named port is gone: the guest is told of a
 * close before any new open, so that a session cannot go on with a stranger.
 *
 * Here are the device and its life; what is told and asked about ports is in virtio_console_control.c, what
 * flows through them in virtio_console_data.c.
 */
#include "devices/virtio/virtio_console.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "devices/virtio/virtio_console_int.h"
#include "vmm/base/endian.h"

static const char state_compatible[] = "charmvm,virtio-console-1";
static const char port_compatible[] = "charmvm,virtio-console-port-1";

/* ---- the model ---- */

static void console_kick(struct virtio_device *v, unsigned int q)
{
	struct virtio_console *c = console_of(v);
	if (q == Q_CTRL_TO_GUEST) {
		console_tell_all(c);
	} else if (q == Q_CTRL_FROM_GUEST) {
		virtio_serve(v, q, console_control);
		console_tell_all(c);
	} else if (q & 1) {
		console_serve_output(&c->ports[port_of(q)]);
	} else {
		vq_kicks_off(virtio_vq(v, q));
		console_input_ready(&c->ports[port_of(q)]);
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
	console_show_input(c);
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
		assert(!i || strlen(config->ports[i].name) <= NAME_MAX_BYTES);
		c->ports[i] = (struct port){
			.c = c,
			.index = i,
			.name = config->ports[i].name,
			.chardev = config->ports[i].chardev,
			.face = console_face,
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
	c->in_flush =
		(struct loop_task){ .lock = &c->v.dev.lock, .fn = console_in_flush, .opaque = c };
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
