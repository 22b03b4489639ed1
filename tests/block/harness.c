/* SPDX-License-Identifier: Apache-2.0 */
/* The harness of the block tests. */
#include "tests/block/harness.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/clock.h"

enum { SECTOR = 512 };

/* Test programs are the one place where file-scope state is fine. */
static char scratch[64];
static char note[512];
static uint64_t note_seed;
static char output[65536];

void note_run(const char *what, uint64_t seed)
{
	snprintf(note, sizeof(note), "%s", what);
	note_seed = seed;
}

void fail_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;
	fflush(stdout);
	fprintf(stderr, "FAILED %s seed %" PRIu64 "\n  %s:%d: ", note, note_seed, file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n  files kept in %s\n", scratch);
	_exit(1); /* what is in flight would only show up as leaks */
}

bool in_time(uint64_t i)
{
	static uint64_t begin;
	const char *limit = getenv("LIMIT");
	if (!i)
		begin = clock_now_ns();
	return !i || !limit || clock_now_ns() - begin < strtoull(limit, NULL, 10) * NS_PER_S;
}

void scratch_enter(void)
{
	const char *base = getenv("TMPDIR");
	snprintf(scratch, sizeof(scratch), "%.30s/charmvm-block.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(scratch) || chdir(scratch) < 0) {
		perror(scratch);
		exit(2);
	}
}

void scratch_leave(void)
{
	char cmd[128];
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", scratch);
	if (chdir("/") < 0 || system(cmd) != 0)
		perror(scratch);
}

__attribute__((format(printf, 1, 0))) static int run_v(const char *fmt, va_list ap)
{
	char cmd[4096], line[4200];
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	snprintf(line, sizeof(line), "{ %s ; } >out 2>&1 </dev/null", cmd);
	int st = system(line);
	return WIFEXITED(st) ? WEXITSTATUS(st) : 255;
}

int run_cmd(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int st = run_v(fmt, ap);
	va_end(ap);
	return st;
}

const char *cmd_output(void)
{
	FILE *f = fopen("out", "re");
	size_t n = f ? fread(output, 1, sizeof(output) - 1, f) : 0;
	output[n] = '\0';
	if (f)
		fclose(f);
	return output;
}

void must_run(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int st = run_v(fmt, ap);
	va_end(ap);
	if (st)
		FAIL("command failed with %d: %s\n%s", st, fmt, cmd_output());
}

/* ---- random numbers ---- */

void rng_seed(struct rng *r, uint64_t seed)
{
	r->s = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	for (int i = 0; i < 8; i++)
		rng_next(r);
}

uint64_t rng_next(struct rng *r)
{
	r->s ^= r->s << 13;
	r->s ^= r->s >> 7;
	r->s ^= r->s << 17;
	return r->s;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	return (rng_next(r) >> 11) % n;
}

void rng_fill(struct rng *r, void *buf, uint64_t bytes)
{
	uint8_t *p = buf;
	/* Half of it compresses well. */
	bool dull = rng_below(r, 2);
	uint64_t word = rng_next(r);
	for (uint64_t i = 0; i + 8 <= bytes; i += 8) {
		if (!dull || i % 4096 == 0)
			word = rng_next(r);
		memcpy(p + i, &word, 8);
	}
}

/* ---- the model ---- */

void model_init(struct model *m, uint64_t size)
{
	m->size = size;
	m->data = calloc(1, size);
	m->open = calloc(1, size / SECTOR + 1);
	MUST(m->data && m->open);
}

void model_free(struct model *m)
{
	free(m->data);
	free(m->open);
}

void model_copy(struct model *to, const struct model *from)
{
	MUST(to->size == from->size);
	memcpy(to->data, from->data, from->size);
	memcpy(to->open, from->open, from->size / SECTOR);
}

void model_write(struct model *m, uint64_t off, uint64_t len, const uint8_t *data)
{
	memcpy(m->data + off, data, len);
	memset(m->open + off / SECTOR, 0, len / SECTOR);
}

void model_zero(struct model *m, uint64_t off, uint64_t len)
{
	memset(m->data + off, 0, len);
	memset(m->open + off / SECTOR, 0, len / SECTOR);
}

void model_discard(struct model *m, uint64_t off, uint64_t len)
{
	memset(m->open + off / SECTOR, 1, len / SECTOR);
}

void model_check(struct model *m, uint64_t off, uint64_t len, const uint8_t *got, const char *who)
{
	for (uint64_t i = 0; i < len; i += SECTOR) {
		uint64_t s = (off + i) / SECTOR;
		if (m->open[s]) {
			memcpy(m->data + off + i, got + i, SECTOR);
			m->open[s] = 0;
		} else if (memcmp(m->data + off + i, got + i, SECTOR) != 0) {
			FAIL("%s: sector %" PRIu64 " (offset 0x%" PRIx64
			     ") is %02x%02x%02x%02x..., "
			     "not %02x%02x%02x%02x...",
			     who, s, off + i, got[i], got[i + 1], got[i + 2], got[i + 3],
			     m->data[off + i], m->data[off + i + 1], m->data[off + i + 2],
			     m->data[off + i + 3]);
		}
	}
}

void model_check_file(struct model *m, const char *raw_path, const char *who)
{
	uint8_t *buf = malloc(m->size);
	FILE *f = fopen(raw_path, "re");
	MUST(buf && f);
	size_t n = fread(buf, 1, m->size, f);
	if (n != m->size)
		FAIL("%s: %zu bytes instead of %" PRIu64, who, n, m->size);
	fclose(f);
	model_check(m, 0, m->size, buf, who);
	free(buf);
}

/* ---- the driver ---- */

struct driver_req {
	struct blk_req req;
	struct driver *d;
	struct list link;
	enum blk_op op; /* the engine changes req.op while it flushes for FUA */
	uint8_t *buf;
	struct iovec iov[4];
};

void driver_init(struct driver *d, struct loop *l, struct model *m, struct rng *r)
{
	*d = (struct driver){ .loop = l, .model = m, .rng = r, .trace = getenv("TRACE") };
	list_init(&d->reqs);
}

static void apply(struct driver *d, const struct driver_req *r)
{
	const struct blk_req *q = &r->req;
	switch (q->op) {
	case BLK_READ: model_check(d->model, q->off, q->len, r->buf, "read"); break;
	case BLK_WRITE: model_write(d->model, q->off, q->len, r->buf); break;
	case BLK_WRITE_ZEROES: model_zero(d->model, q->off, q->len); break;
	case BLK_DISCARD: model_discard(d->model, q->off, q->len); break;
	default: break;
	}
}

static void on_done(struct blk_req *req, int err)
{
	struct driver_req *r = container_of(req, struct driver_req, req);
	struct driver *d = r->d;
	if (!err)
		apply(d, r);
	else if (!d->tolerate_errors)
		FAIL("request %d at 0x%" PRIx64 "+0x%" PRIx64 ": %s", req->op, req->off, req->len,
		     strerror(-err));
	else if (req->op != BLK_READ && req->op != BLK_FLUSH)
		model_discard(d->model, req->off, req->len);
	d->errors += err != 0;
	list_del(&r->link);
	if (d->trace)
		fprintf(stderr, "done %d 0x%" PRIx64 "+0x%" PRIx64 "\n", req->op, req->off,
			req->len);
	d->in_flight--;
	if (d->in_flight <= d->target)
		d->reached = true;
	free(r->buf);
	free(r);
}

static bool overlaps(const struct driver *d, uint64_t off, uint64_t len)
{
	const struct list *pos;
	list_for_each (pos, &d->reqs) {
		const struct driver_req *r = list_entry(pos, struct driver_req, link);
		const struct blk_req *q = &r->req;
		if (r->op != BLK_FLUSH && q->off < off + len && off < q->off + q->len)
			return true;
	}
	return false;
}

static void wait_below(struct driver *d, unsigned int n)
{
	d->target = n;
	d->reached = d->in_flight <= n;
	if (!d->reached)
		MUST(loop_run_until(d->loop, &d->reached) == 0);
}

void driver_drain(struct driver *d)
{
	wait_below(d, 0);
}

/* Buffers of odd shapes: misaligned, in several pieces. */
static void make_iov(struct driver *d, struct driver_req *r, uint64_t len)
{
	uint64_t skew = rng_below(d->rng, 3) ? 0 : rng_below(d->rng, 512);
	if (posix_memalign((void **)&r->buf, 4096, len + 1024))
		FAIL("no memory");
	if (skew) { /* keep `buf` what is freed and checked: the data itself */
		free(r->buf);
		r->buf = malloc(len + 1024);
		MUST(r->buf);
	}
	unsigned int pieces = 1 + (unsigned int)rng_below(d->rng, ARRAY_SIZE(r->iov));
	uint64_t at = 0;
	r->req.niov = 0;
	for (unsigned int i = 0; i < pieces && at < len; i++) {
		uint64_t part = i + 1 == pieces ? len - at : rng_below(d->rng, len - at + 1);
		if (rng_below(d->rng, 2) && i + 1 < pieces)
			part = align_down(part, 512);
		r->iov[r->req.niov++] = (struct iovec){ r->buf + at, part };
		at += part;
	}
	r->req.iov = r->iov;
}

void driver_submit(struct driver *d, enum blk_op op, uint32_t flags, uint64_t off, uint64_t len)
{
	if (op != BLK_FLUSH && overlaps(d, off, len))
		driver_drain(d);
	struct driver_req *r = calloc(1, sizeof(*r));
	MUST(r);
	r->d = d;
	r->op = r->req.op = op;
	r->req.flags = flags;
	r->req.off = off;
	r->req.len = op == BLK_FLUSH ? 0 : len;
	r->req.done = on_done;
	if (op == BLK_READ || op == BLK_WRITE)
		make_iov(d, r, len);
	if (op == BLK_WRITE)
		rng_fill(d->rng, r->buf, len);
	if (op == BLK_READ)
		memset(r->buf, 0xee, len);
	list_add_tail(&d->reqs, &r->link);
	d->in_flight++;
	if (d->observe)
		d->observe(d->observer, op, off, len, r->buf);
	if (d->trace)
		fprintf(stderr, "op %d flags %x 0x%" PRIx64 "+0x%" PRIx64 "\n", op, flags, off,
			len);
	blk_submit(d->node, &r->req);
}

static enum blk_op random_op(struct driver *d)
{
	uint64_t x = rng_below(d->rng, 100);
	return x < 45	? BLK_WRITE
	       : x < 70 ? BLK_READ
	       : x < 82 ? BLK_WRITE_ZEROES
	       : x < 93 ? BLK_DISCARD
			: BLK_FLUSH;
}

void driver_random(struct driver *d, unsigned int n, unsigned int depth, uint64_t cluster,
		   bool compress)
{
	uint64_t size = d->model->size;
	for (unsigned int i = 0; i < n; i++) {
		enum blk_op op = random_op(d);
		uint64_t max = rng_below(d->rng, 4) ? 3 * cluster : 12 * cluster;
		uint64_t off = align_down(rng_below(d->rng, size), 512);
		uint64_t len = align_up(1 + rng_below(d->rng, max), 512);
		if (rng_below(d->rng, 2)) { /* whole clusters */
			off = align_down(off, cluster);
			len = align_up(len, cluster);
		}
		uint32_t flags = op == BLK_WRITE_ZEROES && rng_below(d->rng, 2) ? BLK_REQ_UNMAP : 0;
		if (op == BLK_WRITE && rng_below(d->rng, 20) == 0)
			flags |= BLK_REQ_FUA;
		if (op == BLK_WRITE && compress && rng_below(d->rng, 4) == 0) {
			flags |= BLK_REQ_COMPRESS;
			off = align_down(off, cluster);
			len = align_up(len, cluster);
		}
		len = MIN(len, size - off);
		driver_submit(d, op, flags, off, len);
		wait_below(d, depth - 1);
	}
	driver_drain(d);
}

void driver_verify(struct driver *d)
{
	enum { CHUNK = 1 << 20 };
	for (uint64_t off = 0; off < d->model->size; off += CHUNK)
		driver_submit(d, BLK_READ, 0, off, MIN((uint64_t)CHUNK, d->model->size - off));
	driver_drain(d);
}
