/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User-mode networking: a network of the guest's own behind NAT, in this process, through libslirp.
 * The guest gets its address by DHCP or router advertisement, names from the host's resolver, and
 * the internet; the host reaches the guest through forwards (forward.h). Every machine has the same
 * addresses, so that forks of one keep theirs.
 */
#ifndef NET_SLIRP_H
#define NET_SLIRP_H

#include <stdbool.h>
#include <stdint.h>

struct forward_list;
struct loop;
struct net_backend;

/* IPv4: 10.0.2.0/24, in host order. IPv6: fec0::/64 with the gateway ::2 and the name server ::3.
 */
#define SLIRP_IP4_NETWORK UINT32_C(0x0a000200)
#define SLIRP_IP4_MASK	  UINT32_C(0xffffff00)
#define SLIRP_IP4_GATEWAY UINT32_C(0x0a000202)
#define SLIRP_IP4_DNS	  UINT32_C(0x0a000203)
#define SLIRP_IP4_GUEST	  UINT32_C(0x0a00020f)
#define SLIRP_IP6_PREFIX  "fec0::"

struct slirp_config {
	/*
	 * What is forwarded to the guest; NULL: nothing. Stays the caller's and outlives the
	 * backend: its sockets listen on while the machine is reset.
	 */
	const struct forward_list *forwards;
	const char *hostname; /* told by DHCP; NULL: none */
	uint32_t mtu_bytes;   /* 0: NET_MTU_MAX */
	bool restricted;      /* nothing but the forwards: no way out */
	/* The guest reaches the host's loopback at the gateway's address: all of it, or these
	 * ports. */
	bool loopback_all;
	const uint16_t *loopback_ports;
	unsigned int n_loopback_ports;
};

/* The process ignores SIGPIPE: libslirp writes to sockets whose peer has gone. */
/* -> 0 and a backend to be destroyed through its ops, or -errno with one line logged. */
int slirp_create(struct loop *loop, const struct slirp_config *cfg, struct net_backend **out);

#endif
