/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net: frames between the guest's rings and a packet backend. */
/*
 * How it works (virtio 1.2, 5.1)
 *
 * To the network: the header is taken off and the frame handed to the backend as it lies in guest
 * memory. A checksum that the guest left undone goes along (struct net_offload); a TCP frame larger
 * than the MTU is taken whole, so HOST_TSO costs nothing here.
 *
 * To the guest: net_deliver() copies a frame into as many receive buffers as it needs (MRG_RXBUF).
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
 */
#include "devices/virtio/virtio_net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "devices/net/net.h"
#include "devices/virtio/virtio.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

static const char state_compatible[] = "charmvm,virtio-net-1";

enum {
	/* Features (5.1.3). */
	F_CSUM = 0,
	F_GUEST_CSUM = 1,
	F_MTU = 3,
	F_MAC = 5,
	F_HOST_TSO4 = 11,
	F_HOST_TSO6 = 12,
	F_MRG_RXBUF = 15,
	F_STATUS = 16,
	F_CTRL_VQ = 17,
	F_CTRL_RX = 18,
	F_GUEST_ANNOUNCE = 21,
	F_CTRL_MAC_ADDR = 23,

	/* Configuration (5.1.4). */
	CFG_MAC = 0,
	CFG_STATUS = 6,
	CFG_MTU = 10,
	CFG_BYTES = 12,
	MAC_BYTES = 6,
	STATUS_LINK_UP = 1,
	STATUS_ANNOUNCE = 2,

	/* The header of a frame (5.1.6). */
	HDR_FLAGS = 0,
	HDR_CSUM_START = 6,
	HDR_CSUM_OFFSET = 8,
	HDR_NUM_BUFFERS = 10,
	HDR_BYTES = 12,
	HDR_F_NEEDS_CSUM = 1,
	HDR_F_DATA_VALID = 2,

	/* Commands (5.1.6.5). */
	CTRL_RX = 0,
	CTRL_RX_LAST = 5,
	CTRL_MAC = 1,
	CTRL_MAC_TABLE_SET = 0,
	CTRL_MAC_ADDR_SET = 1,
	CTRL_ANNOUNCE = 3,
	CTRL_ANNOUNCE_ACK = 0,
	CTRL_OK = 0,
	CTRL_ERR = 1,

	Q_RX = 0,
	Q_TX = 1,
	Q_CTRL = 2,
	NQUEUES = 3,
	QUEUE_SIZE = 256,
	FRAME_MIN = 14, /* an Ethernet header */
};

struct virtio_net {
	struct virtio_device v;
	struct net_backend *backend;
	struct net_sink sink;
	struct loop_task flush;
	bool rx_starved; /* the backend was refused, and waits to be woken */
	bool tx_shown;	 /* transmitted frames were given back, the interrupt is still to come */
	bool announce;	 /* at the next resume */
	/* Scratch, here because it is large: of a transmitted chain, the first and the present one
	 * of a frame. */
	struct iovec tx_iov[VQ_IOV_MAX];
	struct iovec first_iov[VQ_IOV_MAX];
	struct iovec rx_iov[VQ_IOV_MAX];
};

static struct virtio_net *net_of(struct virtio_device *v)
{
	return (struct virtio_net *)v;
}

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

/* ---- to the guest ---- */

/* The next receive buffer. false: there is none, and a kick will tell when there is. */
static bool rx_pop(struct virtio_net *d, struct vq_chain *c)
{
	while (!virtio_pop(&d->v, Q_RX, c))
		if (!virtio_live(&d->v) || !vq_kicks_on(virtio_vq(&d->v, Q_RX)))
			return false;
	if (c->nout) {
		virtio_broken(&d->v, Q_RX, "a receive buffer that cannot be written");
		return false;
	}
	return true;
}

/* Where a copy out of the backend's ranges stands. */
struct source {
	const struct iovec *iov;
	unsigned int niov;
	size_t off; /* in the first of them */
	size_t left_bytes;
};

/* Copies to the ranges @to, up to their end. -> bytes copied. */
static size_t copy_some(struct source *s, const struct iovec *to, unsigned int nto, size_t to_off)
{
	size_t done = 0;
	while (s->left_bytes) {
		size_t n =
			iov_put(to, nto, to_off + done, (const uint8_t *)s->iov->iov_base + s->off,
				MIN(s->iov->iov_len - s->off, s->left_bytes));
		done += n;
		s->off += n;
		s->left_bytes -= n;
		if (s->off < s->iov->iov_len)
			break;
		s->iov++;
		s->off = 0;
	}
	return done;
}

/* The buffers of one frame: taken, filled, not given back yet. */
struct rx_frame {
	unsigned int n;
	uint16_t heads[QUEUE_SIZE];
	uint32_t lens[QUEUE_SIZE];
};

/* Fills buffers with a frame behind its header. -> false: too few of them (*drop: and there never
 * will be). */
static bool rx_fill(struct virtio_net *d, struct source *s, struct vq_chain *first,
		    struct rx_frame *f, bool *drop)
{
	struct vq_chain *c = first, more = { .iov = d->rx_iov, .iov_max = VQ_IOV_MAX };
	size_t skip = HDR_BYTES;
	while (s->left_bytes) {
		if (f->n == QUEUE_SIZE || (f->n && !virtio_has(&d->v, F_MRG_RXBUF))) {
			*drop = true;
			return false;
		}
		if (!rx_pop(d, c))
			return false;
		f->heads[f->n] = c->head;
		f->n++;
		if (c->in_bytes < skip) {
			virtio_broken(&d->v, Q_RX, "a receive buffer smaller than a header");
			return false;
		}
		f->lens[f->n - 1] = (uint32_t)(skip + copy_some(s, c->iov, c->nin, skip));
		c = &more;
		skip = 0;
	}
	return true;
}

static void rx_push(struct virtio_net *d, const struct vq_chain *first, const struct rx_frame *f)
{
	uint8_t hdr[HDR_BYTES] = { 0 };
	if (virtio_has(&d->v, F_GUEST_CSUM))
		hdr[HDR_FLAGS] = HDR_F_DATA_VALID;
	put_le16(hdr + HDR_NUM_BUFFERS, (uint16_t)f->n);
	iov_put(first->iov, first->nin, 0, hdr, sizeof(hdr));
	for (unsigned int i = 0; i < f->n; i++)
		vq_push(virtio_vq(&d->v, Q_RX), f->heads[i], f->lens[i]);
	loop_task_post(d->v.dev.env->loop, &d->flush);
}

static bool net_deliver(struct net_sink *sink, const struct iovec *iov, unsigned int niov,
			size_t len_bytes)
{
	struct virtio_net *d = container_of(sink, struct virtio_net, sink);
	struct virtio_device *v = &d->v;
	/* With nobody there it is lost; in a quiet time it waits. */
	if (!(v->status & VIRTIO_CONFIG_S_DRIVER_OK) || v->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return true;
	struct vq_chain first = { .iov = d->first_iov, .iov_max = VQ_IOV_MAX };
	struct source s = { .iov = iov, .niov = niov, .left_bytes = len_bytes };
	struct rx_frame f;
	bool drop = false;
	f.n = 0;
	if (virtio_live(v) && rx_fill(d, &s, &first, &f, &drop)) {
		rx_push(d, &first, &f);
		return true;
	}
	if (f.n)
		vq_unpop(virtio_vq(v, Q_RX), f.n);
	if (drop || v->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return true;
	d->rx_starved = true;
	return false;
}

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

/* ---- control ---- */

/* Every frame of the network's is for this guest, so there is nothing to filter: the modes are
 * taken note of by saying yes. */
static uint8_t ctrl_rx(uint8_t command, size_t len_bytes)
{
	return command <= CTRL_RX_LAST && len_bytes >= 1 ? CTRL_OK : CTRL_ERR;
}

static uint8_t ctrl_mac(struct virtio_net *d, uint8_t command, const uint8_t *data,
			size_t len_bytes)
{
	if (command == CTRL_MAC_TABLE_SET)
		return CTRL_OK;
	if (command != CTRL_MAC_ADDR_SET || len_bytes < MAC_BYTES)
		return CTRL_ERR;
	memcpy(d->v.config + CFG_MAC, data, MAC_BYTES);
	return CTRL_OK;
}

static uint8_t ctrl_announce(struct virtio_net *d, uint8_t command)
{
	if (command != CTRL_ANNOUNCE_ACK)
		return CTRL_ERR;
	put_le16(d->v.config + CFG_STATUS, STATUS_LINK_UP);
	return CTRL_OK;
}

static bool ctrl_one(struct virtio_device *v, unsigned int q)
{
	struct virtio_net *d = net_of(v);
	struct vq_chain c = { .iov = d->tx_iov, .iov_max = VQ_IOV_MAX };
	uint8_t cmd[2 + MAC_BYTES];
	if (!virtio_pop(v, q, &c))
		return false;
	size_t len = iov_get(c.iov, c.nout, 0, cmd, sizeof(cmd));
	if (len < 2 || !c.nin) {
		virtio_broken(v, q, "a command without a class or an acknowledgement");
		return false;
	}
	uint8_t ack;
	switch (cmd[0]) {
	case CTRL_RX: ack = ctrl_rx(cmd[1], len - 2); break;
	case CTRL_MAC: ack = ctrl_mac(d, cmd[1], cmd + 2, len - 2); break;
	case CTRL_ANNOUNCE: ack = ctrl_announce(d, cmd[1]); break;
	default: ack = CTRL_ERR;
	}
	iov_put(c.iov + c.nout, c.nin, 0, &ack, sizeof(ack));
	vq_push(virtio_vq(v, q), c.head, sizeof(ack));
	return true;
}

/* ---- the model ---- */

static void net_kick(struct virtio_device *v, unsigned int q)
{
	switch (q) {
	case Q_RX: rx_refilled(net_of(v)); break;
	case Q_TX: tx_kicked(net_of(v)); break;
	default: virtio_serve(v, q, ctrl_one);
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
	d->sink.deliver = net_deliver;
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
