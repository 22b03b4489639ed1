/* SPDX-License-Identifier: Apache-2.0 */
/* Forwards: ports of the host that lead to ports of the guest. */
/*
 * How it works. Parsing makes a spec; binding makes of it one socket for each address: two for a
 * loopback forward, 127.0.0.1 and ::1. Browsers and ssh try ::1 first for "localhost", and a
 * stranger who sits there alone would get what is meant for the machine: so ::1 is bound too, and
 * is missing only where the host has no IPv6. An IPv6 socket never takes IPv4 (V6ONLY), for then
 * the two would exclude each other.
 *
 * TCP sockets have SO_REUSEADDR, which on Linux lets them be bound over old connections but never
 * over a listener. UDP ones must not: there it would let a second process share the port.
 */
#include "devices/net/forward.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/net/holder.h"
#include "vmm/base/log.h"

enum { FORWARD_BACKLOG = 128, FORWARD_TEXT_MAX = 128 };

#define FORWARD_SYNTAX "[tcp|udp:][addr:]port:guestport, as 8080:80 or udp:[::1]:5353:53"

/* ---- the list ---- */

void forward_list_init(struct forward_list *l)
{
	list_init(&l->head);
}

static uint16_t forward_host_port(const struct forward *f)
{
	return ntohs(f->addr.ss_family == AF_INET
			     ? ((const struct sockaddr_in *)&f->addr)->sin_port
			     : ((const struct sockaddr_in6 *)&f->addr)->sin6_port);
}

static void forward_free(struct forward *f)
{
	list_del(&f->link);
	close(f->fd);
	free(f);
}

unsigned int forward_list_count(const struct forward_list *l)
{
	unsigned int n = 0;
	const struct list *pos;
	list_for_each (pos, &l->head)
		n++;
	return n;
}

void forward_list_trim(struct forward_list *l, unsigned int keep)
{
	unsigned int n = 0;
	struct list *pos, *tmp;
	list_for_each_safe (pos, tmp, &l->head)
		if (n++ >= keep)
			forward_free(list_entry(pos, struct forward, link));
}

unsigned int forward_list_remove(struct forward_list *l, bool udp, uint16_t host_port)
{
	unsigned int n = 0;
	struct list *pos, *tmp;
	list_for_each_safe (pos, tmp, &l->head) {
		struct forward *f = list_entry(pos, struct forward, link);
		if (f->udp != udp || forward_host_port(f) != host_port)
			continue;
		forward_free(f);
		n++;
	}
	return n;
}

void forward_list_fini(struct forward_list *l)
{
	if (l->head.next)
		forward_list_trim(l, 0);
}

bool forward_list_has(const struct forward_list *l, bool udp, uint16_t host_port)
{
	const struct list *pos;
	list_for_each (pos, &l->head) {
		const struct forward *f = list_entry(pos, const struct forward, link);
		if (f->udp == udp && forward_host_port(f) == host_port)
			return true;
	}
	return false;
}

const char *forward_addr_str(const struct forward *f, char buf[FORWARD_ADDR_STR])
{
	char ip[INET6_ADDRSTRLEN] = "?";
	bool v4 = f->addr.ss_family == AF_INET;
	const void *bytes = v4 ? (const void *)&((const struct sockaddr_in *)&f->addr)->sin_addr
			       : &((const struct sockaddr_in6 *)&f->addr)->sin6_addr;
	inet_ntop(f->addr.ss_family, bytes, ip, sizeof(ip));
	snprintf(buf, FORWARD_ADDR_STR, v4 ? "%s:%u" : "[%s]:%u", ip, forward_host_port(f));
	return buf;
}

/* ---- parsing ---- */

static bool parse_port(const char *s, uint16_t *out)
{
	char *end;
	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	unsigned long v = strtoul(s, &end, 10);
	if (*end || errno || !v || v > UINT16_MAX)
		return false;
	*out = (uint16_t)v;
	return true;
}

static bool parse_addr(const char *s, struct forward_spec *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&out->addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->addr;
	out->where = FORWARD_ADDR;
	if (!strcmp(s, "localhost")) {
		out->where = FORWARD_LOOPBACK;
	} else if (!strcmp(s, "*")) {
		out->where = FORWARD_ALL;
	} else if (inet_pton(AF_INET, s, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
	} else if (inet_pton(AF_INET6, s, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
	} else {
		return false;
	}
	return true;
}

/* Cuts off the part of *@s before the first ':', or NULL when there is none. */
static char *cut(char **s)
{
	char *part = *s, *colon = strchr(part, ':');
	if (!colon)
		return NULL;
	*colon = '\0';
	*s = colon + 1;
	return part;
}

/* The address at the start of *@s, if there is one, taken off; false: bad. */
static bool take_addr(char **s, struct forward_spec *out, const char **why)
{
	char *addr = NULL;
	*why = "the address is neither IPv4 nor IPv6 in brackets";
	if (**s == '[') {
		char *end = strstr(*s, "]:");
		if (!end || !memchr(*s, ':', (size_t)(end - *s)))
			return false;
		addr = *s + 1;
		*end = '\0';
		*s = end + 2;
	} else {
		char *first = strchr(*s, ':');
		if (!first || !strchr(first + 1, ':'))
			return true; /* two parts: ports only */
		addr = cut(s);
		if (strchr(strchr(*s, ':') + 1, ':')) {
			*why = "an IPv6 address goes in brackets";
			return false;
		}
	}
	return parse_addr(addr, out);
}

static bool parse(char *s, struct forward_spec *out, const char **why)
{
	if (!strncmp(s, "udp:", 4) || !strncmp(s, "tcp:", 4)) {
		out->udp = *s == 'u';
		s += 4;
	}
	if (!take_addr(&s, out, why))
		return false;
	char *host = cut(&s);
	*why = "two ports are wanted, the host's and the guest's";
	if (!host)
		return false;
	*why = "a port is a number from 1 to 65535";
	return parse_port(host, &out->host_port) && parse_port(s, &out->guest_port);
}

int forward_read(const char *text, struct forward_spec *out, const char **why)
{
	char copy[FORWARD_TEXT_MAX];
	memset(out, 0, sizeof(*out));
	*why = "too long";
	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	strcpy(copy, text);
	return parse(copy, out, why) ? 0 : -EINVAL;
}

int forward_parse(const char *text, struct forward_spec *out)
{
	const char *why;
	int err = forward_read(text, out, &why);
	if (err)
		log_error("--forward %.100s: %s; expected " FORWARD_SYNTAX, text, why);
	return err;
}

/* ---- binding ---- */

/* The address of @family that @spec means. false: none of that family. */
static bool spec_addr(const struct forward_spec *spec, int family, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (spec->where == FORWARD_ADDR) {
		if (spec->addr.ss_family != family)
			return false;
		*out = spec->addr;
	}
	bool all = spec->where == FORWARD_ALL;
	out->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)out;
		v4->sin_port = htons(spec->host_port);
		if (spec->where != FORWARD_ADDR)
			v4->sin_addr.s_addr = htonl(all ? INADDR_ANY : INADDR_LOOPBACK);
	} else {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
		v6->sin6_port = htons(spec->host_port);
		if (spec->where != FORWARD_ADDR)
			v6->sin6_addr = all ? in6addr_any : in6addr_loopback;
	}
	return true;
}

static socklen_t addr_len(const struct sockaddr_storage *addr)
{
	return addr->ss_family == AF_INET ? sizeof(struct sockaddr_in)
					  : sizeof(struct sockaddr_in6);
}

/* -> a bound socket, or -errno. */
static int open_socket(bool udp, const struct sockaddr_storage *addr)
{
	int type = (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
	int fd = socket(addr->ss_family, type, 0);
	int one = 1;
	if (fd < 0)
		return -errno;
	if (addr->ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		goto out_close;
	if (!udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		goto out_close;
	if (bind(fd, (const struct sockaddr *)addr, addr_len(addr)) < 0)
		goto out_close;
	if (!udp && listen(fd, FORWARD_BACKLOG) < 0)
		goto out_close;
	return fd;
out_close:;
	int err = -errno;
	close(fd);
	return err;
}

static int bind_one(struct forward_list *l, const struct forward_spec *spec,
		    const struct sockaddr_storage *addr)
{
	struct forward *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->udp = spec->udp;
	f->addr = *addr;
	f->guest_port = spec->guest_port;
	f->fd = open_socket(spec->udp, addr);
	if (f->fd < 0) {
		int err = f->fd;
		free(f);
		return err;
	}
	list_add_tail(&l->head, &f->link);
	return 0;
}

/* A host without IPv6, or without it on this interface. */
static bool no_such_family(int err)
{
	return err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL || err == -EPROTONOSUPPORT;
}

int forward_try(struct forward_list *l, const struct forward_spec *spec)
{
	unsigned int before = forward_list_count(l);
	struct sockaddr_storage addr;
	int err = 0;
	assert(spec->host_port && spec->guest_port);
	if (spec_addr(spec, AF_INET, &addr))
		err = bind_one(l, spec, &addr);
	if (!err && spec_addr(spec, AF_INET6, &addr)) {
		err = bind_one(l, spec, &addr);
		if (spec->where != FORWARD_ADDR && no_such_family(err))
			err = 0;
	}
	if (err)
		forward_list_trim(l, before);
	return err;
}

static int first_free_port(void)
{
	int port = 1024;
	FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
	if (f) {
		if (fscanf(f, "%d", &port) != 1)
			port = 1024;
		fclose(f);
	}
	return port;
}

void forward_explain(const struct forward_spec *spec, int err, char out[FORWARD_WHY])
{
	char who[HOLDER_STR], why[FORWARD_WHY - 40];
	switch (err) {
	case -EADDRINUSE:
		snprintf(why, sizeof(why),
			 "port %u of this host is taken by %s; stop that or choose another port",
			 spec->host_port, holder_of_port(spec->udp, spec->host_port, who));
		break;
	case -EACCES:
		snprintf(why, sizeof(why), "port %u is for root only; choose one from %d up",
			 spec->host_port, first_free_port());
		break;
	case -EADDRNOTAVAIL:
		snprintf(why, sizeof(why),
			 "the address is none of this host's ('ip address' shows them)");
		break;
	default: snprintf(why, sizeof(why), "%s", strerror(-err));
	}
	snprintf(out, FORWARD_WHY, "%s:%u:%u: %s", spec->udp ? "udp" : "tcp", spec->host_port,
		 spec->guest_port, why);
}

int forward_bind(struct forward_list *l, const struct forward_spec *spec)
{
	char why[FORWARD_WHY];
	int err = forward_try(l, spec);
	if (!err)
		return 0;
	forward_explain(spec, err, why);
	log_error("--forward %s", why);
	return err;
}
