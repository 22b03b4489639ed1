/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the block tests share: a scratch directory, qemu-img and qemu-io as referees, a seeded random
 * generator, and a model of a disk that requests are checked against.
 */
#ifndef TESTS_BLOCK_HARNESS_H
#define TESTS_BLOCK_HARNESS_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/block/block.h"
#include "vmm/core/loop.h"

/* ---- failing ---- */

/* Prints where, the seed and why, keeps the scratch directory, ends the program with status 1. */
void fail_at(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));
#define FAIL(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)
#define MUST(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			FAIL("%s", #cond);                                                         \
	} while (0)
/* Told with every failure. */
void note_run(const char *what, uint64_t seed);

/* Whether there is time for sequence number @i: the first always, then until LIMIT (environment, seconds). */
bool in_time(uint64_t i);

/* ---- scratch ---- */

/* Makes a directory for this process and goes there. */
void scratch_enter(void);
void scratch_leave(void);

/* Runs a command line with sh. -> its exit status. Output goes to the file "out" in the scratch directory. */
int run_cmd(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void must_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* What the last command printed; static storage. */
const char *cmd_output(void);

/* ---- random numbers: xorshift, the same everywhere ---- */

struct rng {
	uint64_t s;
};
void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n); /* n > 0 */
void rng_fill(struct rng *r, void *buf, uint64_t bytes);

/* ---- the model ---- */

/* What a disk must contain. Sectors whose contents a discard left open are in `open`. */
struct model {
	uint64_t size;
	uint8_t *data;
	uint8_t *open; /* one byte a sector */
};
void model_init(struct model *m, uint64_t size);
void model_free(struct model *m);
void model_copy(struct model *to, const struct model *from); /* @to is initialised */
void model_write(struct model *m, uint64_t off, uint64_t len, const uint8_t *data);
void model_zero(struct model *m, uint64_t off, uint64_t len);
void model_discard(struct model *m, uint64_t off, uint64_t len);
/* Compares what was read; where the model is open it learns. Fails the test on a difference. */
void model_check(struct model *m, uint64_t off, uint64_t len, const uint8_t *got, const char *who);
void model_check_file(struct model *m, const char *raw_path, const char *who);

/* ---- requests in flight, checked against the model when they complete ---- */

struct driver {
	struct loop *loop;
	struct blk_node *node;
	struct model *model;
	struct rng *rng;
	unsigned int in_flight;
	unsigned int target; /* of a wait */
	bool reached;
	bool trace;	      /* TRACE is in the environment: tells each request */
	bool tolerate_errors; /* a failed write leaves its sectors open instead of failing the test */
	unsigned int errors;
	struct list reqs;
	/* Told of each request when it is submitted; or NULL. */
	void (*observe)(void *observer, enum blk_op op, uint64_t off, uint64_t len,
			const uint8_t *data);
	void *observer;
};
void driver_init(struct driver *d, struct loop *l, struct model *m, struct rng *r);
/* Submits one request on a range that no request in flight touches (else drains first). */
void driver_submit(struct driver *d, enum blk_op op, uint32_t flags, uint64_t off, uint64_t len);
void driver_drain(struct driver *d);
/* A random mix: @n requests, up to @depth in flight. */
void driver_random(struct driver *d, unsigned int n, unsigned int depth, uint64_t cluster,
		   bool compress);
/* Reads everything and compares. */
void driver_verify(struct driver *d);

#endif
