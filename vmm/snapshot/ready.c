/* SPDX-License-Identifier: Apache-2.0 */
/* Starting from `ready`. */
#include "vmm/snapshot/ready.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot.h"
#include "vmm/agent/agent.h"
#include "vmm/backends.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/snapshot/snapshot_head.h"

enum { MESSAGE_BYTES = 512 };

static int co_is_ready(struct blk_node *n, void *arg)
{
	return qcow2_co_disk_is_snapshot(n, READY_NAME, arg);
}

static int co_open(struct blk_node *n, void *arg)
{
	return snapshot_co_open(n, READY_NAME, arg);
}

/* A kernel or a BIOS of its own is asked for, or what the disk was is past. */
static bool may_be(const struct machine_config *cfg, const struct backends *hosts)
{
	bool is = false;
	if (cfg->cold || cfg->from || cfg->kernel || cfg->firmware == CONFIG_FIRMWARE_BIOS ||
	    !cfg->image || !blk_is_qcow2(hosts->disks[0]))
		return false;
	/* What is wrong with the table of snapshots is nothing to a boot. */
	return !qcow2_run(hosts->disks[0], co_is_ready, &is) && is;
}

/* Devices and command line; all else of a machine is told anew when it goes on. */
static bool has_what_it_was_saved_with(const struct machine_config *cfg, const struct snapshot *s)
{
	return cfg->ndisks == 1 && !cfg->cdrom && !cfg->nchannels && !cfg->append &&
	       cfg->cloud_init != CLOUD_INIT_ON && cfg->net == snapshot_has_device(s, "net0") &&
	       cfg->agent && snapshot_has_device(s, "channels");
}

/* -> whether the machine can be that one; else the reason in @why. */
static bool is_the_machine(const struct machine_config *cfg, const struct snapshot *s, char *why,
			   size_t bytes)
{
	const struct snapshot_info *i = &s->info;
	if (i->mem_bytes != cfg->mem_bytes)
		snprintf(why, bytes, "it has %llu MiB of memory, and %llu MiB are wanted",
			 (unsigned long long)(i->mem_bytes / MIB),
			 (unsigned long long)(cfg->mem_bytes / MIB));
	else if (i->cpus != cfg->cpus)
		snprintf(why, bytes, "it has %u vCPUs, and %u are wanted", i->cpus, cfg->cpus);
	else if (!has_what_it_was_saved_with(cfg, s))
		snprintf(why, bytes,
			 "it was saved with other options (--disk, --cdrom, --channel, --append, "
			 "--net, --agent, --cloud-init)");
	else
		return true;
	return false;
}

static void say_it_boots(const char *name, const char *why)
{
	log_warn("%s boots, and does not go on from its snapshot '%s': %s", name, READY_NAME, why);
}

void ready_find(struct machine_config *cfg, struct backends *hosts)
{
	char why[MESSAGE_BYTES];
	struct snapshot *s = may_be(cfg, hosts) ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return;
	int err = qcow2_run(hosts->disks[0], co_open, s);
	if (err)
		snapshot_explain(err, cfg->image, READY_NAME, why, sizeof(why));
	if (!err && s->info.unclaimed && is_the_machine(cfg, s, why, sizeof(why))) {
		cfg->from = READY_NAME;
		hosts->from = s;
		hosts->ready = READY_CHOSEN;
		return;
	}
	/* Somebody's own of this name, or a disk alone, is none of ours. */
	if (err ? err != -ENODATA : s->info.unclaimed)
		say_it_boots(cfg->name, why);
	snapshot_free(s);
}

void ready_started(const struct backends *hosts)
{
	log_info("%s goes on from its snapshot '%s' (--cold boots it instead)", hosts->record.name,
		 READY_NAME);
}

void ready_refuse(struct backends *hosts, const char *why)
{
	say_it_boots(hosts->record.name, why);
	hosts->ready = READY_REFUSED;
}

void ready_give_up(struct machine_config *cfg, struct backends *hosts)
{
	if (hosts->ready == READY_CHOSEN)
		say_it_boots(cfg->name, "the line above says why");
	hosts->ready = READY_NONE;
	hosts->unclaimed = false;
	cfg->from = NULL;
	if (!cfg->cloud_init_given)
		cfg->cloud_init = CLOUD_INIT_AUTO;
	agent_set_event(hosts->agent, AGENT_BOOTED);
}
