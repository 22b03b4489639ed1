/* SPDX-License-Identifier: Apache-2.0 */
/* The fault injector node. */
/*
 * How it works. A request that the rule picks is answered with the rule's error without reaching the
 * file; others pass through. While a log is kept, each change is recorded with a copy of its data
 * when it is submitted, and when it completed is recorded too, by the length of the log at that
 * time. A flush makes durable whatever had completed before it began; so from the log alone a test
 * can make up every file that a power cut at any place could leave behind.
 */
#include "devices/block/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/node.h"
#include "vmm/base/checked.h"

struct fault_node {
	struct blk_node node;
	struct fault_rule rule;
	bool has_rule;
	uint64_t matched;
	bool logging;
	struct fault_log *log;
	uint64_t n, room;
	uint64_t flushes;
};

static struct fault_node *to_fault(const struct blk_node *n)
{
	return container_of(n, struct fault_node, node);
}

/* ---- the log ---- */

/* -> its index, or UINT64_MAX when no log is kept. */
static uint64_t log_add(struct fault_node *f, enum fault_log_kind kind, uint64_t off, uint64_t len)
{
	if (!f->logging)
		return UINT64_MAX;
	if (f->n == f->room) {
		f->room = f->room ? f->room * 2 : 256;
		f->log = realloc(f->log, f->room * sizeof(*f->log));
		if (!f->log)
			abort(); /* a test's tool */
	}
	f->log[f->n] = (struct fault_log){ .kind = kind, .off = off, .len = len };
	return f->n++;
}

static void log_request(struct fault_node *f, const struct blk_req *req, uint64_t *at)
{
	switch (req->op) {
	case BLK_WRITE:
		*at = log_add(f, FAULT_LOG_WRITE, req->off, req->len);
		if (*at == UINT64_MAX)
			return;
		f->log[*at].data = malloc(req->len);
		if (!f->log[*at].data)
			abort();
		blk_iov_read(req->iov, req->niov, 0, f->log[*at].data, req->len);
		break;
	case BLK_WRITE_ZEROES:
	case BLK_DISCARD: *at = log_add(f, FAULT_LOG_ZERO, req->off, req->len); break;
	case BLK_FLUSH:
		*at = log_add(f, FAULT_LOG_FLUSH_BEGIN, 0, 0);
		if (*at != UINT64_MAX)
			f->log[*at].id = f->flushes++;
		break;
	default: *at = UINT64_MAX;
	}
}

static void log_done(struct fault_node *f, uint64_t at, int err)
{
	if (at == UINT64_MAX || err)
		return;
	f->log[at].done = true;
	f->log[at].done_at = f->n;
	if (f->log[at].kind == FAULT_LOG_FLUSH_BEGIN) {
		uint64_t end = log_add(f, FAULT_LOG_FLUSH_END, 0, 0);
		f->log[end].id = f->log[at].id;
		f->log[end].off = at;
	}
}

/* ---- requests ---- */

static void on_child_done(struct blk_req *child, int err)
{
	struct blk_child *c = container_of(child, struct blk_child, req);
	struct blk_req *req = c->a;
	struct fault_node *f = c->b;
	if (child->len < req->len && !err)
		err = f->rule.err; /* the half that got through */
	else
		log_done(f, c->c, err);
	f->node.size = f->node.file->size;
	blk_child_put(f->node.ctx, c);
	blk_finish(req, err);
}

static void pass(struct fault_node *f, struct blk_req *req, uint64_t len)
{
	struct blk_child *c = blk_child_get(f->node.ctx);
	c->a = req;
	c->b = f;
	c->req = (struct blk_req){ .op = req->op,
				   .flags = req->flags & ~(uint32_t)BLK_REQ_FUA,
				   .off = req->at,
				   .len = len,
				   .iov = req->iov,
				   .niov = req->niov,
				   .status = req->status,
				   .done = on_child_done };
	if (len < req->len) { /* one piece is enough of a half */
		c->iov = (struct iovec){ req->iov[0].iov_base,
					 MIN((uint64_t)req->iov[0].iov_len, len) };
		c->req.len = align_down(c->iov.iov_len, BLK_SECTOR_BYTES);
		c->iov.iov_len = c->req.len;
		c->req.iov = &c->iov;
		c->req.niov = 1;
	}
	log_request(f, &c->req, &c->c);
	blk_submit(f->node.file, &c->req);
}

static bool picked(struct fault_node *f, const struct blk_req *req)
{
	if (!f->has_rule || !(f->rule.ops & (1u << req->op)))
		return false;
	uint64_t i = f->matched++;
	return i >= f->rule.nth && i - f->rule.nth < f->rule.count;
}

static void fault_submit(struct blk_node *n, struct blk_req *req)
{
	struct fault_node *f = to_fault(n);
	if (!picked(f, req))
		pass(f, req, req->len);
	else if (f->rule.half_done && req->op == BLK_WRITE && req->len > BLK_SECTOR_BYTES)
		pass(f, req, align_down(req->len / 2, BLK_SECTOR_BYTES));
	else
		blk_finish(req, f->rule.err);
}

static int fault_truncate(struct blk_node *n, uint64_t size)
{
	struct fault_node *f = to_fault(n);
	int err = blk_truncate(n->file, size);
	if (!err) {
		uint64_t at = log_add(f, FAULT_LOG_TRUNCATE, size, 0);
		log_done(f, at, 0);
		n->size = n->file->size;
	}
	return err;
}

static int fault_close(struct blk_node *n)
{
	struct fault_node *f = to_fault(n);
	for (uint64_t i = 0; i < f->n; i++)
		free(f->log[i].data);
	free(f->log);
	blk_node_free(n);
	return 0;
}

static const struct blk_ops fault_ops = {
	.format = "fault",
	.submit = fault_submit,
	.close = fault_close,
	.truncate = fault_truncate,
};

int fault_open(struct blk_node *file, struct blk_node **out)
{
	struct fault_node *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	int err = blk_node_init(&f->node, &fault_ops, file->ctx, file->name);
	if (err) {
		free(f);
		return err;
	}
	f->node.file = file;
	f->node.size = file->size;
	f->node.grows = file->grows;
	f->node.read_only = file->read_only;
	f->node.discard_granularity = file->discard_granularity;
	*out = &f->node;
	return 0;
}

void fault_set_rule(struct blk_node *n, const struct fault_rule *rule)
{
	struct fault_node *f = to_fault(n);
	f->has_rule = rule;
	f->matched = 0;
	if (rule)
		f->rule = *rule;
}

uint64_t fault_matched(const struct blk_node *n)
{
	return to_fault(n)->matched;
}

void fault_start_log(struct blk_node *n)
{
	to_fault(n)->logging = true;
}

void fault_mark(struct blk_node *n, uint64_t number)
{
	struct fault_node *f = to_fault(n);
	uint64_t at = log_add(f, FAULT_LOG_MARK, 0, 0);
	if (at != UINT64_MAX)
		f->log[at].id = number;
}

const struct fault_log *fault_get_log(const struct blk_node *n, uint64_t *count)
{
	*count = to_fault(n)->n;
	return to_fault(n)->log;
}
