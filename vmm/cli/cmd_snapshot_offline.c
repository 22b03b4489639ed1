/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm snapshot on the image of a machine that does not run. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot.h"
#include "tools/image/common.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_snapshot.h"
#include "vmm/snapshot/snapshot_table.h"

struct job {
	const char *verb, *name, *to;
	json_t *table;
};

static int co_list(struct blk_node *n, void *arg)
{
	return snapshot_table_co(n, &((struct job *)arg)->table);
}

/* The disk alone: a machine that does not run has no memory. */
static int co_save(struct blk_node *n, const char *name)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	struct qcow2_snapshot_new fresh = { .name = name,
					    .date_s = (uint32_t)now.tv_sec,
					    .date_ns = (uint32_t)now.tv_nsec };
	return qcow2_co_snapshot_create(n, &fresh);
}

static int co_change(struct blk_node *n, void *arg)
{
	const struct job *job = arg;
	if (!strcmp(job->verb, "save"))
		return co_save(n, job->name);
	if (!strcmp(job->verb, "revert"))
		return qcow2_co_snapshot_apply(n, job->name);
	if (!strcmp(job->verb, "delete"))
		return qcow2_co_snapshot_delete(n, job->name);
	return qcow2_co_snapshot_rename(n, job->name, job->to);
}

static enum exit_status run(const char *path, unsigned int flags,
			    int (*fn)(struct blk_node *n, void *arg), struct job *job)
{
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	int err = image_open(&loop, path, NULL, BLK_OPEN_NO_BACKING | flags, NULL, &n);
	bool in_use = err == -EBUSY;
	if (!err && !blk_is_qcow2(n)) {
		log_error(
			"%s: %s images have no snapshots; charmvm image convert -O qcow2 makes one "
			"that has",
			path, blk_format(n));
		err = -ENOTSUP;
	} else if (!err) {
		err = qcow2_run(n, fn, job);
		if (err)
			log_error("%s: snapshot '%s': %s", path, job->name ? job->name : "",
				  snapshot_table_explain(err));
	}
	err = image_close(loop, n, err);
	return in_use ? EXIT_STATUS_IN_USE : err ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

enum exit_status snapshot_offline_list(const struct snapshot_args *a, json_t **table)
{
	struct job job = { 0 };
	enum exit_status status = run(a->image, 0, co_list, &job);
	*table = job.table;
	return status;
}

enum exit_status snapshot_offline_change(const struct snapshot_args *a, const char *verb,
					 const char *name, const char *to)
{
	struct job job = { .verb = verb, .name = name, .to = to };
	return run(a->image, BLK_OPEN_RDWR, co_change, &job);
}
