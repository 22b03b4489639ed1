/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest's frame, with what it says of its checksum, through the guard and into libslirp. Whatever
 * passes must not be for an address of the host's own, as read here once more and in another way.
 * The network is a restricted one, so that nothing of this leaves the machine.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "devices/net/csum.h"
#include "devices/net/guard.h"
#include "devices/net/net.h"
#include "devices/net/slirp.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool take(struct net_sink *s, const struct iovec *iov, unsigned int niov, size_t len)
{
	(void)s;
	if (niov != 1 || iov[0].iov_len != len || len < 14 || len > NET_FRAME_MAX)
		abort();
	return true;
}

static void check_passed(const uint8_t *frame, size_t len)
{
	const uint8_t *ip = frame + 14;
	uint16_t type = get_be16(frame + 12);
	if (type == 0x0806)
		return;
	if (type == 0x0800 && len >= 34) {
		if (ip[16] == 127 || ip[16] == 0 ||
		    (ip[16] >= 224 && get_be32(ip + 16) != UINT32_MAX))
			abort();
	} else if (type == 0x86dd && len >= 54) {
		if (IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)(ip + 24)) ||
		    IN6_IS_ADDR_UNSPECIFIED((const struct in6_addr *)(ip + 24)) ||
		    IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(ip + 24)))
			abort();
	} else {
		abort();
	}
}

static void judge(const uint8_t *data, size_t len, const struct net_offload *off)
{
	static uint8_t frame[NET_FRAME_MAX];
	struct guard g = { .mtu_bytes = NET_MTU_MAX };
	memcpy(frame, data, len);
	if (off->needs_csum && !csum_complete(frame, len, off))
		return;
	switch (guard_check(&g, frame, len, 0)) {
	case GUARD_PASS: check_passed(frame, len); break;
	case GUARD_REFUSE: guard_refuse(frame); break;
	case GUARD_DROP: break;
	}
	guard_saw(&g, frame, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct loop *loop;
	static struct net_backend *net;
	static struct net_sink sink = { .deliver = take };
	static const struct slirp_config cfg = { .restricted = true };
	if (!loop) {
		if (loop_create(&loop) || slirp_create(loop, &cfg, &net))
			abort();
		net_attach(net, &sink, NULL);
	}
	if (len < 6 || len - 6 > NET_FRAME_MAX)
		return 0;
	struct net_offload off = { .needs_csum = data[0] & 1,
				   .csum_start = get_le16(data + 2),
				   .csum_offset = get_le16(data + 4) };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)(data + 6), .iov_len = len - 6 };
	judge(data + 6, len - 6, &off);
	net->ops->send(net, &iov, 1, iov.iov_len, &off);
	net->ops->reset(net);
	return 0;
}
