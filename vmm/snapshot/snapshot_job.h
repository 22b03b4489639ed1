/* SPDX-License-Identifier: Apache-2.0 */
/* A save, a revert or a deletion under way in a machine; for snapshot*.c. One at a time. */
#ifndef VMM_SNAPSHOT_JOB_H
#define VMM_SNAPSHOT_JOB_H

#include <stdbool.h>

#include "vmm/machine_priv.h"

struct snapshot_save;

struct snapshot_job {
	struct machine *m;
	char name[QCOW2_SNAPSHOT_NAME_MAX + 1];
	const char *event;	    /* what it is when it is done: machine_event.h */
	struct machine_task task;   /* when the machine has stopped */
	struct snapshot_save *save; /* of a save; snapshot_save.c's */
	snapshot_done_fn *done;
	void *opaque;
};

/* Calls @fn(job) once the machine has stopped; @event, a literal, is told when it has succeeded. -> the job, or NULL: @done
 * has been told why not. */
struct snapshot_job *snapshot_job_begin(struct machine *m, const char *name, const char *event,
					void (*fn)(void *job), snapshot_done_fn *done,
					void *opaque);
/* The answer; the job is freed. @fmt: what went wrong, as a line; "" for EXIT_STATUS_OK. */
void snapshot_job_end(struct snapshot_job *job, enum exit_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The disk that snapshots are in, where the machine has one that can hold them; or NULL and why, in @why. */
struct blk_node *snapshot_disk(const struct machine *m, char *why, size_t bytes);
/* RAM is saved and mapped in units of it: a cluster of the image, a page at least. */
uint32_t snapshot_ram_unit(const struct blk_node *disk);

/* snapshot_save.c: in a hurry the child that writes is killed, and the save undone. */
void snapshot_save_hurry(struct snapshot_save *s);

#endif
