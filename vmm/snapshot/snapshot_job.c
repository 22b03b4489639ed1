/* SPDX-License-Identifier: Apache-2.0 */
/* What a save, a revert and a deletion have in common; deletion. */
#include "vmm/snapshot/snapshot_job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/block.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/create.h"
#include "devices/block/qcow2/header.h"
#include "vmm/backends.h"
#include "vmm/core/loop.h"
#include "vmm/machine_event.h"

enum { PAGE_BYTES = 4096, MESSAGE_BYTES = 512 };

struct snapshot_job *snapshot_job_begin(struct machine *m, const char *name, const char *event,
					void (*fn)(void *job), snapshot_done_fn *done, void *opaque)
{
	if (m->job) {
		done(opaque, EXIT_STATUS_IN_USE,
		     "another snapshot of this machine is being saved, reverted to or deleted; try "
		     "again "
		     "when that is done");
		return NULL;
	}
	if (strlen(name) > QCOW2_SNAPSHOT_NAME_MAX) {
		done(opaque, EXIT_STATUS_FILE, "there is no snapshot of so long a name");
		return NULL;
	}
	struct snapshot_job *job = calloc(1, sizeof(*job));
	if (!job) {
		done(opaque, EXIT_STATUS_FAILED, "out of memory");
		return NULL;
	}
	job->m = m;
	job->event = event;
	job->done = done;
	job->opaque = opaque;
	job->task = (struct machine_task){ .fn = fn, .opaque = job };
	snprintf(job->name, sizeof(job->name), "%s", name);
	m->job = job;
	m->job_ended = false;
	machine_when_stopped(m, &job->task);
	return job;
}

void snapshot_job_end(struct snapshot_job *job, enum exit_status status, const char *fmt, ...)
{
	char message[MESSAGE_BYTES];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	struct machine *m = job->m;
	snapshot_done_fn *done = job->done;
	void *opaque = job->opaque;
	m->job = NULL;
	m->job_ended = true;
	if (!status)
		machine_tell(m, job->event, job->name);
	free(job);
	done(opaque, status, message);
}

void machine_snapshot_end(struct machine *m, bool hurry)
{
	struct snapshot_job *job = m->job;
	if (!job)
		return;
	if (!list_empty(&job->task.link)) { /* still waits for a stop */
		list_del(&job->task.link);
		snapshot_job_end(job, EXIT_STATUS_FAILED, "the machine has ended");
		return;
	}
	if (hurry && job->save)
		snapshot_save_hurry(job->save);
	loop_run_until(m->hosts->loop, &m->job_ended);
}

/* ---- the disk ---- */

struct blk_node *snapshot_disk(const struct machine *m, char *why, size_t bytes)
{
	const struct backends *hosts = m->hosts;
	struct blk_node *disk = hosts->ndisks ? hosts->disks[0] : NULL;
	if (!disk)
		snprintf(why, bytes,
			 "the machine has no disk; a snapshot is kept in its image: --image FILE");
	else if (hosts->fork_base)
		snprintf(
			why, bytes,
			"this machine was started with --throw-away: it has no image of its own to "
			"hold snapshots");
	else if (!blk_is_qcow2(disk))
		snprintf(why, bytes,
			 "%s is %s and cannot hold snapshots: charmvm image convert -O qcow2 makes "
			 "a qcow2 of it",
			 blk_name(disk), blk_format(disk));
	else if (blk_read_only(disk))
		snprintf(why, bytes, "%s is read-only", blk_name(disk));
	else
		for (unsigned int i = 1; i < hosts->ndisks; i++)
			if (!blk_read_only(hosts->disks[i])) {
				snprintf(why, bytes,
					 "a snapshot holds the first disk only, and %s can be "
					 "written to: give it as "
					 "--disk FILE,ro",
					 blk_name(hosts->disks[i]));
				return NULL;
			}
	return disk && blk_is_qcow2(disk) && !blk_read_only(disk) ? disk : NULL;
}

uint32_t snapshot_ram_unit(const struct blk_node *disk)
{
	return MAX(UINT32_C(1) << qcow2_header_of(disk)->cluster_bits, (uint32_t)PAGE_BYTES);
}

/* ---- deletion ---- */

static int co_identify(struct blk_node *n, void *arg)
{
	return snapshot_co_identify(n, arg);
}

static int co_delete(struct blk_node *n, void *arg)
{
	const struct snapshot *s = arg;
	return qcow2_co_snapshot_delete(n, s->id);
}

/* What RAM needs of the snapshot is copied before its clusters go. */
static int let_go(struct machine *m, const char *id)
{
	int err = 0;
	if (strcmp(m->origin.mapped_id, id) == 0)
		err = snapshot_ram_detach(&m->origin, &m->ram);
	if (!err && strcmp(m->origin.saved_id, id) == 0)
		snapshot_ram_forget_saved(&m->origin);
	if (!err && strcmp(m->snapshot_id, id) == 0)
		m->snapshot_id[0] = '\0';
	return err;
}

static void delete_stopped(void *opaque)
{
	struct snapshot_job *job = opaque;
	struct snapshot s = { .n_extents = 0 };
	char why[MESSAGE_BYTES] = "";
	struct blk_node *disk = snapshot_disk(job->m, why, sizeof(why));
	if (!disk) {
		snapshot_job_end(job, EXIT_STATUS_FILE, "%s", why);
		return;
	}
	snprintf(s.name, sizeof(s.name), "%s", job->name);
	int err = qcow2_run(disk, co_identify, &s);
	err = err ? err : let_go(job->m, s.id);
	err = err ? err : qcow2_run(disk, co_delete, &s);
	if (err)
		snapshot_explain(err, blk_name(disk), job->name, why, sizeof(why));
	snapshot_job_end(job, err ? EXIT_STATUS_FILE : EXIT_STATUS_OK, "%s", why);
}

void machine_snapshot_delete(struct machine *m, const char *name, snapshot_done_fn *done,
			     void *opaque)
{
	snapshot_job_begin(m, name, "snapshot-deleted", delete_stopped, done, opaque);
}
