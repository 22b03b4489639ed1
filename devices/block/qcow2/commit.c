/* SPDX-License-Identifier: Apache-2.0 */
/* Commits: metadata goes to the file in an order in which no crash does harm. */
/*
 * How it works. Requests change tables in memory only and dirty pages wait. A commit takes all dirty
 * pages at one instant, as copies, and writes them in three steps with a flush after each; requests
 * go on meanwhile and dirty pages for the next commit. A guest's flush is answered when a commit that
 * began after it came has ended; flushes that come together share one. When nothing is dirty a
 * commit is a flush of the file and no more.
 *
 * The rules. "Durable" is: flushed to the medium.
 *  1. Data is written before the L2 entry that refers to it is set in memory. (write.c)
 *  2. A cluster's refcount and the data in it are durable before anything that refers to it is
 *     written: step 1 writes refcount blocks, step 2 the refcount table, both and all data are
 *     flushed before step 3 writes L2 and L1 tables.
 *  3. A refcount block is durable before the table entry that refers to it is written: step 2
 *     comes after a flush, and is skipped with it when the table has not changed.
 *  4. A new L2 table is zeroes or a copy of the old one in the file from the start, so it does not
 *     matter whether the L1 entry or the entries in it get there first: either says what was so
 *     before or what is so now.
 *  5. A reference is dropped only when what dropped it is durable: after step 3's flush. A crash
 *     before that leaks clusters and harms nothing. (drop.c waits for readers, too.)
 *  6. A page changed while its copy is being written is dirty again and belongs to the next commit. If
 *     a write or a flush fails, all pages of that step and later ones are dirty again, the drops
 *     wait for the next commit, and whoever waited for this one is told.
 *  7. The header is changed in its first sector only, which is written as one, after a flush of what
 *     it will refer to, and flushed.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/int.h"

enum { COMMIT_STEPS = 3, COMMIT_RUN_PAGES = 64 };

struct taken {
	struct q_page *page; /* pinned */
	uint64_t off;
	uint8_t *copy;
	unsigned int step;
};

struct commit {
	struct qcow2 *q;
	struct taken *v;
	uint32_t n;
	uint8_t *copies;
	struct q_frees frees;
	/* Writes in flight. */
	unsigned int pending;
	int err;
	struct co *co;
	bool waiting;
};

static unsigned int step_of(enum q_kind kind)
{
	return kind == Q_RB ? 0 : kind == Q_RT ? 1 : 2;
}

static int by_step_and_place(const void *a, const void *b)
{
	const struct taken *x = a, *y = b;
	if (x->step != y->step)
		return x->step < y->step ? -1 : 1;
	return x->off < y->off ? -1 : x->off > y->off;
}

/* All that is dirty now, at one instant. */
static int take_dirty(struct commit *c)
{
	struct qcow2 *q = c->q;
	uint32_t n = q->cache.n_dirty;
	c->v = malloc((n + 1) * sizeof(c->v[0]));
	if (!c->v || posix_memalign((void **)&c->copies, Q_PAGE_BYTES_MAX,
				    (size_t)(n + 1) * q->page_bytes)) {
		free(c->v);
		c->v = NULL;
		c->copies = NULL;
		return -ENOMEM;
	}
	while (!list_empty(&q->cache.dirty)) {
		struct q_page *p = list_first(&q->cache.dirty, struct q_page, dirty_link);
		list_del(&p->dirty_link);
		p->dirty = false;
		p->pins++;
		c->v[c->n++] = (struct taken){ .page = p, .off = p->off, .step = step_of(p->kind) };
	}
	q->cache.n_dirty = 0;
	qsort(c->v, c->n, sizeof(c->v[0]), by_step_and_place);
	for (uint32_t i = 0; i < c->n; i++) {
		c->v[i].copy = c->copies + (size_t)i * q->page_bytes;
		memcpy(c->v[i].copy, c->v[i].page->data, q->page_bytes);
	}
	c->frees = q->frees;
	q->frees = (struct q_frees){ 0 };
	return 0;
}

static void on_written(struct blk_req *req, int err)
{
	struct blk_child *child = container_of(req, struct blk_child, req);
	struct commit *c = req->opaque;
	blk_child_put(c->q->node.ctx, child);
	if (err && !c->err)
		c->err = err;
	if (!--c->pending && c->waiting)
		co_wake(c->co);
}

/* Writes a run of neighbours, whose copies are neighbours too. */
static void write_run(struct commit *c, uint32_t first, uint32_t n)
{
	struct qcow2 *q = c->q;
	struct blk_child *child = blk_child_get(q->node.ctx);
	child->iov = (struct iovec){ c->v[first].copy, (size_t)n * q->page_bytes };
	child->req = (struct blk_req){ .op = BLK_WRITE,
				       .off = c->v[first].off,
				       .len = child->iov.iov_len,
				       .iov = &child->iov,
				       .niov = 1,
				       .done = on_written,
				       .opaque = c };
	c->pending++;
	blk_submit(q->node.file, &child->req);
}

/* Writes pages [from, to) of one step. */
static int write_pages(struct commit *c, uint32_t from, uint32_t to)
{
	uint32_t page = c->q->page_bytes;
	for (uint32_t i = from; i < to;) {
		uint32_t n = 1;
		while (i + n < to && n < COMMIT_RUN_PAGES &&
		       c->v[i + n].off == c->v[i].off + (uint64_t)n * page)
			n++;
		write_run(c, i, n);
		i += n;
	}
	c->waiting = true;
	while (c->pending)
		co_yield (q_co(c->q));
	c->waiting = false;
	return c->err;
}

static uint32_t step_end(const struct commit *c, unsigned int step)
{
	uint32_t i = 0;
	while (i < c->n && c->v[i].step <= step)
		i++;
	return i;
}

static int flush_all(struct qcow2 *q)
{
	int err = q->data_file ? blk_co_flush(q->data_file) : 0;
	return err ? err : blk_co_flush(q->node.file);
}

/* The three steps. *upto: pages that need not be written again. */
static int write_in_order(struct commit *c, uint32_t *upto)
{
	struct qcow2 *q = c->q;
	uint32_t blocks = step_end(c, 0), table = step_end(c, 1);
	int err = q_co_packer_flush(q);
	if (!err)
		err = write_pages(c, 0, blocks);
	if (!err && table > blocks) {
		err = flush_all(q); /* rule 3 */
		if (!err)
			err = write_pages(c, blocks, table);
	}
	if (!err)
		err = flush_all(q); /* rule 2 */
	if (err)
		return err;
	*upto = table;
	if (c->n > table) {
		err = write_pages(c, table, c->n);
		if (!err)
			err = flush_all(q); /* rule 5 */
	}
	if (!err)
		*upto = c->n;
	return err;
}

static int frees_append(struct q_frees *to, struct q_frees *from)
{
	if (!from->n)
		return 0;
	struct q_free *v = realloc(to->v, (to->n + from->n) * sizeof(*v));
	if (!v)
		return -ENOMEM; /* they leak */
	memcpy(v + to->n, from->v, from->n * sizeof(*v));
	to->v = v;
	to->n += from->n;
	to->room = to->n;
	free(from->v);
	*from = (struct q_frees){ 0 };
	return 0;
}

static void finish(struct commit *c, int err, uint32_t upto)
{
	struct qcow2 *q = c->q;
	for (uint32_t i = 0; i < c->n; i++) {
		if (i >= upto)
			q_cache_dirty(q, c->v[i].page);
		q_cache_put(c->v[i].page);
	}
	struct q_frees *to = err ? &q->frees : &q->frees_durable;
	if (frees_append(to, &c->frees))
		free(c->frees.v);
	free(c->v);
	free(c->copies);
}

static int run_commit(struct qcow2 *q)
{
	struct commit c = { .q = q, .co = co_self(q_co(q)) };
	uint32_t upto = 0;
	int err = take_dirty(&c);
	if (err)
		return err;
	if (q->corrupt && c.n) /* nothing more is written on top of what is broken */
		err = -EIO;
	else
		err = write_in_order(&c, &upto);
	finish(&c, err, upto);
	q_reap_start(q);
	return err;
}

int q_co_commit(struct qcow2 *q)
{
	uint64_t mine = q->commits_begun + 1; /* one that begins from now on */
	int err = 0;
	while (q->commits_ended < mine) {
		if (q->committing) {
			co_queue_wait(q_co(q), &q->commit_done);
			err = q->commit_err;
			continue;
		}
		q->committing = true;
		q->commits_begun++;
		err = run_commit(q);
		q->commit_err = err;
		q->commits_ended = q->commits_begun;
		q->committing = false;
		co_queue_wake_all(&q->commit_done);
	}
	return err;
}

static void co_background(void *arg)
{
	struct qcow2 *q = arg;
	q_co_commit(q); /* its error stays with the pages: the guest's flush meets it again */
	q->active--;
	if (!q->active)
		co_queue_wake_all(&q->idle);
}

void q_commit_if_full(struct qcow2 *q)
{
	bool full = q->cache.n_dirty > Q_DIRTY_PAGES || q->frees.n > Q_FREES_MAX;
	if (!full || q->committing || q->corrupt)
		return;
	q->active++;
	if (co_spawn(q_co(q), co_background, q))
		q->active--;
}

int q_co_settle(struct qcow2 *q)
{
	for (;;) {
		int err = q_co_commit(q);
		q_co_reap_wait(q);
		if (err || q->corrupt)
			return err;
		if (!q->cache.n_dirty && !q->frees.n && !q->frees_durable.n)
			return 0;
	}
}
