/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs snapshot-save, -revert, -delete, -rename, -list, and suspend. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot.h"
#include "vmm/backends.h"
#include "vmm/control/control_verbs.h"
#include "vmm/machine.h"
#include "vmm/machine_event.h"
#include "vmm/snapshot/snapshot.h"
#include "vmm/snapshot/snapshot_table.h"
#include "vmm/snapshot/suspend.h"

/* ---- what the machine does: vmm/snapshot/snapshot.h ---- */

static void on_done(void *opaque, enum exit_status status, const char *message)
{
	if (status)
		control_fail(opaque, status, "%s", message);
	else
		control_ok(opaque, NULL);
}

/* NULL: refused, and the call has ended. */
static const char *name_of(struct control_call *call, const json_t *request)
{
	const char *name = control_arg_str(request, "name");
	if (!name)
		control_fail(call, EXIT_STATUS_USAGE, "the name of a snapshot is wanted");
	return name;
}

void verb_snapshot_save(struct control_call *call, const json_t *request)
{
	const char *name = name_of(call, request), *note = control_arg_str(request, "note");
	if (name && note && strlen(note) > SNAPSHOT_NOTE_MAX)
		control_fail(call, EXIT_STATUS_USAGE, "a note has at most %d bytes",
			     SNAPSHOT_NOTE_MAX);
	else if (name)
		machine_snapshot_save(control_machine(call), name, note, on_done, call);
}

void verb_snapshot_revert(struct control_call *call, const json_t *request)
{
	const char *name = name_of(call, request);
	if (name)
		machine_snapshot_revert(control_machine(call), name, on_done, call);
}

void verb_snapshot_delete(struct control_call *call, const json_t *request)
{
	const char *name = name_of(call, request);
	if (name)
		machine_snapshot_delete(control_machine(call), name, on_done, call);
}

/* Nothing may write to the disk between the save and the end: the guest stands still from before. */
static void on_suspended(void *opaque, enum exit_status status, const char *message)
{
	struct control_call *call = opaque;
	struct machine *m = control_machine(call);
	if (status)
		machine_resume(m);
	on_done(call, status, message);
	if (!status)
		machine_quit(m, EXIT_STATUS_OK);
}

void verb_suspend(struct control_call *call, const json_t *request)
{
	struct machine *m = control_machine(call);
	(void)request;
	machine_pause(m);
	machine_snapshot_save(m, SUSPEND_NAME, NULL, on_suspended, call);
}

/* ---- what the image does beside it ---- */

struct image_job {
	struct control_call *call;
	json_t *table;
	char *name, *to;
};

static void end_job(struct image_job *job)
{
	free(job->name);
	free(job->to);
	json_decref(job->table);
	free(job);
}

static void on_image_done(void *opaque, int err)
{
	struct image_job *job = opaque;
	if (!err && job->to)
		machine_tell(control_machine(job->call), "snapshot-renamed", job->to);
	if (err)
		control_fail(job->call, EXIT_STATUS_FILE, "snapshot '%.255s': %s",
			     job->name ? job->name : "", snapshot_table_explain(err));
	else
		control_ok(job->call,
			   job->table ? json_pack("{s:O}", "snapshots", job->table) : NULL);
	end_job(job);
}

static int co_list(struct blk_node *n, void *arg)
{
	return snapshot_table_co(n, &((struct image_job *)arg)->table);
}

static int co_rename(struct blk_node *n, void *arg)
{
	const struct image_job *job = arg;
	return qcow2_co_snapshot_rename(n, job->name, job->to);
}

/* The job is taken over. */
static void run_job(struct image_job *job, int (*fn)(struct blk_node *n, void *arg))
{
	const struct backends *b = control_hosts(job->call);
	if (!b->ndisks || !blk_is_qcow2(b->disks[0])) {
		control_fail(job->call, EXIT_STATUS_FILE,
			     "it has no qcow2 image, and only these have snapshots");
		end_job(job);
		return;
	}
	int err = qcow2_spawn(b->disks[0], fn, job, on_image_done, job);
	if (err)
		on_image_done(job, err);
}

static struct image_job *new_job(struct control_call *call)
{
	struct image_job *job = calloc(1, sizeof(*job));
	if (job)
		job->call = call;
	else
		control_fail(call, EXIT_STATUS_FAILED, "out of memory");
	return job;
}

void verb_snapshot_list(struct control_call *call, const json_t *request)
{
	(void)request;
	struct image_job *job = new_job(call);
	if (job)
		run_job(job, co_list);
}

void verb_snapshot_rename(struct control_call *call, const json_t *request)
{
	const char *name = name_of(call, request), *to = control_arg_str(request, "to");
	if (name && (!to || !snapshot_name_ok(to))) {
		control_fail(call, EXIT_STATUS_USAGE, "%s", snapshot_table_explain(-EINVAL));
		return;
	}
	struct image_job *job = name ? new_job(call) : NULL;
	if (!job)
		return;
	job->name = strdup(name);
	job->to = strdup(to);
	if (job->name && job->to)
		run_job(job, co_rename);
	else
		on_image_done(job, -ENOMEM);
}
