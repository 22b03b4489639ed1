/* SPDX-License-Identifier: Apache-2.0 */
/*
 * I/O errors. The same random sequence is run again and again on top of the fault injector, which
 * fails the first, second, third ... read, write, flush or discard of the file with EIO or ENOSPC,
 * once or for a while, whole or half done. The requests that meet it may fail; nothing else may:
 * no other data is lost, no request hangs, the image has no corruption after.
 *
 *     test_faults [PLACES [SEED]]
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/fault.h"
#include "tests/block/harness.h"
#include "vmm/base/checked.h"

struct kind {
	const char *name;
	struct fault_rule rule;
};

static const struct kind kinds[] = {
	{ "write EIO once", { 1u << BLK_WRITE, 0, 1, -EIO, false } },
	{ "write ENOSPC for a while", { 1u << BLK_WRITE, 0, 20, -ENOSPC, false } },
	{ "short write", { 1u << BLK_WRITE, 0, 1, -ENOSPC, true } },
	{ "read EIO once", { 1u << BLK_READ, 0, 1, -EIO, false } },
	{ "flush EIO once", { 1u << BLK_FLUSH, 0, 1, -EIO, false } },
	{ "flush EIO for a while", { 1u << BLK_FLUSH, 0, 4, -EIO, false } },
	{ "discard and zeroes EIO",
	  { 1u << BLK_DISCARD | 1u << BLK_WRITE_ZEROES, 0, 3, -EIO, false } },
};

static void make_image(struct rng *r, struct model *m, uint64_t *cluster)
{
	static const unsigned int bits[] = { 9, 12, 16 };
	unsigned int b = bits[rng_below(r, ARRAY_SIZE(bits))];
	*cluster = UINT64_C(1) << b;
	bool backing = rng_below(r, 2);
	must_run("rm -f disk.img base.raw");
	if (backing) {
		rng_fill(r, m->data, m->size);
		FILE *f = fopen("base.raw", "we");
		MUST(f && fwrite(m->data, 1, m->size, f) == m->size && fclose(f) == 0);
	}
	must_run("qemu-img create -q -f qcow2 -o cluster_size=%u %s disk.img %" PRIu64, 1u << b,
		 backing ? "-b base.raw -F raw" : "", m->size);
}

/* -> false: the sequence has no such place any more. */
static bool run_once(const struct kind *k, uint64_t nth, uint64_t seed)
{
	struct rng r;
	struct model m;
	struct driver d;
	struct loop *l;
	struct blk_node *fault;
	uint64_t cluster;
	char text[100];
	snprintf(text, sizeof(text), "faults: %s, number %" PRIu64, k->name, nth);
	note_run(text, seed);
	rng_seed(&r, seed);
	model_init(&m, 700 * KIB);
	make_image(&r, &m, &cluster);
	MUST(loop_create(&l) == 0);
	driver_init(&d, l, &m, &r);
	struct blk_open_opts opts = { .fault = &fault };
	MUST(blk_open_with(l, "disk.img", "qcow2", BLK_OPEN_RDWR, &opts, &d.node) == 0);
	struct fault_rule rule = k->rule;
	rule.nth = nth;
	fault_set_rule(fault, &rule);
	d.tolerate_errors = true;
	driver_random(&d, 60, 4, cluster, true);
	bool reached = fault_matched(fault) > nth;
	fault_set_rule(fault, NULL);
	unsigned int errors = d.errors;
	driver_random(&d, 20, 4, cluster, true);
	driver_submit(&d, BLK_FLUSH, 0, 0, 0);
	driver_verify(&d);
	if (d.errors != errors)
		FAIL("%u requests failed after the trouble was over", d.errors - errors);
	MUST(blk_close(d.node) == 0);
	int st = run_cmd("qemu-img check -q disk.img");
	if (st != 0 && st != 3) /* 3: leaks, which a failed write may leave */
		FAIL("qemu-img check says %d\n%s", st, cmd_output());
	must_run("qemu-img convert -f qcow2 -O raw disk.img disk.raw");
	model_check_file(&m, "disk.raw", "qemu-img");
	loop_destroy(l);
	model_free(&m);
	return reached;
}

int main(int argc, char **argv)
{
	uint64_t places = argc > 1 ? strtoull(argv[1], NULL, 0) : 6;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, n = 0;
	scratch_enter();
	for (uint64_t i = 0; i < places && in_time(i); i++)
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++, n++)
			run_once(&kinds[k], i * i, seed + i);
	scratch_leave();
	printf("ok %" PRIu64 "_io_errors_hit_only_their_own_requests\n1 passed, 0 failed\n", n);
	return 0;
}
