/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that does whatever the input says to a virtio device: to its rings, registers, and at its
 * worst moments. */
/*
 * The first byte chooses the device; a driver starts it in good order; then each byte is an action
 * (enum action) with its arguments behind it. Whatever happens, the process must neither crash nor
 * hang, and the device must work again after a reset, which is checked at the end of each input.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "devices/chardev/chardev.h"
#include "devices/net/net.h"
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_console.h"
#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_pci.h"
#include "devices/virtio/virtio_rng.h"
#include "devices/virtio/virtio_scsi.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/fake_blk.h"
#include "vmm/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum action {
	ACT_RAM,   /* bytes into the first 64 KiB, where the rings are */
	ACT_CHAIN, /* a chain of up to 8 buffers, offered */
	ACT_OFFER, /* any head */
	ACT_KICK,
	ACT_RUN,
	ACT_BAR,     /* any register */
	ACT_CONFIG,  /* any byte of configuration space */
	ACT_HOLD,    /* block requests wait / go on */
	ACT_BACKEND, /* a frame or some input arrives */
	ACT_RESET,   /* by the driver */
	ACT_SAVE,    /* quiesce, save, destroy, create with state, resume */
	ACTIONS,
};

enum { DEVICES = 5, RING_BYTES = 0x10000, RUNS_MAX = 64, SAVES_MAX = 2 };

struct target {
	const struct device_ops *ops;
	const void *cfg;
	unsigned int nqueues;
	struct device *dev;
};

struct rig {
	struct guest g;
	struct fake_blk *blk;
	struct net_backend net;
	struct chardev streams[2];
	struct virtio_blk_config blk_cfg;
	struct virtio_net_config net_cfg;
	struct virtio_console_config console_cfg;
	struct virtio_rng_config rng_cfg;
	struct virtio_scsi_config scsi_cfg;
	struct target all[DEVICES];
	/* Of the present input. */
	struct target *t;
	struct driver d;
	unsigned int runs, saves;
};

struct input {
	const uint8_t *p;
	size_t left;
};

static uint32_t take(struct input *in, unsigned int bytes)
{
	uint32_t v = 0;
	for (unsigned int i = 0; i < bytes && in->left; i++, in->p++, in->left--)
		v |= (uint32_t)*in->p << (8 * i);
	return v;
}

/* ---- backends that take everything ---- */

static void net_send(struct net_backend *b, const struct iovec *iov, unsigned int niov,
		     size_t len_bytes, const struct net_offload *off)
{
	size_t sum = 0;
	(void)b;
	(void)off;
	for (unsigned int i = 0; i < niov; i++)
		sum += iov[i].iov_len;
	assert(sum == len_bytes && len_bytes <= NET_FRAME_MAX && niov <= NET_IOV_MAX);
}

static void net_nothing(struct net_backend *b)
{
	(void)b;
}

static const struct net_backend_ops net_ops = {
	.name = "fuzz",
	.send = net_send,
	.wake = net_nothing,
	.reset = net_nothing,
};

static size_t stream_write(struct chardev *c, const uint8_t *buf, size_t len)
{
	volatile uint8_t sum = 0;
	(void)c;
	for (size_t i = 0; i < len && i < 4096; i++)
		sum = (uint8_t)(sum + buf[i]);
	return len < 4096 ? len : 4096;
}

static void stream_nothing(struct chardev *c)
{
	(void)c;
}

static const struct chardev_ops stream_ops = {
	.name = "fuzz",
	.write = stream_write,
	.input_ready = stream_nothing,
};

/* ---- the rig ---- */

/* All devices live on from input to input: making them costs far more than what is done to them. */
static void rig_create(struct rig *r)
{
	guest_init(&r->g);
	r->blk = fake_blk_create(r->g.loop);
	r->net = (struct net_backend){ .ops = &net_ops, .mtu_bytes = 65520 };
	r->streams[0].ops = r->streams[1].ops = &stream_ops;
	r->blk_cfg =
		(struct virtio_blk_config){ .pci_slot = 1, .node = &r->blk->node, .num_queues = 2 };
	r->net_cfg = (struct virtio_net_config){ .pci_slot = 2, .backend = &r->net };
	r->console_cfg = (struct virtio_console_config){
		.pci_slot = 3,
		.nports = 2,
		.ports = { { NULL, &r->streams[0] }, { "port", &r->streams[1] } },
	};
	r->rng_cfg = (struct virtio_rng_config){ .pci_slot = 4 };
	r->scsi_cfg = (struct virtio_scsi_config){ .pci_slot = 5, .medium = &r->blk->node };
	const struct target all[DEVICES] = {
		{ &virtio_blk_device, &r->blk_cfg, 2, NULL },
		{ &virtio_net_device, &r->net_cfg, 3, NULL },
		{ &virtio_console_device, &r->console_cfg, 6, NULL },
		{ &virtio_rng_device, &r->rng_cfg, 1, NULL },
		{ &virtio_scsi_device, &r->scsi_cfg, 3, NULL },
	};
	for (unsigned int i = 0; i < DEVICES; i++) {
		r->all[i] = all[i];
		int err = all[i].ops->create(&r->g.env, "dev", all[i].cfg, NULL, &r->all[i].dev);
		assert(!err);
		all[i].ops->resume(r->all[i].dev);
	}
}

static void run(struct rig *r)
{
	if (r->runs++ < RUNS_MAX)
		guest_run(&r->g);
}

/* Nothing is in flight after this. */
static void quiet(struct rig *r)
{
	fake_blk_release(r->blk);
	unsigned int before = r->g.quiet_calls;
	if (r->t->ops->quiesce(r->t->dev))
		while (r->g.quiet_calls == before)
			guest_run(&r->g);
}

/* After a machine reset, a driver finds the device as new, whatever was done to it. */
static void begin(struct rig *r, unsigned int which)
{
	r->t = &r->all[which % DEVICES];
	r->runs = r->saves = 0;
	r->g.brk = 4096;
	memset(r->g.ram, 0, 2 * RING_BYTES);
	driver_start(&r->d, &r->g, 1 + which % DEVICES, UINT64_MAX, r->t->nqueues);
	assert(driver_status(&r->d) & VIRTIO_CONFIG_S_DRIVER_OK);
	assert(!(driver_status(&r->d) & VIRTIO_CONFIG_S_NEEDS_RESET));
}

static void end(struct rig *r)
{
	run(r);
	quiet(r);
	r->t->ops->reset(r->t->dev);
	r->t->ops->resume(r->t->dev);
}

static int restore(struct rig *r, const struct state_node *from)
{
	return r->t->ops->create(&r->g.env, "dev", r->t->cfg, from, &r->t->dev);
}

/*
 * The machine is saved and restored; first from a snapshot in which some bytes are others. That may be refused, or
 * make a device in any state; as it was saved it must be taken.
 */
static void save_and_restore(struct rig *r, struct input *in)
{
	size_t len_bytes;
	struct state_node root;
	unsigned int patches = take(in, 1) % 8;
	if (r->saves++ >= SAVES_MAX)
		return;
	quiet(r);
	uint8_t *state = device_state(r->t->dev, &len_bytes);
	uint8_t *hostile = malloc(len_bytes);
	assert(hostile);
	memcpy(hostile, state, len_bytes);
	for (unsigned int i = 0; i < patches; i++) {
		size_t at = take(in, 2) % len_bytes;
		hostile[at] = (uint8_t)take(in, 1);
	}
	r->t->ops->destroy(r->t->dev);
	if (state_open(hostile, len_bytes, &root) || restore(r, &root)) {
		int err = state_open(state, len_bytes, &root);
		assert(!err);
		err = restore(r, &root);
		assert(!err);
	}
	free(hostile);
	free(state);
	r->t->ops->resume(r->t->dev);
}

/* ---- actions ---- */

static void act_ram(struct rig *r, struct input *in)
{
	uint32_t off = take(in, 2), n = take(in, 1);
	for (uint32_t i = 0; i < n && in->left; i++)
		r->g.ram[(off + i) % RING_BYTES] = (uint8_t)take(in, 1);
}

static void act_chain(struct rig *r, struct input *in)
{
	struct buf bufs[8];
	unsigned int q = take(in, 1) % r->t->nqueues, shape = take(in, 1);
	unsigned int n = 1 + shape % 8;
	for (unsigned int i = 0; i < n; i++) {
		bufs[i].gpa = take(in, 2) * 16;
		bufs[i].len = take(in, 2);
		bufs[i].write = take(in, 1) & 1;
	}
	if (shape & 0x80 && r->g.brk + 4096 < GUEST_RAM_BYTES)
		driver_add_indirect(&r->d, q, bufs, n);
	else
		driver_add(&r->d, q, bufs, n);
}

static void act_bar(struct rig *r, struct input *in)
{
	uint32_t off = take(in, 2) % VIRTIO_PCI_BAR_BYTES;
	unsigned int size = 1u << take(in, 1) % 4;
	bool write = take(in, 1) & 1;
	if (write)
		mmio_write(&r->g, r->d.bar + off, size, take(in, 4));
	else
		mmio_read(&r->g, r->d.bar + off, size);
}

static void act_config(struct rig *r, struct input *in)
{
	unsigned int off = take(in, 1), size = 1u << take(in, 1) % 3;
	/* The BAR stays, or the driver has nobody to talk to. */
	if (off / 4 != 4)
		config_write(&r->g, r->d.slot, off, size, take(in, 4));
	config_read(&r->g, r->d.slot, off, size);
}

static void act_backend(struct rig *r, struct input *in)
{
	static uint8_t bytes[NET_FRAME_MAX];
	uint32_t n = take(in, 2);
	struct iovec iov = { bytes, n };
	if (r->net.sink && n)
		r->net.sink->deliver(r->net.sink, &iov, 1, n);
	struct chardev *c = &r->streams[n & 1];
	if (c->port) {
		chardev_tell_connected(c, n & 2);
		chardev_deliver(c, bytes, n);
		chardev_tell_room(c);
		chardev_tell_size(c, n, n);
	}
}

static void act(struct rig *r, enum action what, struct input *in)
{
	switch (what) {
	case ACT_RAM: act_ram(r, in); break;
	case ACT_CHAIN: act_chain(r, in); break;
	case ACT_OFFER: {
		unsigned int q = take(in, 1) % r->t->nqueues;
		driver_offer(&r->d, q, (uint16_t)take(in, 2));
		break;
	}
	case ACT_KICK: driver_kick(&r->d, take(in, 1) % r->t->nqueues); break;
	case ACT_RUN: run(r); break;
	case ACT_BAR: act_bar(r, in); break;
	case ACT_CONFIG: act_config(r, in); break;
	case ACT_HOLD:
		if (take(in, 1) & 1)
			r->blk->hold = true;
		else
			fake_blk_release(r->blk);
		break;
	case ACT_BACKEND: act_backend(r, in); break;
	case ACT_RESET:
		driver_reset(&r->d);
		fake_blk_release(r->blk);
		run(r);
		break;
	case ACT_SAVE: save_and_restore(r, in); break;
	case ACTIONS: break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct rig r;
	struct input in = { data, len };
	if (!r.blk) {
		log_set_level(LOG_LEVEL_ERROR); /* what the guest is told off for is no news */
		rig_create(&r);
	}
	begin(&r, take(&in, 1));
	while (in.left)
		act(&r, (enum action)(take(&in, 1) % ACTIONS), &in);
	end(&r);
	return 0;
}
