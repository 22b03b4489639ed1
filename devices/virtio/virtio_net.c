/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net: frames between the guest's rings and a packet backend. */
/*
 * How it works (virtio 1.2, 5.1)
 *
 * To the network: the header is taken off and the frame handed to the backend as it lies in guest
 * memory. A checksum that the guest left undone goes along (struct net_offload); a TCP frame larger
 * than the MTU is taken whole, so HOST_TSO costs nothing here.
 *
 * To the guest: virtio_net_deliver() copies a frame into as many receive buffers as it needs (MRG_RXBUF).
 * The used entries are shown, and the guest interrupted, once for all frames of a loop turn
 * (flush). While there are buffers, kicks are parked; where they run out, deliver() says so to
 * the backend, asks for kicks, and wakes the backend when buffers are back.
 *
 * The interrupt for transmitted frames comes last in a turn, behind the one for received ones: Linux
 * takes back transmitted frames whenever it looks for received ones, and where it is quick the
 * second interrupt is not wanted any more.
 *
 * The checksums of the backend's frames are true (net.h), which GUEST_CSUM tells the guest.
 * GUEST_TSO is not offered: no frame to the guest is larger than the MTU, which is 65,520 bytes as
 * a rule.
 *
 * After a restore the network has forgotten where the guest is: GUEST_ANNOUNCE asks the guest to
 * say so.
 *
 * The way to the guest is in virtio_net_rx.c, its commands in virtio_net_ctrl.c.
 */
#include "devices/virtio/virtio_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "devices/virtio/virtio_net_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

static const char state_compatible[] = "charmvm,virtio-net-1";

enum {
	/* Features (5.1.3). */
	F_CSUM = 0,
	F_MTU = 3,
	F_MAC = 5,
	F_HOST_TSO4 = 11,
	F_HOST_TSO6 = 12,
	F_STATUS = 16,
	F_CTRL_VQ = 17,
	F_CTRL_RX = 18,
	F_GUEST_ANNOUNCE = 21,
	F_CTRL_MAC_ADDR = 23,

	/* Configuration (5.1.4). */
	CFG_MTU = 10,
	CFG_BYTES = 12,
	STATUS_ANNOUNCE = 2,

	/* The header of a frame (5.1.6). */
	HDR_CSUM_START = 6,
	HDR_CSUM_OFFSET = 8,
	HDR_F_NEEDS_CSUM = 1,

	Q_TX = 1,
	Q_CTRL = 2,
	NQUEUES = 3,
	FRAME_MIN = 14, /* an Ethernet header */
};

/* ---- to the network ---- */

static void send_frame(struct virtio_net *d, const struct vq_chain *c)
{
	uint8_t hdr[HDR_BYTES];
	struct iovec *iov = c->iov;
	unsigned int niov = c->nout;
	iov_get(iov, niov, 0, hdr, sizeof(hdr));
	iov_skip(&iov, &niov, sizeof(hdr));
	uint64_t len_bytes = c->out_bytes - HDR_BYTES;
	/* What no network takes is lost, as on one. */
	if (len_bytes < FRAME_MIN || len_bytes > NET_FRAME_MAX || niov > NET_IOV_MAX)
		return;
	const struct net_offload off = {
		.needs_csum = true,
		.csum_start = get_le16(hdr + HDR_CSUM_START),
		.csum_offset = get_le16(hdr + HDR_CSUM_OFFSET),
	};
	bool undone = virtio_has(&d->v, F_CSUM) && hdr[HDR_FLAGS] & HDR_F_NEEDS_CSUM;
	d->backend->ops->send(d->backend, iov, niov, len_bytes, undone ? &off : NULL);
}

static bool send_one(struct virtio_device *v, unsigned int q)
{
	struct virtio_net *d = net_of(v);
	struct vq_chain c = { .iov = d->tx_iov, .iov_max = VQ_IOV_MAX };
	if (!virtio_pop(v, q, &c))
		return false;
	if (c.out_bytes < HDR_BYTES) {
		virtio_broken(v, q, "a frame without a header");
		return false;
	}
	send_frame(d, &c);
	vq_push(virtio_vq(v, q), c.head, 0);
	return true;
}

/* ---- interrupts, and buffers that came back ---- */

static void interrupts(struct virtio_net *d)
{
	virtio_publish(&d->v, Q_RX);
	if (d->tx_shown)
		virtio_interrupt(&d->v, Q_TX);
	d->tx_shown = false;
}

static void flush(void *opaque)
{
	interrupts(opaque);
}

static void tx_kicked(struct virtio_net *d)
{
	if (!virtio_serve_quietly(&d->v, Q_TX, send_one))
		return;
	d->tx_shown = true;
	loop_task_post(d->v.dev.env->loop, &d->flush);
}

static void rx_refilled(struct virtio_net *d)
{
	vq_kicks_off(virtio_vq(&d->v, Q_RX));
	if (!d->rx_starved)
		return;
	d->rx_starved = false;
	d->backend->ops->wake(d->backend);
}

/* ---- the model ---- */

static void net_kick(struct virtio_device *v, unsigned int q)
{
	switch (q) {
	case Q_RX: rx_refilled(net_of(v)); break;
	case Q_TX: tx_kicked(net_of(v)); break;
	default: virtio_serve(v, q, virtio_net_command);
	}
}

/* What depends on what (5.1.3.1). */
static bool net_features_ok(struct virtio_device *v, uint64_t features)
{
	const uint64_t need_csum = 1 << F_HOST_TSO4 | 1 << F_HOST_TSO6;
	const uint64_t need_ctrl = 1 << F_CTRL_RX | 1 << F_GUEST_ANNOUNCE | 1 << F_CTRL_MAC_ADDR;
	(void)v;
	return (!(features & need_csum) || features & 1 << F_CSUM) &&
	       (!(features & need_ctrl) || features & 1 << F_CTRL_VQ);
}

static void net_virtio_reset(struct virtio_device *v)
{
	struct virtio_net *d = net_of(v);
	memcpy(v->config + CFG_MAC, d->backend->guest_mac, MAC_BYTES);
	put_le16(v->config + CFG_STATUS, STATUS_LINK_UP);
	d->announce = d->tx_shown = false;
}

static void net_virtio_quiesce(struct virtio_device *v)
{
	interrupts(net_of(v));
}

static const struct virtio_ops net_virtio_ops = {
	.features_ok = net_features_ok,
	.kick = net_kick,
	.reset = net_virtio_reset,
	.quiesce = net_virtio_quiesce,
};

/* ---- life cycle ---- */

static void fill_config(struct virtio_net *d)
{
	memcpy(d->v.config + CFG_MAC, d->backend->guest_mac, MAC_BYTES);
	put_le16(d->v.config + CFG_STATUS, STATUS_LINK_UP);
	put_le16(d->v.config + CFG_MTU,
		 (uint16_t)MIN(d->backend->mtu_bytes, (uint32_t)NET_MTU_MAX));
}

static void net_reset(struct device *dev)
{
	struct virtio_net *d = net_of(virtio_of(dev));
	virtio_device_reset(dev);
	fill_config(d); /* a restored card went on with the MTU of before */
	d->rx_starved = false;
	d->backend->ops->reset(d->backend);
}

static void net_resume(struct device *dev)
{
	struct virtio_net *d = net_of(virtio_of(dev));
	virtio_device_resume(dev);
	if (d->announce) {
		put_le16(d->v.config + CFG_STATUS, STATUS_LINK_UP | STATUS_ANNOUNCE);
		virtio_config_changed(&d->v);
	}
	d->announce = false;
}

static void net_destroy(struct device *dev)
{
	struct virtio_net *d = net_of(virtio_of(dev));
	net_attach(d->backend, NULL, NULL);
	loop_task_cancel(dev->env->loop, &d->flush);
	virtio_fini(&d->v);
	free(d);
}

static void net_save(struct device *dev, struct state_writer *w)
{
	struct virtio_device *v = virtio_of(dev);
	state_put_bytes(w, "mac", v->config + CFG_MAC, MAC_BYTES);
	state_put_u32(w, "mtu", get_le16(v->config + CFG_MTU));
	state_put_u32(w, "link-status", get_le16(v->config + CFG_STATUS));
	virtio_save(v, w);
}

static int net_restore(struct virtio_net *d, struct state_node n)
{
	uint32_t mtu, status;
	int err = state_check(n, state_compatible);
	if (err)
		return err;
	if (state_get_bytes(n, "mac", d->v.config + CFG_MAC, MAC_BYTES) ||
	    state_get_u32(n, "mtu", &mtu) || state_get_u32(n, "link-status", &status)) {
		log_error("%s: the snapshot's network card is damaged; use another snapshot",
			  d->v.dev.name);
		return -EINVAL;
	}
	/* The guest goes on using the MTU that it was told. */
	put_le16(d->v.config + CFG_MTU, (uint16_t)mtu);
	put_le16(d->v.config + CFG_STATUS, status & (STATUS_LINK_UP | STATUS_ANNOUNCE));
	return 0;
}

static int net_create(const struct device_env *env, const char *name, const void *cfg,
		      const struct state_node *from, struct device **out)
{
	const struct virtio_net_config *config = cfg;
	struct virtio_net *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->backend = config->backend;
	d->sink.deliver = virtio_net_deliver;
	d->flush = (struct loop_task){ .lock = &d->v.dev.lock, .fn = flush, .opaque = d };
	const struct virtio_params params = {
		.dev_ops = &virtio_net_device,
		.ops = &net_virtio_ops,
		.device_id = VIRTIO_ID_NET,
		.pci_class = 0x020000,
		.pci_slot = config->pci_slot,
		.features = 1 << F_CSUM | 1 << F_GUEST_CSUM | 1 << F_MTU | 1 << F_MAC |
			    1 << F_HOST_TSO4 | 1 << F_HOST_TSO6 | 1 << F_MRG_RXBUF | 1 << F_STATUS |
			    1 << F_CTRL_VQ | 1 << F_CTRL_RX | 1 << F_GUEST_ANNOUNCE |
			    1 << F_CTRL_MAC_ADDR,
		.nqueues = NQUEUES,
		.queue_size = QUEUE_SIZE,
		.config_len = CFG_BYTES,
	};
	int err = virtio_init(&d->v, &params, env, name);
	if (!err) {
		fill_config(d);
		err = from ? net_restore(d, *from) : 0;
	}
	if (!err)
		err = virtio_ready(&d->v, from);
	if (err) {
		net_destroy(&d->v.dev);
		return err;
	}
	d->announce = from && virtio_has(&d->v, F_GUEST_ANNOUNCE);
	net_attach(d->backend, &d->sink, &d->v.dev.lock);
	*out = &d->v.dev;
	return 0;
}

const struct device_ops virtio_net_device = {
	.compatible = state_compatible,
	.create = net_create,
	.reset = net_reset,
	.quiesce = virtio_device_quiesce,
	.save = net_save,
	.resume = net_resume,
	.destroy = net_destroy,
};
