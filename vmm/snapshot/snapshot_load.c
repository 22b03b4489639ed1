/* SPDX-License-Identifier: Apache-2.0 */
/* The machine becomes what a snapshot says: a new process with --from, or a running one that reverts. */
/*
 * How it works, in order. What can be refused is refused while nothing has changed.
 *
 *  1. The snapshot is read and checked as a whole (snapshot_head.c); its machine must be this one: memory,
 *     vCPUs, processor features, devices by name and version, RAM within the file.
 *  2. Devices are made with their saved state. A revert destroys the present ones before, and makes them again from
 *     a tree in memory where the saved ones cannot be made.
 *  3. The disk goes on with the snapshot's tables: one atomic change of the image.
 *  4. RAM is mapped from the image. A revert to what RAM is mapped from only drops the pages written since.
 *  5. Chips and vCPUs; a new VM generation, so that the guest does not draw random numbers that it has drawn before.
 *
 * The disk that is there when a machine starts with --from may be the only copy of somebody's work, so it is dropped
 * only where a snapshot has it, too, or with --discard. A revert is the user's word for dropping it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/block.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/net/net.h"
#include "devices/platform/event_dev.h"
#include "vmm/backends.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"
#include "vmm/snapshot/ready.h"
#include "vmm/snapshot/snapshot_job.h"
#include "vmm/agent/agent.h"
#include "vmm/x86/cpuid.h"

enum { MESSAGE_BYTES = 512 };

/* ---- 1. reading and checking ---- */

struct open_job {
	const char *name;
	struct snapshot *s;
};

static int co_open(struct blk_node *n, void *arg)
{
	const struct open_job *j = arg;
	return snapshot_co_open(n, j->name, j->s);
}

/* -> EXIT_STATUS_OK; else the reason in @why, and nothing to close. */
static enum exit_status open_snapshot(struct blk_node *disk, const char *name, struct snapshot *s,
				      char *why, size_t bytes)
{
	struct open_job job = { name, s };
	int err = qcow2_run(disk, co_open, &job);
	if (!err)
		return EXIT_STATUS_OK;
	snapshot_explain(err, blk_name(disk), name, why, bytes);
	snapshot_close(s);
	return EXIT_STATUS_FILE;
}

static int check_arch(const struct snapshot *s)
{
	char arch[32] = "";
	return state_get_str(s->root, "arch", arch, sizeof(arch)) || strcmp(arch, "x86-64") != 0
		       ? -EINVAL
		       : 0;
}

/* Size, RAM, architecture. */
static bool fits(const struct machine *m, struct blk_node *disk, const struct snapshot *s,
		 char *why, size_t bytes)
{
	const struct snapshot_info *i = &s->info;
	if (i->mem_bytes != m->cfg->mem_bytes)
		snprintf(why, bytes,
			 "the snapshot is of a machine with --mem %lluM, this one has %lluM",
			 (unsigned long long)(i->mem_bytes >> 20),
			 (unsigned long long)(m->cfg->mem_bytes >> 20));
	else if (i->cpus != m->cfg->cpus)
		snprintf(why, bytes, "the snapshot is of a machine with --cpus %u, this one has %u",
			 i->cpus, m->cfg->cpus);
	else if (check_arch(s) || s->ram_unit != snapshot_ram_unit(disk) ||
		 snapshot_ram_check(disk, s, i->mem_bytes))
		snprintf(why, bytes, "%s: snapshot '%s': its saved state is damaged",
			 blk_name(disk), s->name);
	else
		return true;
	return false;
}

static int load_cpuid(struct machine *m, const struct snapshot *s, bool running, char *why,
		      size_t bytes)
{
	const struct x86_cpuid_load load = {
		.kvm = &m->kvm, .vcpus = m->vcpus, .model = m->cfg->cpu, .running = running
	};
	struct state_node n;
	int err = state_child(s->root, "processor", &n);
	if (err)
		snprintf(why, bytes, "the snapshot's processor is missing: it is damaged");
	return err ? err : x86_cpuid_load(&load, n, why, bytes);
}

/* ---- 3. to 5. ---- */

static int co_apply(struct blk_node *n, void *arg)
{
	const struct snapshot *s = arg;
	return qcow2_co_snapshot_apply(n, s->id);
}

/* RAM, chips and vCPUs; the devices are there. */
static int load_memory(struct machine *m, struct blk_node *disk, const struct snapshot *s,
		       bool running)
{
	int err = running ? snapshot_ram_revert(&m->origin, &m->ram, disk, s)
			  : snapshot_ram_restore(&m->origin, &m->ram, disk, s);
	if (err)
		log_error("cannot get the machine's memory from the snapshot: %s", strerror(-err));
	err = err ? err : machine_load_processor(m, s->root);
	err = err ? err : machine_new_generation(m);
	if (err)
		return err;
	machine_settle(m);
	event_dev_vm_generation(m->event_dev);
	memcpy(m->snapshot_id, s->id, sizeof(m->snapshot_id));
	return 0;
}

/* ---- --from ---- */

static int co_is_saved(struct blk_node *n, void *arg)
{
	return qcow2_co_disk_is_saved(n, arg);
}

/* Whether the disk's present contents may go. */
static enum exit_status may_drop_disk(const struct machine *m, struct blk_node *disk)
{
	bool saved = false;
	if (m->cfg->discard)
		return EXIT_STATUS_OK;
	int err = qcow2_run(disk, co_is_saved, &saved);
	if (!err && saved)
		return EXIT_STATUS_OK;
	log_error("%s: its disk has contents that no snapshot has, and starting from '%s' drops "
		  "them: keep them "
		  "(charmvm image snapshot -c NAME %s), or drop them with --discard",
		  blk_name(disk), m->cfg->from, blk_name(disk));
	return EXIT_STATUS_FILE;
}

/* A machine that nobody asked to start from a snapshot boots instead. */
static enum exit_status refuse(const struct machine *m, const char *why)
{
	if (m->hosts->ready)
		ready_refuse(m->hosts, why);
	else
		log_error("%s", why);
	return EXIT_STATUS_FILE;
}

static enum exit_status start(struct machine *m, struct blk_node *disk, struct snapshot *s)
{
	char why[MESSAGE_BYTES];
	bool fork = m->hosts->fork_base;
	if (!fits(m, disk, s, why, sizeof(why)))
		return refuse(m, why);
	enum exit_status status = fork ? EXIT_STATUS_OK : may_drop_disk(m, disk);
	if (status)
		return status;
	if (load_cpuid(m, s, false, why, sizeof(why)))
		return refuse(m, why);
	if (machine_save_cold(m))
		return EXIT_STATUS_FAILED;
	/* A disk of another size comes first: its device says how large it is. */
	bool resized = !fork && blk_size(disk) != s->disk_bytes;
	if (resized && qcow2_run(disk, co_apply, s))
		return EXIT_STATUS_FILE;
	status = machine_load_devices(m, s->root);
	if (status || machine_check_devices(m, s->root))
		return EXIT_STATUS_FILE;
	int err = resized || fork ? 0 : qcow2_run(disk, co_apply, s);
	if (err)
		log_error("%s: its disk cannot be set back: %s", blk_name(disk), strerror(-err));
	return err || load_memory(m, disk, s, false) ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

/* The image that the snapshot is in: the disk itself, or what a throw-away machine's disk lies on. */
static struct blk_node *source(const struct machine *m, char *why, size_t bytes)
{
	return m->hosts->fork_base ? m->hosts->fork_base : snapshot_disk(m, why, bytes);
}

/* cfg->from, for backends_close(). -> EXIT_STATUS_OK, or why not, logged. */
static enum exit_status open_from(const struct machine_config *cfg, struct backends *hosts)
{
	char why[MESSAGE_BYTES] = "out of memory";
	const struct machine m = { .cfg = cfg, .hosts = hosts };
	struct snapshot *s = calloc(1, sizeof(*s));
	struct blk_node *disk = s ? source(&m, why, sizeof(why)) : NULL;
	if (!disk || open_snapshot(disk, cfg->from, s, why, sizeof(why))) {
		free(s);
		log_error("%s", why);
		return EXIT_STATUS_FILE;
	}
	hosts->from = s;
	return EXIT_STATUS_OK;
}

enum exit_status machine_start_from(struct machine *m)
{
	char why[MESSAGE_BYTES];
	enum exit_status status = m->hosts->from ? EXIT_STATUS_OK : open_from(m->cfg, m->hosts);
	if (!status)
		status = start(m, source(m, why, sizeof(why)), m->hosts->from);
	snapshot_free(m->hosts->from);
	m->hosts->from = NULL;
	return status;
}

/* What the command line leaves open is as it was when the snapshot was made. */
static void configure(struct machine_config *cfg, const struct snapshot *s)
{
	if (!cfg->mem_given)
		cfg->mem_bytes = s->info.mem_bytes;
	if (!cfg->cpus_given)
		cfg->cpus = s->info.cpus;
	if (!cfg->net_given)
		cfg->net = snapshot_has_device(s, "net0");
	if (!cfg->cloud_init_given)
		cfg->cloud_init = snapshot_has_device(s, "seed") ? CLOUD_INIT_ON : CLOUD_INIT_OFF;
	if (!cfg->agent_given && !cfg->nchannels)
		cfg->agent = snapshot_has_device(s, "channels");
}

/* A name goes into a path: one that no machine may have is none. */
static void read_keys_name(const struct snapshot *s, char out[CONFIG_NAME_MAX + 1])
{
	if (state_get_str(s->root, "host-key", out, CONFIG_NAME_MAX + 1) || !config_name_ok(out))
		*out = '\0';
}

enum exit_status snapshot_configure(struct machine_config *cfg, struct backends *hosts)
{
	enum exit_status status = hosts->from ? EXIT_STATUS_OK : open_from(cfg, hosts);
	if (status)
		return status;
	const struct snapshot *s = hosts->from;
	configure(cfg, s);
	hosts->unclaimed = s->info.unclaimed;
	if (!hosts->unclaimed)
		read_keys_name(s, hosts->keys_name);
	if (s->info.cpus > CONFIG_CPUS_MAX) {
		log_error(
			"snapshot '%s' is of a machine with %u vCPUs; this charmvm has at most %d",
			s->name, s->info.cpus, CONFIG_CPUS_MAX);
		return EXIT_STATUS_FILE;
	}
	if (!cfg->net && (cfg->nforwards || cfg->pcap)) {
		log_error("snapshot '%s' is of a machine without a network: nothing for --forward "
			  "or --pcap",
			  s->name);
		return EXIT_STATUS_USAGE;
	}
	return EXIT_STATUS_OK;
}

/* ---- revert ---- */

/* What the machine is now, to go back to where the snapshot's devices cannot be made. */
static int save_present(struct machine *m, struct state_writer **w, struct state_node *root)
{
	const void *blob;
	size_t bytes;
	int err = state_writer_create(w);
	if (err)
		return err;
	state_begin(*w, "", SNAPSHOT_COMPATIBLE);
	machine_save_devices(m, *w);
	state_end(*w);
	err = state_finish(*w, &blob, &bytes);
	return err ? err : state_open(blob, bytes, root);
}

/* The present devices again. A machine without devices cannot go on. */
static void back_to_present(struct machine *m, struct state_node present)
{
	machine_destroy_devices(m);
	if (machine_load_devices(m, present)) {
		log_error("the machine cannot go on: its devices are lost");
		machine_quit(m, EXIT_STATUS_FAILED);
	}
}

/* -> NULL, or what went wrong. */
static const char *exchange(struct machine *m, struct blk_node *disk, struct snapshot *s,
			    struct state_node present)
{
	machine_destroy_devices(m);
	agent_set_event(m->hosts->agent, s->info.unclaimed ? AGENT_FIRST : AGENT_REVERTED);
	bool made = !machine_load_devices(m, s->root);
	int err = made ? qcow2_run(disk, co_apply, s) : 0;
	if (!made || err) {
		back_to_present(m, present);
		return made ? strerror(-err) : "its saved devices are damaged";
	}
	if (load_memory(m, disk, s, true)) {
		machine_quit(m, EXIT_STATUS_FAILED);
		return "its memory or its processors are damaged; the machine is lost and ends";
	}
	return NULL;
}

static const char *revert(struct machine *m, struct blk_node *disk, struct snapshot *s, char *why,
			  size_t bytes)
{
	struct state_writer *w = NULL;
	struct state_node present;
	if (blk_size(disk) != s->disk_bytes)
		return "the disk had another size then: start a new machine from it (--from)";
	if (machine_check_devices(m, s->root))
		return "the machine had other devices then; its messages say which";
	if (load_cpuid(m, s, true, why, bytes))
		return why;
	int err = save_present(m, &w, &present);
	const char *wrong = err ? strerror(-err) : exchange(m, disk, s, present);
	state_writer_destroy(w);
	return wrong;
}

static void revert_stopped(void *opaque)
{
	struct snapshot_job *job = opaque;
	struct machine *m = job->m;
	char why[MESSAGE_BYTES] = "";
	struct snapshot s = { .n_extents = 0 };
	struct blk_node *disk = snapshot_disk(m, why, sizeof(why));
	enum exit_status status =
		disk ? open_snapshot(disk, job->name, &s, why, sizeof(why)) : EXIT_STATUS_FILE;
	if (status) {
		snapshot_job_end(job, status, "%s", why);
		return;
	}
	const char *wrong =
		!fits(m, disk, &s, why, sizeof(why)) ? why : revert(m, disk, &s, why, sizeof(why));
	if (!wrong && m->hosts->net)
		m->hosts->net->ops->reset(m->hosts->net);
	snapshot_close(&s);
	if (wrong)
		snapshot_job_end(job, EXIT_STATUS_FILE, "not reverted to '%s': %s", job->name,
				 wrong);
	else
		snapshot_job_end(job, EXIT_STATUS_OK, "%s", "");
}

void machine_snapshot_revert(struct machine *m, const char *name, snapshot_done_fn *done,
			     void *opaque)
{
	snapshot_job_begin(m, name, "snapshot-reverted", revert_stopped, done, opaque);
}
