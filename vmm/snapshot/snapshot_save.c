/* SPDX-License-Identifier: Apache-2.0 */
/* Saving the running machine into its image. */
/*
 * How it works, in order. The order is what keeps the promise that a save which dies leaves the image as it was.
 *
 *  1. Stopped (vCPUs paused, devices quiet, nothing of the disk in flight): the plan of what RAM to write, and the
 *     state tree, in memory.
 *  2. Clusters for both are reserved in a row, and the disk's snapshot is made of this instant, with these clusters
 *     as its VM state, under the name SNAPSHOT_UNFINISHED: in one atomic change (qcow2/shadow.h). From here on
 *     refcounts hold whatever happens; nobody restores an unfinished one, and whoever is next to save or to
 *     open the image for a machine deletes it.
 *  3. fork(2): the child has a copy-on-write picture of RAM. The machine goes on. This is the end of the pause, which
 *     depends on the tables of RAM and disk, not on their contents. Where fork fails, what the child would do is done
 *     here, with the machine stopped, and said.
 *  4. The child writes RAM, waits for stable storage, writes the front (tree and checksum), waits again, and ends.
 *     It allocates nothing and touches no lock.
 *  5. The child succeeded: the snapshot gets its name, in one atomic change. It failed or was killed: the
 *     snapshot is deleted, its clusters are holes again, and the caller is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "devices/block/block.h"
#include "devices/block/qcow2/qcow2.h"
#include "vmm/backends.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"
#include "vmm/snapshot/snapshot_job.h"
#include "vmm/snapshot/snapshot_state.h"
#include "vmm/snapshot/snapshot_table.h"
#include "vmm/snapshot/snapshot_write.h"

struct snapshot_save {
	struct snapshot_job *job;
	char note[SNAPSHOT_NOTE_MAX + 1];
	struct blk_node *disk;
	struct timespec when;
	uint64_t clock_ns; /* the guest's, for the table of snapshots */

	struct snapshot_plan plan;
	uint8_t *front;
	uint64_t front_bytes, front_host;
	uint64_t reserved_bytes; /* from front_host on */
	char id[SNAPSHOT_ID_MAX + 1];
	bool tracked; /* writes after this instant are noted */

	int fd; /* the image's file, buffered */
	pid_t pid;
	struct loop_fd child;
	int err; /* of the writing */
};

static void save_free(struct snapshot_save *s)
{
	snapshot_plan_free(&s->plan);
	free(s->front);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}

static void fail(struct snapshot_save *s, int err, const char *what)
{
	struct snapshot_job *job = s->job;
	const char *why = strerror(-err);
	if (err == -EEXIST)
		why = "there is a snapshot of that name already; delete it first, or take another "
		      "name";
	else if (err == -ENOSPC)
		why = "the disk of the host is full; the image is as it was";
	else if (err == -EINTR)
		why = "the process that wrote it was killed; the image is as it was";
	save_free(s);
	job->save = NULL;
	snapshot_job_end(job, EXIT_STATUS_FILE, "snapshot '%s' was not saved: %s: %s", job->name,
			 what, why);
}

/* ---- 5. the end ---- */

static int co_publish(struct blk_node *n, void *arg)
{
	const struct snapshot_save *s = arg;
	return qcow2_co_snapshot_rename(n, s->id, s->job->name);
}

static int co_undo(struct blk_node *n, void *arg)
{
	const struct snapshot_save *s = arg;
	/* What was written takes no space, whatever these clusters become. */
	if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->front_host,
		      (off_t)s->reserved_bytes) < 0)
		log_debug("cannot punch a hole: %s", strerror(errno));
	return qcow2_co_snapshot_delete(n, s->id);
}

static void on_undone(void *opaque, int err)
{
	struct snapshot_save *s = opaque;
	if (err)
		log_warn("an unfinished snapshot stays in the image, to be deleted by the next "
			 "save: %s",
			 strerror(-err));
	fail(s, s->err, "writing it failed");
}

static void undo(struct snapshot_save *s, int why)
{
	s->err = why;
	int err = qcow2_spawn(s->disk, co_undo, s, on_undone, s);
	if (err)
		on_undone(s, err);
}

static void on_published(void *opaque, int err)
{
	struct snapshot_save *s = opaque;
	struct machine *m = s->job->m;
	if (err) {
		undo(s, err);
		return;
	}
	if (s->tracked)
		snapshot_ram_saved(&m->origin, &s->plan, s->id);
	memcpy(m->snapshot_id, s->id, sizeof(m->snapshot_id));
	struct snapshot_job *job = s->job;
	save_free(s);
	job->save = NULL;
	snapshot_job_end(job, EXIT_STATUS_OK, "%s", "");
}

static void written(struct snapshot_save *s, int err)
{
	if (!err)
		err = qcow2_spawn(s->disk, co_publish, s, on_published, s);
	if (err)
		undo(s, err);
}

/* ---- 3. and 4. the child ---- */

static void on_child(void *opaque, uint32_t events)
{
	struct snapshot_save *s = opaque;
	int status = 0;
	(void)events;
	if (waitpid(s->pid, &status, WNOHANG) == 0)
		return;
	loop_fd_remove(s->job->m->hosts->loop, &s->child);
	close(s->child.fd);
	s->pid = 0;
	/* A child's status is the errno it ended with; they fit in the eight bits of one. */
	written(s, WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR);
}

static int write_here(const struct snapshot_save *s, bool fresh)
{
	const struct machine *m = s->job->m;
	const struct snapshot_write w = {
		.fd = s->fd,
		.plan = &s->plan,
		.ram = m->ram.hva,
		.ram_bytes = m->ram.len_bytes,
		.front = s->front,
		.front_bytes = s->front_bytes,
		.front_host = s->front_host,
		.fresh = fresh,
	};
	return snapshot_write(&w);
}

static int fork_writer(struct snapshot_save *s, bool fresh)
{
	pid_t parent = getpid();
	s->pid = fork();
	if (s->pid < 0)
		return -errno;
	if (!s->pid) {
		/* It holds the image's lock through the descriptors it inherits: no longer than its parent. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(ECANCELED);
		_exit(-write_here(s, fresh));
	}
	return 0;
}

static int watch_child(struct snapshot_save *s)
{
	int fd = pidfd_open(s->pid, 0);
	if (fd < 0)
		return -errno;
	s->child = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = on_child, .opaque = s };
	int err = loop_fd_add(s->job->m->hosts->loop, &s->child);
	if (err)
		close(fd);
	return err;
}

/* The child is waited for here, the machine stopped: its end cannot be watched. */
static int wait_child(struct snapshot_save *s)
{
	int status = 0;
	while (waitpid(s->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	s->pid = 0;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

static void write_out(struct snapshot_save *s)
{
	/* Reserved clusters were never used or freed: without a hole punched, zeroes must be written, too. */
	bool fresh = !fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)s->front_host, (off_t)s->reserved_bytes);
	int err = fork_writer(s, fresh);
	s->tracked = snapshot_ram_track(&s->job->m->origin);
	if (err) {
		log_warn("no process can be made to write the snapshot (%s): the machine is "
			 "stopped while it "
			 "is written",
			 strerror(-err));
		s->pid = 0;
		written(s, write_here(s, fresh));
	} else if (watch_child(s)) {
		written(s, wait_child(s));
	}
}

void snapshot_save_hurry(struct snapshot_save *s)
{
	if (s->pid > 0)
		kill(s->pid, SIGKILL);
}

/* ---- 2. the snapshot of the disk, with room for the rest ---- */

/* -> 0 and its id; -ENOENT. */
static int co_find(struct blk_node *n, const char *name, char *id)
{
	struct qcow2_snapshot *v;
	uint32_t count;
	int err = qcow2_co_snapshots(n, &v, &count);
	if (err)
		return err;
	err = -ENOENT;
	for (uint32_t i = 0; i < count && err; i++)
		if (strcmp(v[i].name, name) == 0) {
			snprintf(id, SNAPSHOT_ID_MAX + 1, "%s", v[i].id);
			err = 0;
		}
	qcow2_snapshots_free(v, count);
	return err;
}

/* What a save that was cut off has left. */
static int co_clean(struct blk_node *n, void *arg)
{
	char id[SNAPSHOT_ID_MAX + 1];
	(void)arg;
	int err = co_find(n, SNAPSHOT_UNFINISHED, id);
	if (err)
		return err == -ENOENT ? 0 : err;
	log_info("%s: deleting a snapshot whose saving was cut off", blk_name(n));
	return qcow2_co_snapshot_delete(n, id);
}

void machine_snapshot_clean(struct machine *m)
{
	char why[256];
	struct blk_node *disk = snapshot_disk(m, why, sizeof(why));
	int err = disk ? qcow2_run(disk, co_clean, NULL) : 0;
	if (err)
		log_warn("%s: a snapshot whose saving was cut off cannot be deleted: %s",
			 blk_name(disk), strerror(-err));
}

static int co_make_room(struct blk_node *n, const struct snapshot_save *s)
{
	char id[SNAPSHOT_ID_MAX + 1];
	int err = co_find(n, s->job->name, id);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	return co_clean(n, NULL);
}

static int co_create(struct blk_node *n, struct snapshot_save *s)
{
	const struct machine *m = s->job->m;
	struct qcow2_vm_extent *extents;
	uint32_t count;
	snapshot_plan_place(&s->plan, s->front_host + s->front_bytes);
	int err = snapshot_plan_extents(&s->plan, s->front_host, s->front_bytes, &extents, &count);
	if (err)
		return err;
	const struct qcow2_snapshot_new new = {
		.name = SNAPSHOT_UNFINISHED,
		.parent = *m->snapshot_id ? m->snapshot_id : NULL,
		.date_s = (uint32_t)s->when.tv_sec,
		.date_ns = (uint32_t)s->when.tv_nsec,
		.vm_clock_ns = s->clock_ns,
		.vm_state_bytes = s->front_bytes + s->plan.n_units * s->plan.unit,
		.extents = extents,
		.n_extents = count,
	};
	err = qcow2_co_snapshot_create(n, &new);
	free(extents);
	return err ? err : co_find(n, SNAPSHOT_UNFINISHED, s->id);
}

static int co_begin(struct blk_node *n, void *arg)
{
	struct snapshot_save *s = arg;
	int err = co_make_room(n, s);
	err = err ? err : qcow2_co_reserve(n, s->reserved_bytes, &s->front_host);
	if (err)
		return err;
	err = co_create(n, s);
	if (err)
		qcow2_co_reserve(n, 0, &s->front_host);
	return err;
}

/* ---- 1. stopped ---- */

static int describe(struct snapshot_save *s)
{
	struct machine *m = s->job->m;
	int err = snapshot_plan_make(&m->origin, &m->ram, snapshot_ram_unit(s->disk), &s->plan);
	if (err)
		return err;
	const struct snapshot_state_config cfg = {
		.note = s->note,
		.time_s = (uint64_t)s->when.tv_sec,
		.ram_unit = s->plan.unit,
		.ram_units = s->plan.n_stored,
		.disk_bytes = blk_size(s->disk),
	};
	err = snapshot_state_make(m, &cfg, &s->front, &s->front_bytes, &s->clock_ns);
	s->reserved_bytes = s->front_bytes + s->plan.n_write * s->plan.unit;
	return err;
}

/* A second description of the file without O_DIRECT: what is written is what will be mapped. */
static int open_file(struct snapshot_save *s)
{
	char path[32];
	int fd = qcow2_vm_fd(s->disk);
	if (fd < 0)
		return -ENOTSUP;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	s->fd = open(path, O_RDWR | O_CLOEXEC);
	return s->fd < 0 ? -errno : 0;
}

static void save_stopped(void *opaque)
{
	struct snapshot_job *job = opaque;
	struct snapshot_save *s = job->save;
	char why[256];
	s->disk = snapshot_disk(job->m, why, sizeof(why));
	if (!s->disk) {
		save_free(s);
		job->save = NULL;
		snapshot_job_end(job, EXIT_STATUS_FILE, "snapshot '%s' was not saved: %s",
				 job->name, why);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &s->when);
	int err = open_file(s);
	if (err) {
		fail(s, err, "the image's file");
		return;
	}
	err = describe(s);
	if (err) {
		fail(s, err, "the state of the machine");
		return;
	}
	err = qcow2_run(s->disk, co_begin, s);
	if (err)
		fail(s, err, blk_name(s->disk));
	else
		write_out(s);
}

void machine_snapshot_save(struct machine *m, const char *name, const char *note,
			   snapshot_done_fn *done, void *opaque)
{
	if (!snapshot_name_ok(name)) {
		done(opaque, EXIT_STATUS_USAGE, snapshot_table_explain(-EINVAL));
		return;
	}
	if (note && strlen(note) > SNAPSHOT_NOTE_MAX) {
		done(opaque, EXIT_STATUS_USAGE, "the note has more than 1000 characters");
		return;
	}
	struct snapshot_save *s = calloc(1, sizeof(*s));
	if (!s) {
		done(opaque, EXIT_STATUS_FAILED, "out of memory");
		return;
	}
	s->fd = -1;
	snprintf(s->note, sizeof(s->note), "%s", note ? note : "");
	s->job = snapshot_job_begin(m, name, "snapshot-saved", save_stopped, done, opaque);
	if (s->job)
		s->job->save = s;
	else
		free(s);
}
