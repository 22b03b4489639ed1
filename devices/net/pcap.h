/* SPDX-License-Identifier: Apache-2.0 */
/* A capture of all that passes between a card and its backend, as tcpdump and Wireshark read it. */
#ifndef NET_PCAP_H
#define NET_PCAP_H

struct loop;
struct net_backend;

/*
 * Puts a capture into the new file @path (or a FIFO that somebody reads) in front of @inner, which
 * is then destroyed with it. -> 0, or -errno with one line logged, and @inner is still the
 * caller's.
 */
int pcap_create(struct loop *loop, const char *path, struct net_backend *inner,
		struct net_backend **out);

#endif
