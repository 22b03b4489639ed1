/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of virtio-net share: virtio_net.c, virtio_net_rx.c, virtio_net_ctrl.c. */
#ifndef DEVICES_VIRTIO_VIRTIO_NET_INT_H
#define DEVICES_VIRTIO_VIRTIO_NET_INT_H

#include "devices/net/net.h"
#include "devices/virtio/virtio.h"
#include "devices/virtio/virtio_net.h"

enum {
	/* Features (5.1.3) that receiving depends on. */
	F_GUEST_CSUM = 1,
	F_MRG_RXBUF = 15,

	/* Configuration (5.1.4) that the guest's commands change. */
	CFG_MAC = 0,
	CFG_STATUS = 6,
	MAC_BYTES = 6,
	STATUS_LINK_UP = 1,

	/* The header of a frame (5.1.6). */
	HDR_FLAGS = 0,
	HDR_BYTES = 12,

	Q_RX = 0,
	QUEUE_SIZE = 256,
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

static inline struct virtio_net *net_of(struct virtio_device *v)
{
	return (struct virtio_net *)v;
}

/* All with the device's lock held. */

/* Of struct net_sink: a frame for the guest. -> false: no buffers; the backend keeps it until it is woken. */
bool virtio_net_deliver(struct net_sink *sink, const struct iovec *iov, unsigned int niov,
			size_t len_bytes);

/* The next command of the guest's from queue @q. -> false: there is none, or the queue is broken. */
bool virtio_net_command(struct virtio_device *v, unsigned int q);

#endif
