/* SPDX-License-Identifier: Apache-2.0 */
/* Copying a snapshot with its machine into another image. */
/*
 * How it works. Only clusters that hold something are copied, one behind the other into a reservation (qcow2_co_reserve); then
 * one atomic change makes the snapshot, which names them.
 */
#include "tools/image/copy_machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/block.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/create.h"
#include "devices/block/qcow2/snapshot.h"
#include "tools/image/common.h"
#include "tools/image/output.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

struct machine_copy {
	struct blk_node *from;
	const char *name, *as;
	struct qcow2_vm_extent *v; /* in @from; turned into those of @to on the way */
	uint32_t n;
	void *buf; /* IMAGE_CHUNK_BYTES */
	uint64_t done;
	struct image_progress progress;
	bool asked, quiet;
};

static uint64_t total_bytes(const struct machine_copy *c)
{
	uint64_t total = 0;
	for (uint32_t i = 0; i < c->n; i++)
		total += c->v[i].bytes; /* within the file: no overflow */
	return total;
}

/* One run of clusters to @host_off of @to. */
static int co_copy_run(struct machine_copy *c, struct blk_node *to, const struct qcow2_vm_extent *x,
		       uint64_t host_off)
{
	int err = 0;
	for (uint64_t at = 0; at < x->bytes && !err;) {
		uint64_t len = MIN(x->bytes - at, (uint64_t)IMAGE_CHUNK_BYTES);
		err = output_interrupted() ? -EINTR : 0;
		if (!err)
			err = qcow2_co_vm_read(c->from, x, 1, c->buf, len, x->vm_off + at);
		if (!err)
			err = qcow2_co_vm_write(to, c->buf, len, host_off + at);
		at += len;
		image_progress(&c->progress, c->done + at);
	}
	c->done += x->bytes;
	return err;
}

static int co_copy_all(struct machine_copy *c, struct blk_node *to)
{
	uint64_t host_off = 0;
	int err = qcow2_co_reserve(to, total_bytes(c), &host_off);
	for (uint32_t i = 0; i < c->n && !err; i++) {
		err = co_copy_run(c, to, &c->v[i], host_off);
		c->v[i].host_off = host_off;
		host_off += c->v[i].bytes;
	}
	return err;
}

static const struct qcow2_snapshot *find(const struct qcow2_snapshot *v, uint32_t n,
					 const char *what)
{
	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(v[i].id, what))
			return &v[i];
	for (uint32_t i = 0; i < n; i++)
		if (!strcmp(v[i].name, what))
			return &v[i];
	return NULL;
}

static int co_copy_found(struct machine_copy *c, struct blk_node *to,
			 const struct qcow2_snapshot *s)
{
	int err = qcow2_co_vm_extents(c->from, s->id, &c->v, &c->n);
	if (err)
		return err;
	image_progress_begin(&c->progress, total_bytes(c), c->asked, c->quiet);
	err = co_copy_all(c, to);
	image_progress_end(&c->progress);
	const struct qcow2_snapshot_new whole = { .name = c->as ? c->as : s->name,
						  .date_s = s->date_s,
						  .date_ns = s->date_ns,
						  .vm_clock_ns = s->vm_clock_ns,
						  .vm_state_bytes = s->vm_state_bytes,
						  .extents = c->v,
						  .n_extents = c->n };
	return err ? err : qcow2_co_snapshot_create(to, &whole);
}

static int co_copy(struct blk_node *to, void *arg)
{
	struct machine_copy *c = arg;
	struct qcow2_snapshot *v = NULL;
	uint32_t n = 0;
	int err = qcow2_co_snapshots(c->from, &v, &n);
	const struct qcow2_snapshot *s = err ? NULL : find(v, n, c->name);
	if (!err)
		err = s ? co_copy_found(c, to, s) : -ENOENT;
	qcow2_snapshots_free(v, n);
	return err;
}

int image_copy_machine(struct blk_node *from, const char *name, const char *as, struct blk_node *to,
		       bool asked, bool quiet)
{
	struct machine_copy c = {
		.from = from, .name = name, .as = as, .asked = asked, .quiet = quiet
	};
	if (qcow2_header_of(from)->cluster_bits != qcow2_header_of(to)->cluster_bits) {
		log_error("%s: a machine goes only into an image with clusters of %u bytes, as it "
			  "has here",
			  blk_name(from), 1u << qcow2_header_of(from)->cluster_bits);
		return -EINVAL;
	}
	c.buf = image_buffer(IMAGE_CHUNK_BYTES);
	int err = c.buf ? qcow2_run(to, co_copy, &c) : -ENOMEM;
	if (err && err != -EINTR)
		log_error("%s: snapshot '%s': cannot be copied: %s", blk_name(from), name,
			  strerror(-err));
	free(c.buf);
	free(c.v);
	return err;
}
