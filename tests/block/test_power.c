/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts. A random sequence is run once on top of the fault injector, which logs every change of
 * the file. From the log, files are made as a power cut at any place could have left them: what was
 * flushed is there, of the rest any part, in any order, torn at sectors. Each of them must open, have
 * no corruption (our own check, and qemu-img's for some), hold everything that was flushed, and in
 * every sector written since either the old contents or the new; and leaks can be repaired.
 *
 *     test_power [SEQUENCES [SEED [CUTS]]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/fault.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/check.h"
#include "devices/block/qcow2/snapshot.h"
#include "tests/block/harness.h"
#include "vmm/base/checked.h"

enum { MARKS = 24, FILE_MAX = 32 << 20 };

/* What must be there at a mark, and what was asked for after it. */
struct stage {
	struct model before;
	struct model after; /* of a snapshot that is applied: all or nothing */
	bool apply;
	bool used;
};

/* A change since the last mark. */
struct change {
	unsigned int stage;
	enum blk_op op;
	uint64_t off, len;
	uint8_t *data;
};

struct run {
	struct rng rng;
	struct driver d;
	struct model model;
	struct stage stages[MARKS];
	unsigned int n_stages;
	struct change *changes;
	unsigned int n_changes;
	uint8_t *base; /* the file at the beginning */
	uint64_t base_bytes;
	uint64_t cluster;
};

/* ---- the sequence ---- */

static void remember(struct run *t, enum blk_op op, uint64_t off, uint64_t len, const uint8_t *data)
{
	t->changes = realloc(t->changes, (t->n_changes + 1) * sizeof(*t->changes));
	struct change *c = &t->changes[t->n_changes++];
	*c = (struct change){ t->n_stages, op, off, len, NULL };
	if (data) {
		c->data = malloc(len);
		memcpy(c->data, data, len);
	}
}

static void observe(void *opaque, enum blk_op op, uint64_t off, uint64_t len, const uint8_t *data)
{
	if (op == BLK_WRITE || op == BLK_WRITE_ZEROES || op == BLK_DISCARD)
		remember(opaque, op, off, len, data);
}

static void mark(struct run *t, struct blk_node *fault)
{
	driver_verify(&t->d); /* what a discard left open is learnt */
	struct stage *s = &t->stages[t->n_stages++];
	model_init(&s->before, t->model.size);
	model_copy(&s->before, &t->model);
	s->used = true;
	fault_mark(fault, t->n_stages);
}

static int do_create(struct blk_node *n, void *arg)
{
	struct qcow2_snapshot_new s = { .name = arg };
	return qcow2_co_snapshot_create(n, &s);
}

static int do_delete(struct blk_node *n, void *arg)
{
	return qcow2_co_snapshot_delete(n, arg);
}

static int do_apply(struct blk_node *n, void *arg)
{
	return qcow2_co_snapshot_apply(n, arg);
}

static void run_sequence(struct run *t, struct blk_node *fault)
{
	char name[] = "s";
	bool have = false;
	struct model saved;
	model_init(&saved, t->model.size);
	mark(t, fault);
	while (t->n_stages < 8) {
		driver_random(&t->d, 6 + (unsigned int)rng_below(&t->rng, 24), 6, t->cluster, true);
		driver_submit(&t->d, BLK_FLUSH, 0, 0, 0);
		driver_drain(&t->d);
		mark(t, fault);
		if (rng_below(&t->rng, 2))
			continue;
		if (!have) {
			MUST(qcow2_run(t->d.node, do_create, name) == 0);
			model_copy(&saved, &t->model);
			have = true;
		} else if (rng_below(&t->rng, 2)) {
			struct stage *s = &t->stages[t->n_stages - 1];
			s->apply = true;
			model_init(&s->after, t->model.size);
			model_copy(&s->after, &saved);
			MUST(qcow2_run(t->d.node, do_apply, name) == 0);
			model_copy(&t->model, &saved);
		} else {
			MUST(qcow2_run(t->d.node, do_delete, name) == 0);
			have = false;
		}
		mark(t, fault);
	}
	model_free(&saved);
}

/* ---- what a cut leaves ---- */

static void put(uint8_t *img, uint64_t *size, uint64_t off, uint64_t len, const uint8_t *data)
{
	MUST(off + len <= FILE_MAX);
	if (off + len > *size) {
		if (!data)
			len = off < *size ? *size - off : 0;
		else
			*size = off + len;
	}
	if (data)
		memcpy(img + off, data, len);
	else
		memset(img + off, 0, len);
}

static void apply_entry(uint8_t *img, uint64_t *size, const struct fault_log *e, struct rng *tear)
{
	if (e->kind == FAULT_LOG_TRUNCATE) {
		if (e->off < *size)
			memset(img + e->off, 0, *size - e->off);
		*size = e->off;
		return;
	}
	bool torn = tear && rng_below(tear, 3) == 0;
	for (uint64_t at = 0; at < e->len; at += 512) {
		if (torn && rng_below(tear, 2))
			continue;
		put(img, size, e->off + at, 512, e->data ? e->data + at : NULL);
	}
}

static bool is_change(const struct fault_log *e)
{
	return e->kind == FAULT_LOG_WRITE || e->kind == FAULT_LOG_ZERO ||
	       e->kind == FAULT_LOG_TRUNCATE;
}

/* Everything a flush before @cut has made durable, then some of the rest. -> the stage it is in. */
static unsigned int make_file(const struct run *t, const struct fault_log *log, uint64_t cut,
			      struct rng *r, uint8_t *img, uint64_t *size)
{
	uint64_t durable = 0, n_rest = 0;
	unsigned int stage = 0;
	for (uint64_t i = 0; i < cut; i++) {
		if (log[i].kind == FAULT_LOG_FLUSH_END)
			durable = MAX(durable, log[i].off);
		if (log[i].kind == FAULT_LOG_MARK)
			stage = (unsigned int)log[i].id;
	}
	memset(img, 0, FILE_MAX);
	memcpy(img, t->base, t->base_bytes);
	*size = t->base_bytes;
	const struct fault_log **rest = malloc((cut + 1) * sizeof(*rest));
	for (uint64_t i = 0; i < cut; i++) {
		if (!is_change(&log[i]))
			continue;
		if (log[i].done && log[i].done_at <= durable && i < durable)
			apply_entry(img, size, &log[i], NULL);
		else
			rest[n_rest++] = &log[i];
	}
	bool in_order = rng_below(r, 2);
	uint64_t keep = rng_below(r, 4); /* of four */
	for (uint64_t i = 0; i < n_rest; i++) {
		uint64_t k = in_order ? i : i + rng_below(r, n_rest - i);
		const struct fault_log *e = rest[k];
		rest[k] = rest[i];
		if (rng_below(r, 4) <= keep)
			apply_entry(img, size, e, r);
	}
	free(rest);
	return stage;
}

/* ---- what must be so ---- */

static void write_file(const char *path, const uint8_t *img, uint64_t size)
{
	FILE *f = fopen(path, "we");
	MUST(f && fwrite(img, 1, size, f) == size && fclose(f) == 0);
}

struct check_arg {
	enum qcow2_fix fix;
	struct qcow2_check r;
};

static int do_check(struct blk_node *n, void *arg)
{
	struct check_arg *a = arg;
	return qcow2_co_check(n, a->fix, &a->r);
}

static bool allowed(const struct run *t, unsigned int stage, uint64_t off, const uint8_t *got,
		    const uint8_t *old)
{
	static const uint8_t zero[512];
	if (memcmp(got, old, 512) == 0)
		return true;
	for (unsigned int i = 0; i < t->n_changes; i++) {
		const struct change *c = &t->changes[i];
		if (c->stage != stage || off < c->off || off >= c->off + c->len)
			continue;
		if (c->op == BLK_DISCARD)
			return true;
		if (memcmp(got, c->op == BLK_WRITE ? c->data + (off - c->off) : zero, 512) == 0)
			return true;
	}
	return false;
}

static void check_contents(const struct run *t, unsigned int stage, const uint8_t *got,
			   uint64_t cut)
{
	const struct stage *s = &t->stages[stage - 1];
	if (s->apply && memcmp(got, s->after.data, t->model.size) == 0)
		return;
	for (uint64_t off = 0; off < t->model.size; off += 512)
		if (!allowed(t, stage, off, got + off, s->before.data + off))
			FAIL("cut at %" PRIu64 ", after mark %u: sector %" PRIu64
			     " is neither what was flushed nor what was written since",
			     cut, stage, off / 512);
}

static void check_cut(const struct run *t, struct loop *l, unsigned int stage, uint64_t cut,
		      bool ask_qemu, uint8_t *got)
{
	struct blk_node *n;
	struct check_arg a = { .fix = QCOW2_FIX_NONE };
	MUST(blk_open(l, "cut.img", "qcow2", BLK_OPEN_RDWR, &n) == 0);
	MUST(qcow2_run(n, do_check, &a) == 0);
	if (a.r.corruptions)
		FAIL("cut at %" PRIu64 ", after mark %u: %" PRIu64 " corruptions", cut, stage,
		     a.r.corruptions);
	MUST(blk_pread(n, got, t->model.size, 0) == 0);
	check_contents(t, stage, got, cut);
	if (ask_qemu) {
		int st = run_cmd("qemu-img check -U -q cut.img");
		if (st != 0 && st != 3)
			FAIL("cut at %" PRIu64 ": qemu-img check says %d\n%s", cut, st,
			     cmd_output());
		a.fix = QCOW2_FIX_LEAKS;
		MUST(qcow2_run(n, do_check, &a) == 0);
		MUST(blk_pread(n, got, t->model.size, 0) == 0);
		check_contents(t, stage, got, cut);
	}
	MUST(blk_close(n) == 0);
	if (ask_qemu)
		must_run("qemu-img check -q cut.img");
}

/* ---- one sequence ---- */

static void load_base(struct run *t)
{
	t->base = malloc(FILE_MAX);
	FILE *f = fopen("disk.img", "re");
	MUST(t->base && f);
	t->base_bytes = fread(t->base, 1, FILE_MAX, f);
	fclose(f);
}

static void make_image(struct run *t, char *text, size_t bytes)
{
	static const unsigned int bits[] = { 9, 12, 16, 16 };
	struct rng *r = &t->rng;
	unsigned int b = bits[rng_below(r, ARRAY_SIZE(bits))];
	const char *compat = rng_below(r, 3) ? "1.1" : "0.10";
	bool v3 = strcmp(compat, "1.1") == 0, ext = v3 && b == 16 && rng_below(r, 2);
	bool backing = rng_below(r, 2);
	uint64_t size = (2 + rng_below(r, 6)) * 128 * KIB;
	t->cluster = UINT64_C(1) << b;
	model_init(&t->model, size);
	if (backing) {
		rng_fill(r, t->model.data, size / 2);
		write_file("base.raw", t->model.data, size / 2);
	}
	snprintf(text, bytes, "power: cluster=%u compat=%s%s%s size=%" PRIu64, 1u << b, compat,
		 ext ? " ext_l2" : "", backing ? " backing" : "", size);
	must_run("rm -f disk.img; qemu-img create -q -f qcow2 -o cluster_size=%u,compat=%s%s %s "
		 "disk.img "
		 "%" PRIu64,
		 1u << b, compat, ext ? ",extended_l2=on" : "", backing ? "-b base.raw -F raw" : "",
		 size);
	load_base(t);
}

static void free_run(struct run *t)
{
	for (unsigned int i = 0; i < t->n_stages; i++) {
		model_free(&t->stages[i].before);
		if (t->stages[i].apply)
			model_free(&t->stages[i].after);
	}
	for (unsigned int i = 0; i < t->n_changes; i++)
		free(t->changes[i].data);
	free(t->changes);
	free(t->base);
	model_free(&t->model);
}

static uint64_t one_sequence(uint64_t seed, uint64_t cuts)
{
	struct run *t = calloc(1, sizeof(*t));
	char text[200];
	rng_seed(&t->rng, seed);
	make_image(t, text, sizeof(text));
	note_run(text, seed);
	struct loop *l;
	MUST(loop_create(&l) == 0);
	driver_init(&t->d, l, &t->model, &t->rng);
	t->d.observe = observe;
	t->d.observer = t;
	struct blk_node *fault;
	struct blk_open_opts opts = { .fault = &fault };
	MUST(blk_open_with(l, "disk.img", "qcow2", BLK_OPEN_RDWR, &opts, &t->d.node) == 0);
	fault_start_log(fault);
	run_sequence(t, fault);
	uint64_t n, done = 0;
	const struct fault_log *log = fault_get_log(fault, &n);
	uint8_t *img = malloc(FILE_MAX), *got = malloc(t->model.size);
	uint64_t first = 0;
	while (log[first].kind != FAULT_LOG_MARK)
		first++;
	uint64_t step = MAX((n - first) / cuts, UINT64_C(1));
	for (uint64_t cut = first + 1 + rng_below(&t->rng, step); cut <= n; cut += step, done++) {
		uint64_t size;
		unsigned int stage = make_file(t, log, cut, &t->rng, img, &size);
		write_file("cut.img", img, size);
		check_cut(t, l, stage, cut, done % 16 == 0, got);
	}
	free(img);
	free(got);
	MUST(blk_close(t->d.node) == 0);
	must_run("qemu-img check -q disk.img");
	loop_destroy(l);
	free_run(t);
	free(t);
	return done;
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 0) : 4;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	uint64_t cuts = argc > 3 ? strtoull(argv[3], NULL, 0) : 100, done = 0;
	scratch_enter();
	for (uint64_t i = 0; i < n && in_time(i); i++) {
		if (getenv("TRACE_SEEDS"))
			fprintf(stderr, "seed %" PRIu64 "\n", seed + i);
		done += one_sequence(seed + i, cuts);
	}
	scratch_leave();
	printf("ok %" PRIu64 "_power_cuts_lost_nothing_that_was_flushed\n1 passed, 0 failed\n",
	       done);
	return 0;
}
