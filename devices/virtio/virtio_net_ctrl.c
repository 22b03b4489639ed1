/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of the guest's driver (virtio 1.2, 5.1.6.5). */
#include <string.h>

#include "devices/virtio/virtio_net_int.h"
#include "vmm/base/endian.h"

enum {
	CTRL_RX = 0,
	CTRL_RX_LAST = 5,
	CTRL_MAC = 1,
	CTRL_MAC_TABLE_SET = 0,
	CTRL_MAC_ADDR_SET = 1,
	CTRL_ANNOUNCE = 3,
	CTRL_ANNOUNCE_ACK = 0,
	CTRL_OK = 0,
	CTRL_ERR = 1,
};

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

bool virtio_net_command(struct virtio_device *v, unsigned int q)
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
