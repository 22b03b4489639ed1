/* SPDX-License-Identifier: Apache-2.0 */
/* How a datagram to an IPv6 address reaches a guest's IPv4 port. Internal to slirp.c. */
#ifndef NET_UDP_RELAY_H
#define NET_UDP_RELAY_H

struct forward;
struct loop;
struct sockaddr_in;
struct udp_relay;

/* Datagrams to @f, UDP on IPv6, go on to @to, and answers back. @f outlives the relay. -> 0 or
 * -errno. */
int udp_relay_create(struct loop *loop, const struct forward *f, const struct sockaddr_in *to,
		     struct udp_relay **out);
void udp_relay_destroy(struct udp_relay *r);

#endif
