/* SPDX-License-Identifier: Apache-2.0 */
/* The start-up message. */
#include "vmm/banner.h"

#include <stdio.h>
#include <sys/socket.h>

#include "vmm/backends.h"
#include "vmm/base/checked.h"

/* A terminal in raw mode does not return by itself. */
static void print_ports(const struct backends *b, const struct machine_config *cfg, const char *eol)
{
	struct list *pos;
	char at[FORWARD_ADDR_STR];
	unsigned int n = 0;
	list_for_each (pos, &b->forwards.head) {
		const struct forward *f = list_entry(pos, struct forward, link);
		if (f->addr.ss_family == AF_INET6)
			continue; /* its twin of IPv4 stands for both */
		fprintf(stderr, "%s%s%s -> %u", n++ ? ", " : "  ports:   ", f->udp ? "udp " : "",
			forward_addr_str(f, at), f->guest_port);
	}
	if (n)
		fputs(eol, stderr);
	const struct ports_exposed *e = &cfg->exposed;
	if (e->free || e->ssh || e->notebook || e->nports)
		fprintf(stderr,
			"  warning: ports on all addresses are open to everybody in your network%s",
			eol);
	if (b->ports.wanted && b->ports.code != b->ports.wanted)
		fprintf(stderr,
			"  note:    port %u is taken%s%s: the ports end in %02u and not in %02u%s",
			b->ports.taken_port, b->ports.taken_by[0] ? " by " : "", b->ports.taken_by,
			b->ports.code, b->ports.wanted, eol);
}

static void print_login(const struct backends *b, const char *eol)
{
	uint16_t port = backends_ssh_port(b);
	if (!port || !b->have_keys)
		return;
	fprintf(stderr, "  log in:  charmvm ssh %s%s", b->record.name, eol);
	if (b->record.box[0])
		return; /* who, and with which key, is in its login */
	fprintf(stderr, "           (or: ssh -i %s -p %u charm@localhost)%s", b->keys.user_key,
		port, eol);
}

void banner_print(const struct backends *b, const struct machine_config *cfg, bool raw_terminal)
{
	const char *eol = raw_terminal ? "\r\n" : "\n";
	fprintf(stderr, "%s: %u vCPU%s, %llu MiB of memory%s%s%s", b->record.name, cfg->cpus,
		cfg->cpus == 1 ? "" : "s", (unsigned long long)(cfg->mem_bytes / MIB),
		cfg->image ? ", disk " : "", cfg->image ? cfg->image : "", eol);
	print_login(b, eol);
	print_ports(b, cfg, eol);
	if (raw_terminal)
		fprintf(stderr, "  leave:   Ctrl-] then .   (Ctrl-] then ? for help)%s", eol);
}
