/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random sequences of requests, several in flight, over a matrix of image options, against a model
 * in memory; then qemu-img checks the image and reads it, and it is opened again.
 *
 *     test_model [SEQUENCES [SEED]]     each sequence takes its options from its seed
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>

#include "devices/block/overlay.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/check.h"
#include "devices/block/qcow2/create.h"
#include "devices/block/qcow2/snapshot.h"
#include "tests/block/harness.h"
#include "vmm/base/checked.h"

struct options {
	const char *format;
	unsigned int cluster_bits;
	const char *compat;
	unsigned int refcount_bits;
	bool ext_l2, lazy, zstd, prealloc;
	const char *backing; /* NULL, "raw", "qcow2" */
	uint64_t size, backing_size;
	bool data_file;
	bool buffered;
	bool snapshots;
};

static void choose(struct rng *r, struct options *o)
{
	static const unsigned int bits[] = { 9, 9, 12, 14, 16, 16, 16, 21 };
	*o = (struct options){ .format = rng_below(r, 12) ? "qcow2" : "raw" };
	o->cluster_bits = bits[rng_below(r, ARRAY_SIZE(bits))];
	o->compat = rng_below(r, 4) ? "1.1" : "0.10";
	bool v3 = strcmp(o->compat, "1.1") == 0;
	o->refcount_bits = v3 && rng_below(r, 2) ? 1u << rng_below(r, 7) : 16;
	o->ext_l2 = v3 && o->cluster_bits >= 14 && rng_below(r, 3) == 0;
	o->lazy = v3 && rng_below(r, 5) == 0;
	o->zstd = v3 && rng_below(r, 3) == 0;
	o->size = align_up((1 + rng_below(r, o->cluster_bits <= 9 ? 4 : 24)) * MIB / 2 +
				   rng_below(r, 100) * 512,
			   512);
	o->data_file = v3 && rng_below(r, 12) == 0;
	if (!o->data_file && rng_below(r, 2)) {
		o->backing = rng_below(r, 2) ? "raw" : "qcow2";
		o->backing_size = align_up(1 + rng_below(r, 2 * o->size), 512);
	}
	o->prealloc = !o->backing && rng_below(r, 8) == 0;
	o->buffered = rng_below(r, 4) == 0;
	o->snapshots = rng_below(r, 2);
}

static void describe(const struct options *o, char *out, size_t bytes)
{
	snprintf(
		out, bytes,
		"model: %s cluster=%u compat=%s refcount_bits=%u%s%s%s%s%s backing=%s size=%" PRIu64
		" backing_size=%" PRIu64 "%s%s",
		o->format, 1u << o->cluster_bits, o->compat, o->refcount_bits,
		o->ext_l2 ? " ext_l2" : "", o->lazy ? " lazy" : "", o->zstd ? " zstd" : "",
		o->prealloc ? " prealloc" : "", o->data_file ? " data_file" : "",
		o->backing ? o->backing : "none", o->size, o->backing_size,
		o->buffered ? " buffered" : "", o->snapshots ? " snapshots" : "");
}

/* The backing file, with contents in every other place, which the model then begins with. */
static void make_backing(const struct options *o, struct rng *r, struct model *m)
{
	uint8_t *buf = calloc(1, o->backing_size);
	MUST(buf);
	for (uint64_t at = 0; at < o->backing_size; at += 64 * KIB)
		if (rng_below(r, 2))
			rng_fill(r, buf + at, MIN(64 * KIB, o->backing_size - at));
	FILE *f = fopen("base.raw", "we");
	MUST(f && fwrite(buf, 1, o->backing_size, f) == o->backing_size);
	fclose(f);
	if (strcmp(o->backing, "qcow2") == 0)
		must_run("qemu-img convert -f raw -O qcow2 %s base.raw base.qcow2",
			 rng_below(r, 2) ? "-c" : "");
	memcpy(m->data, buf, MIN(o->size, o->backing_size));
	free(buf);
}

static void make_image(const struct options *o, struct rng *r, struct model *m)
{
	char opts[512], backing[128] = "";
	must_run("rm -f base.* disk.*");
	if (strcmp(o->format, "raw") == 0) {
		must_run("qemu-img create -q -f raw disk.img %" PRIu64, o->size);
		return;
	}
	if (o->backing) {
		make_backing(o, r, m);
		snprintf(backing, sizeof(backing), "-b base.%s -F %s", o->backing, o->backing);
	}
	snprintf(opts, sizeof(opts), "cluster_size=%u,compat=%s,refcount_bits=%u%s%s%s%s%s",
		 1u << o->cluster_bits, o->compat, o->refcount_bits,
		 o->ext_l2 ? ",extended_l2=on" : "", o->lazy ? ",lazy_refcounts=on" : "",
		 o->zstd ? ",compression_type=zstd" : "",
		 o->prealloc ? ",preallocation=metadata" : "",
		 o->data_file ? ",data_file=disk.data" : "");
	must_run("qemu-img create -q -f qcow2 -o %s %s disk.img %" PRIu64, opts, backing, o->size);
}

static void check_image(const struct options *o, struct model *m)
{
	if (strcmp(o->format, "qcow2") == 0)
		must_run("qemu-img check -q disk.img");
	must_run("qemu-img convert -f %s -O raw disk.img disk.raw", o->format);
	model_check_file(m, "disk.raw", "qemu-img");
}

/* ---- snapshots ---- */

enum { SNAPS = 4 };

struct snap {
	bool taken;
	char name[16];
	struct model model;
};

static int do_create(struct blk_node *n, void *arg)
{
	struct qcow2_snapshot_new s = { .name = arg, .date_s = 1700000000 };
	return qcow2_co_snapshot_create(n, &s);
}

static int do_apply(struct blk_node *n, void *arg)
{
	return qcow2_co_snapshot_apply(n, arg);
}

static int do_delete(struct blk_node *n, void *arg)
{
	return qcow2_co_snapshot_delete(n, arg);
}

static int do_check(struct blk_node *n, void *arg)
{
	return qcow2_co_check(n, QCOW2_FIX_NONE, arg);
}

static void own_check(struct driver *d)
{
	struct qcow2_check r;
	MUST(qcow2_run(d->node, do_check, &r) == 0);
	if (r.corruptions || r.leaks)
		FAIL("own check: %" PRIu64 " corruptions, %" PRIu64 " leaks", r.corruptions,
		     r.leaks);
}

/* Narrow refcounts and data files may refuse; nothing else may. */
static bool refused(int err, const struct options *o)
{
	return (err == -EOVERFLOW && o->refcount_bits < 8) || (err == -ENOTSUP && o->data_file);
}

static void snapshot_step(struct driver *d, const struct options *o, struct snap *snaps)
{
	struct snap *s = &snaps[rng_below(d->rng, SNAPS)];
	int err;
	if (!s->taken) {
		err = qcow2_run(d->node, do_create, s->name);
		if (!err) {
			/* What is open in the model must be learnt before it is remembered. */
			driver_verify(d);
			model_copy(&s->model, d->model);
			s->taken = true;
		}
	} else if (rng_below(d->rng, 2)) {
		err = qcow2_run(d->node, do_apply, s->name);
		if (!err)
			model_copy(d->model, &s->model);
	} else {
		err = qcow2_run(d->node, do_delete, s->name);
		s->taken = err != 0;
	}
	if (err && !refused(err, o))
		FAIL("snapshot: %s", strerror(-err));
}

struct under_load {
	bool done;
	int err;
};

static void on_created(void *opaque, int err)
{
	struct under_load *u = opaque;
	u->err = err;
	u->done = true;
}

/* A snapshot while requests are on their way and new ones come: none is lost, all are answered. */
static void snapshot_under_load(struct driver *d, const struct options *o, uint64_t cluster)
{
	static char name[] = "load";
	struct under_load u = { 0 };
	for (int i = 0; i < 8; i++)
		driver_submit(d, BLK_WRITE, 0,
			      align_down(rng_below(d->rng, o->size - cluster), 512), cluster);
	MUST(qcow2_spawn(d->node, do_create, name, on_created, &u) == 0);
	driver_random(d, 30, 8, cluster, false);
	if (!u.done)
		MUST(loop_run_until(d->loop, &u.done) == 0);
	if (u.err && !refused(u.err, o))
		FAIL("snapshot under load: %s", strerror(-u.err));
	own_check(d);
	driver_verify(d);
	if (!u.err)
		MUST(qcow2_run(d->node, do_delete, name) == 0);
}

static void check_snapshots(struct snap *snaps)
{
	for (int i = 0; i < SNAPS; i++) {
		if (!snaps[i].taken)
			continue;
		must_run("qemu-img convert -f qcow2 -l snapshot.name=%s -O raw disk.img snap.raw",
			 snaps[i].name);
		model_check_file(&snaps[i].model, "snap.raw", "qemu-img of a snapshot");
	}
}

/* A throw-away overlay on the image: it behaves as a disk, and the image does not change. */
static void overlay_round(struct driver *d, const struct options *o, uint64_t cluster)
{
	struct model before, *image = d->model;
	struct blk_node *base = NULL;
	model_init(&before, image->size);
	model_copy(&before, image);
	d->model = &before;
	MUST(blk_open(d->loop, "disk.img", o->format, 0, &base) == 0);
	MUST(blk_overlay(base, ".", &d->node) == 0);
	driver_random(d, 80, 8, MIN(cluster, UINT64_C(16384)), false);
	driver_verify(d);
	MUST(blk_close(d->node) == 0);
	d->model = image;
	model_free(&before);
}

static void run_sequence(uint64_t seed)
{
	struct snap snaps[SNAPS] = { 0 };
	struct rng r;
	rng_seed(&r, seed);
	struct options o;
	choose(&r, &o);
	char text[300];
	describe(&o, text, sizeof(text));
	note_run(text, seed);
	struct model m;
	model_init(&m, o.size);
	bool raw = strcmp(o.format, "raw") == 0;
	make_image(&o, &r, &m);
	for (int i = 0; i < SNAPS; i++) {
		model_init(&snaps[i].model, o.size);
		snprintf(snaps[i].name, sizeof(snaps[i].name), "snap%d", i);
	}
	struct loop *l;
	MUST(loop_create(&l) == 0);
	struct driver d;
	driver_init(&d, l, &m, &r);
	for (unsigned int round = 0; round < 3; round++) {
		unsigned int flags = BLK_OPEN_RDWR | (o.buffered ? BLK_OPEN_BUFFERED : 0);
		MUST(blk_open(l, "disk.img", o.format, flags, &d.node) == 0);
		MUST(blk_size(d.node) == o.size);
		uint64_t cluster = raw ? 4096 : UINT64_C(1) << o.cluster_bits;
		unsigned int depth = 1 + (unsigned int)rng_below(&r, 16);
		for (unsigned int part = 0; part < 4; part++) {
			driver_random(&d, 40, depth, cluster, !raw);
			if (!raw && o.snapshots)
				snapshot_step(&d, &o, snaps);
		}
		if (!raw && o.snapshots && o.size > 2 * cluster)
			snapshot_under_load(&d, &o, cluster);
		if (rng_below(&r, 2))
			driver_verify(&d);
		if (!raw && rng_below(&r, 2))
			own_check(&d);
		MUST(blk_close(d.node) == 0);
		check_image(&o, &m);
		if (rng_below(&r, 3) == 0) {
			overlay_round(&d, &o, cluster);
			check_image(&o, &m);
		}
		check_snapshots(snaps);
	}
	for (int i = 0; i < SNAPS; i++)
		model_free(&snaps[i].model);
	loop_destroy(l);
	model_free(&m);
}

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 0) : 12;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	scratch_enter();
	uint64_t i;
	for (i = 0; i < n && in_time(i); i++) {
		if (getenv("TRACE_SEEDS"))
			fprintf(stderr, "seed %" PRIu64 "\n", seed + i);
		run_sequence(seed + i);
	}
	scratch_leave();
	printf("ok %" PRIu64
	       "_random_sequences_agree_with_the_model_and_qemu_img\n1 passed, 0 failed\n",
	       i);
	return 0;
}
