/* SPDX-License-Identifier: Apache-2.0 */
/* Frames to the guest (virtio 1.2, 5.1.6.3, 5.1.6.4): into as many receive buffers as they need. */
#include <linux/virtio_config.h>

#include "devices/virtio/virtio_net_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	/* The header of a frame (5.1.6). */
	HDR_NUM_BUFFERS = 10,
	HDR_F_DATA_VALID = 2,
};

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

bool virtio_net_deliver(struct net_sink *sink, const struct iovec *iov, unsigned int niov,
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
