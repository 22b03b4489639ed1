/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk engine alone, loaded as `qemu-img bench` loads QEMU's: COUNT requests of SIZE bytes, DEPTH of them under
 * way, each STEP bytes behind the one before, round and round the disk.
 *
 * usage: disk [-w] [-B] [-c COUNT] [-d DEPTH] [-s SIZE] [-S STEP] [-o OFFSET] [-f FORMAT] FILE
 *
 *   -w  writes; -B  buffered, without O_DIRECT. Numbers are plain.
 *
 * Prints "seconds S cpu S allocations N": of the second half of the requests, by when all pools are filled and all
 * tables cached, and times two. Allocations are calls of malloc() and its family.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "devices/block/block.h"
#include "vmm/base/clock.h"
#include "vmm/core/loop.h"

enum { DEPTH_MAX = 256 };

/* ---- what is counted: the linker sends calls here (--wrap) ---- */

static _Atomic unsigned long allocations;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
int __real_posix_memalign(void **out, size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
int __wrap_posix_memalign(void **out, size_t align, size_t n);

void *__wrap_malloc(size_t n)
{
	allocations++;
	return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	allocations++;
	return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	allocations++;
	return __real_realloc(p, n);
}

int __wrap_posix_memalign(void **out, size_t align, size_t n)
{
	allocations++;
	return __real_posix_memalign(out, align, n);
}

/* ---- the load ---- */

struct sample {
	double wall, cpu;
	unsigned long allocations;
};

struct bench {
	struct blk_node *node;
	enum blk_op op;
	uint64_t count, size, step, at;
	unsigned int depth;
	uint64_t started, ended;
	struct sample half;
	bool done;
	int err;
};

struct slot {
	struct blk_req req;
	struct iovec iov;
	struct bench *b;
};

static struct sample now(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (struct sample){
		.wall = (double)clock_now_ns() / 1e9,
		.cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6,
		.allocations = allocations,
	};
}

static void on_done(struct blk_req *req, int err);

static void start(struct bench *b, struct slot *s)
{
	s->req = (struct blk_req){ .op = b->op,
				   .off = b->at,
				   .len = b->size,
				   .iov = &s->iov,
				   .niov = 1,
				   .done = on_done,
				   .opaque = s };
	b->at = (b->at + b->step) % blk_size(b->node);
	if (b->at + b->size > blk_size(b->node))
		b->at = 0;
	if (++b->started == b->count / 2)
		b->half = now();
	blk_submit(b->node, &s->req);
}

static void on_done(struct blk_req *req, int err)
{
	struct slot *s = req->opaque;
	struct bench *b = s->b;
	b->err = b->err ? b->err : err;
	b->ended++;
	if (b->started < b->count && !b->err)
		start(b, s);
	else if (b->ended == b->started)
		b->done = true;
}

static int run(struct bench *b, struct loop *l)
{
	struct slot *slots = calloc(b->depth, sizeof(*slots));
	char *buf;
	if (!slots || posix_memalign((void **)&buf, 4096, b->depth * b->size))
		return -ENOMEM;
	memset(buf, 0x5a, b->depth * b->size);
	for (unsigned int i = 0; i < b->depth; i++) {
		slots[i].b = b;
		slots[i].iov = (struct iovec){ buf + i * b->size, b->size };
	}
	for (unsigned int i = 0; i < b->depth && b->started < b->count; i++)
		start(b, &slots[i]);
	int err = loop_run_until(l, &b->done);
	struct sample end = now();
	printf("seconds %.6f cpu %.6f allocations %lu\n", 2 * (end.wall - b->half.wall),
	       2 * (end.cpu - b->half.cpu), 2 * (end.allocations - b->half.allocations));
	free(buf);
	free(slots);
	return err ? err : b->err;
}

static uint64_t number(const char *s)
{
	char *end;
	errno = 0;
	uint64_t v = strtoull(s, &end, 10);
	if (errno || *end || !*s) {
		fprintf(stderr, "disk: %s is not a number\n", s);
		exit(2);
	}
	return v;
}

int main(int argc, char **argv)
{
	struct bench b = { .op = BLK_READ, .count = 75000, .size = 4096, .depth = 64 };
	unsigned int flags = BLK_OPEN_RDWR;
	const char *format = NULL;
	struct loop *l;
	int c;
	while ((c = getopt(argc, argv, "wBc:d:s:S:o:f:")) != -1) {
		switch (c) {
		case 'w': b.op = BLK_WRITE; break;
		case 'B': flags |= BLK_OPEN_BUFFERED; break;
		case 'c': b.count = number(optarg); break;
		case 'd': b.depth = (unsigned int)number(optarg); break;
		case 's': b.size = number(optarg); break;
		case 'S': b.step = number(optarg); break;
		case 'o': b.at = number(optarg); break;
		case 'f': format = optarg; break;
		default: return 2;
		}
	}
	if (optind + 1 != argc || !b.depth || b.depth > DEPTH_MAX || b.count < 2) {
		fputs("usage: disk [-w] [-B] [-c COUNT] [-d DEPTH] [-s SIZE] [-S STEP] [-f FORMAT] "
		      "FILE\n",
		      stderr);
		return 2;
	}
	b.step = b.step ? b.step : b.size;
	int err = loop_create(&l);
	err = err ? err : blk_open(l, argv[optind], format, flags | BLK_OPEN_ANY_BACKING, &b.node);
	if (err)
		return 1;
	err = run(&b, l);
	if (err)
		fprintf(stderr, "disk: %s: %s\n", argv[optind], strerror(-err));
	int closing = blk_close(b.node);
	loop_destroy(l);
	return err || closing ? 1 : 0;
}
