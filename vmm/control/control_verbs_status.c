/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that only tell: status, ports. */
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "vmm/backends.h"
#include "vmm/base/clock.h"
#include "vmm/control/control_verbs.h"
#include "vmm/machine.h"

/* ---- ports ---- */

static json_t *forward_json(const struct forward *f)
{
	char ip[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&f->addr;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&f->addr;
	bool is_v6 = f->addr.ss_family == AF_INET6;
	inet_ntop(f->addr.ss_family,
		  is_v6 ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, ip,
		  sizeof(ip));
	return json_pack("{s:s, s:s, s:i, s:i}", "proto", f->udp ? "udp" : "tcp", "address", ip,
			 "host_port", ntohs(is_v6 ? v6->sin6_port : v4->sin_port), "guest_port",
			 f->guest_port);
}

static json_t *forwards_json(const struct backends *b)
{
	json_t *all = json_array();
	const struct list *pos;
	list_for_each (pos, &b->forwards.head)
		json_array_append_new(all,
				      forward_json(list_entry(pos, const struct forward, link)));
	return all;
}

void verb_ports(struct control_call *call, const json_t *request)
{
	(void)request;
	const struct backends *b = control_hosts(call);
	control_ok(call, json_pack("{s:i, s:o}", "code", (int)b->ports.code, "forwards",
				   forwards_json(b)));
}

/* ---- status ---- */

/* What of the process is in memory, the guest's part included; 0 when it cannot be told. */
static json_int_t resident_bytes(void)
{
	char line[256];
	long long kib = 0;
	FILE *f = fopen("/proc/self/status", "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "VmRSS: %lld", &kib) != 1)
		kib = 0;
	if (f)
		fclose(f);
	return kib * 1024;
}

static double cpu_seconds(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / NS_PER_S;
}

void verb_status(struct control_call *call, const json_t *request)
{
	(void)request;
	const struct backends *b = control_hosts(call);
	const struct machine_config *cfg = control_machine_config(call);
	const struct machine *m = control_machine(call);
	char image[PATH_MAX], cdrom[PATH_MAX];
	if (!cfg->cdrom || !realpath(cfg->cdrom, cdrom))
		cdrom[0] = '\0';
	if (!cfg->ndisks || !realpath(cfg->disks[0].path, image))
		image[0] = '\0';
	control_ok(call,
		   json_pack("{s:s, s:I, s:s, s:I, s:s, s:s, s:I, s:I, s:i, s:f, s:i, s:i, s:s, "
			     "s:s, s:I, s:b, s:o}",
			     "name", b->record.name, "pid", (json_int_t)getpid(), "state",
			     machine_paused(m) ? "paused" : "running", "uptime",
			     (json_int_t)(time(NULL) - b->record.started_s), "image", image,
			     "cdrom", cdrom, "memory", (json_int_t)cfg->mem_bytes, "resident",
			     resident_bytes(), "cpus", (int)cfg->cpus, "cpu_seconds", cpu_seconds(),
			     "ssh_port", (int)backends_ssh_port(b), "code", (int)b->ports.code,
			     "console", b->console_spec, "snapshot_id", machine_snapshot_id(m),
			     "resets", (json_int_t)machine_resets(m), "disk_driver",
			     (int)machine_disk_has_driver(m), "forwards", forwards_json(b)));
}
