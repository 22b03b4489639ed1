/* SPDX-License-Identifier: Apache-2.0 */
/* Dropping clusters: when one that nothing refers to any more may be used again. */
/*
 * Rules (the ones about order on disk are in commit.c):
 *  1. Dropping a reference is only noted (q_drop()): a crash may bring back the old mapping, so the cluster must be
 *     untouched until the change that dropped it is durable.
 *  2. Even then data I/O that was mapped before the change may be on its way to the cluster. The
 *     reaper flips the I/O epoch and waits for those of the old one before it lets go.
 *  3. Holes are punched before the refcount falls to zero, never after: from then on the cluster may
 *     be somebody else's.
 */
#include <errno.h>
#include <stdlib.h>

#include "devices/block/qcow2/int.h"

/* ---- noting ---- */

static int frees_add(struct q_frees *f, uint64_t cluster, uint32_t count, bool punch)
{
	struct q_free *last = f->n ? &f->v[f->n - 1] : NULL;
	if (last && last->punch == punch && last->cluster + last->count == cluster &&
	    last->count < UINT32_MAX - count) {
		last->count += count;
		return 0;
	}
	if (f->n == f->room) {
		uint32_t room = f->room ? f->room * 2 : 64;
		struct q_free *v = realloc(f->v, room * sizeof(*v));
		if (!v)
			return -ENOMEM;
		f->v = v;
		f->room = room;
	}
	f->v[f->n++] = (struct q_free){ .cluster = cluster, .count = count, .punch = punch };
	return 0;
}

int q_drop(struct qcow2 *q, uint64_t cluster, uint32_t count, bool punch)
{
	return frees_add(&q->frees, cluster, count, punch);
}

/* ---- the reaper ---- */

/* Rule 2. */
static void wait_for_epoch(struct qcow2 *q)
{
	unsigned int old = q->io_epoch;
	q->io_epoch ^= 1;
	while (q->io_count[old])
		co_queue_wait(q_co(q), &q->io_drained);
}

/* Rule 3: how many clusters of the run fall to zero together, from @cluster on. */
static uint64_t count_last_refs(struct qcow2 *q, uint64_t cluster, uint64_t count)
{
	uint64_t n = 0, refs;
	while (n < count && q_co_refcount(q, cluster + n, &refs) == 0 && refs == 1)
		n++;
	return n;
}

static int let_go(struct qcow2 *q, const struct q_free *f)
{
	for (uint64_t i = 0; i < f->count;) {
		uint64_t n = f->punch ? count_last_refs(q, f->cluster + i, f->count - i) : 0;
		if (n) /* advice: its failure changes nothing */
			blk_co_rwv(q->node.file, BLK_DISCARD, NULL, 0, n << q->cluster_bits,
				   (f->cluster + i) << q->cluster_bits, 0);
		int err = q_co_refcount_add(q, f->cluster + i, MAX(n, UINT64_C(1)), -1);
		if (err)
			return err;
		i += MAX(n, UINT64_C(1));
	}
	return 0;
}

static void co_reap(void *arg)
{
	struct qcow2 *q = arg;
	while (q->frees_durable.n && !q->corrupt) {
		struct q_frees batch = q->frees_durable;
		q->frees_durable = (struct q_frees){ 0 };
		wait_for_epoch(q);
		for (uint32_t i = 0; i < batch.n; i++)
			if (let_go(q, &batch.v[i]))
				break; /* what is left stays taken: a leak, no harm */
		free(batch.v);
	}
	q->reaping = false;
	co_queue_wake_all(&q->reap_done);
}

void q_reap_start(struct qcow2 *q)
{
	if (q->reaping || !q->frees_durable.n)
		return;
	q->reaping = true;
	if (co_spawn(q_co(q), co_reap, q))
		q->reaping = false; /* the next commit tries again */
}

void q_co_reap_wait(struct qcow2 *q)
{
	while (q->reaping)
		co_queue_wait(q_co(q), &q->reap_done);
}
