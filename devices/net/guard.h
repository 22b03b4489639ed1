/* SPDX-License-Identifier: Apache-2.0 */
/* What of the guest's packets may reach libslirp, and through it the host. */
#ifndef NET_GUARD_H
#define NET_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GUARD_PORTS_MAX = 16, GUARD_PEERS_MAX = 64 };

enum guard_verdict {
	GUARD_PASS,
	GUARD_DROP,
	GUARD_REFUSE, /* a TCP connection that may not be: after guard_refuse() libslirp answers it
			 with RST */
};

/* A datagram of the host's loopback came in from peer_port for the guest's port: it may be
 * answered. */
struct guard_peer {
	uint8_t version; /* 4, 6; 0: unused */
	uint16_t guest_port;
	uint16_t peer_port;
};

/* Zeroed is the default: nothing of the host's own. */
struct guard {
	bool loopback_all; /* all ports of the host's loopback are reachable at the gateway */
	uint16_t ports[GUARD_PORTS_MAX]; /* or these, TCP and UDP */
	unsigned int n_ports;
	uint32_t mtu_bytes;
	bool flows_full; /* no new flows: the caller counts */

	struct guard_peer peers[GUARD_PEERS_MAX];
	unsigned int next_peer;
	uint64_t second; /* CLOCK_MONOTONIC, of the count below */
	unsigned int fragments_this_second;
};

/* A frame from the guest, @len bytes; @now_ns is CLOCK_MONOTONIC. */
enum guard_verdict guard_check(struct guard *g, const uint8_t *frame, size_t len, uint64_t now_ns);

/* Makes of a frame with the verdict GUARD_REFUSE one that libslirp refuses by itself. */
void guard_refuse(uint8_t *frame);

/* A frame to the guest: remembers which of its ports were asked something. */
void guard_saw(struct guard *g, const uint8_t *frame, size_t len);

#endif
