/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forwards: ports of the host that lead to ports of the guest. They are bound here, before the
 * guest starts, by the process that will serve them, so that a taken port is told at once and by
 * name, and nobody comes between a check and the use. Who serves them is slirp.c.
 */
#ifndef NET_FORWARD_H
#define NET_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "vmm/base/list.h"

enum forward_where {
	FORWARD_LOOPBACK, /* 127.0.0.1, and ::1 where the host has it */
	FORWARD_ALL,	  /* all addresses, of both families */
	FORWARD_ADDR,	  /* the one in addr */
};

/* A forward as it was asked for. */
struct forward_spec {
	bool udp;
	enum forward_where where;
	struct sockaddr_storage addr; /* FORWARD_ADDR; its port is not used */
	uint16_t host_port;
	uint16_t guest_port;
};

/* A forward as it is: one bound socket. TCP: it listens. Non-blocking, close-on-exec. */
struct forward {
	bool udp;
	struct sockaddr_storage addr; /* AF_INET or AF_INET6, with the port */
	uint16_t guest_port;
	int fd;
	struct list link;
};

struct forward_list {
	struct list head; /* of struct forward, in the order they were asked for */
};

void forward_list_init(struct forward_list *l);
/* Closes and frees all; an initialised or zeroed list. */
void forward_list_fini(struct forward_list *l);
/* Is the host port of @proto taken by a forward of the list, at whatever address? */
bool forward_list_has(const struct forward_list *l, bool udp, uint16_t host_port);

/* Reads [tcp|udp:][addr:]port:guestport. -> 0, or -EINVAL with one line logged. */
int forward_parse(const char *text, struct forward_spec *out);
/* The same with nothing logged, and why it is not one in *why. */
int forward_read(const char *text, struct forward_spec *out, const char **why);

/* Binds what @spec asks for and appends it, all or nothing. -> 0, or -errno with one line logged.
 */
int forward_bind(struct forward_list *l, const struct forward_spec *spec);
/* The same without a line in the log, for a caller that has another port to try. */
int forward_try(struct forward_list *l, const struct forward_spec *spec);

/* In one line, why forward_try() gave @err, and what to do. */
enum { FORWARD_WHY = 256 };
void forward_explain(const struct forward_spec *spec, int err, char out[FORWARD_WHY]);

/* Closes those of a host port, at whatever address. -> how many. */
unsigned int forward_list_remove(struct forward_list *l, bool udp, uint16_t host_port);
/* Takes back the forwards behind the first @keep. */
void forward_list_trim(struct forward_list *l, unsigned int keep);
unsigned int forward_list_count(const struct forward_list *l);

/* "127.0.0.1:2234", "[::1]:2234": for messages. -> @buf. */
enum { FORWARD_ADDR_STR = 64 };
const char *forward_addr_str(const struct forward *f, char buf[FORWARD_ADDR_STR]);

#endif
