/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image bench: how fast the engine serves one kind of request. */
/*
 * How it works. A ring of requests, as many as the depth, each sent again as soon as it is done, at the
 * next offset; they wrap around at the end of the image. With --flush-interval every Nth completion is
 * followed by a flush, for which the others are waited for first, unless --no-drain says otherwise.
 */
#include "tools/image/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

enum { DEPTH_MAX = 4096, BENCH_BYTES_MAX = 64 << 20, RING_BYTES_MAX = 1 << 30 };

struct bench {
	struct image_words words;
	const char *format;
	uint64_t count, depth, bytes, step, off, flush_every, pattern;
	bool write, json, quiet, no_drain, share, buffered;

	struct loop *loop;
	struct blk_node *node;
	struct slot *slots;
	uint8_t *memory;
	struct blk_req flush;
	uint64_t sent, done, unflushed;
	unsigned int in_flight;
	bool flushing, over;
	int err;
};

struct slot {
	struct bench *b;
	struct blk_req req;
	struct iovec iov;
	bool busy;
};

/* ---- the command line ---- */

static int take_number(const char *option, const char *value, uint64_t max, uint64_t *out)
{
	if (!options_parse_size(value, out) && *out <= max)
		return 0;
	log_error("bench: %s takes a number up to %" PRIu64 ", not '%s'", option, max, value);
	return -EINVAL;
}

static int set_count(void *cfg, const char *value)
{
	return take_number("-c", value, INT_MAX, &((struct bench *)cfg)->count);
}

static int set_depth(void *cfg, const char *value)
{
	return take_number("-d", value, DEPTH_MAX, &((struct bench *)cfg)->depth);
}

static int set_bytes(void *cfg, const char *value)
{
	return take_number("-s", value, BENCH_BYTES_MAX, &((struct bench *)cfg)->bytes);
}

static int set_step(void *cfg, const char *value)
{
	return take_number("-S", value, INT_MAX, &((struct bench *)cfg)->step);
}

static int set_off(void *cfg, const char *value)
{
	return take_number("-o", value, INT64_MAX, &((struct bench *)cfg)->off);
}

static int set_pattern(void *cfg, const char *value)
{
	return take_number("--pattern", value, 255, &((struct bench *)cfg)->pattern);
}

static int set_flush(void *cfg, const char *value)
{
	return take_number("--flush-interval", value, INT_MAX, &((struct bench *)cfg)->flush_every);
}

static int set_format(void *cfg, const char *value)
{
	((struct bench *)cfg)->format = value;
	return 0;
}

/* The one option of its kind that changes something: past the page cache, or through it. */
static int set_cache(void *cfg, const char *value)
{
	((struct bench *)cfg)->buffered = strncmp(value, "write", 5) == 0;
	return image_cache(cfg, value);
}

static int set_aio(void *cfg, const char *value)
{
	(void)cfg;
	if (strcmp(value, "native") == 0 || strcmp(value, "threads") == 0)
		return 0;
	log_error("bench: -i is native or threads, not '%s'", value);
	return -EINVAL;
}

static int set_native(void *cfg, const char *value)
{
	(void)cfg;
	(void)value;
	return 0;
}

static int set_write(void *cfg, const char *value)
{
	(void)value;
	((struct bench *)cfg)->write = true;
	return 0;
}

static int set_no_drain(void *cfg, const char *value)
{
	(void)value;
	((struct bench *)cfg)->no_drain = true;
	return 0;
}

static int set_json(void *cfg, const char *value)
{
	(void)value;
	((struct bench *)cfg)->json = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct bench *)cfg)->quiet = true;
	return 0;
}

static int set_share(void *cfg, const char *value)
{
	(void)value;
	((struct bench *)cfg)->share = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct bench *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "count", 'c', "N", "requests (75000)", set_count },
	{ "depth", 'd', "N", "under way at a time (64)", set_depth },
	{ "size", 's', "BYTES", "of a request (4096)", set_bytes },
	{ "step", 'S', "BYTES", "from one to the next (its size)", set_step },
	{ "offset", 'o', "BYTES", "of the first (0)", set_off },
	{ "write", 'w', NULL, "write: what is there is lost", set_write },
	{ "pattern", 0, "BYTE", "written (0)", set_pattern },
	{ "flush-interval", 0, "N", "flush after every N writes", set_flush },
	{ "no-drain", 0, NULL, "and do not wait for the others before", set_no_drain },
	{ "format", 'f', "FORMAT", "of the image", set_format },
	{ "cache", 't', "MODE", "none: past the page cache (the default); writeback: through it",
	  set_cache },
	{ "aio", 'i', "MODE", "taken as qemu-img's; it changes nothing", set_aio },
	{ "native", 'n', NULL, "likewise", set_native },
	{ "json", 0, NULL, "tell the figures as JSON", set_json },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
	{ "force-share", 'U', NULL, "read, though the image is in use", set_share },
};

static const struct command_spec command = {
	.usage = "charmvm image bench [OPTION...] FILE",
	.about = "Measures how fast requests are served.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

static int check(struct bench *b)
{
	const char *wrong = NULL;
	if (!b->bytes || b->bytes % BLK_SECTOR_BYTES || b->step % BLK_SECTOR_BYTES ||
	    b->off % BLK_SECTOR_BYTES)
		wrong = "sizes and offsets are multiples of 512";
	else if (!b->depth || b->depth * b->bytes > RING_BYTES_MAX)
		wrong = "depth times size is 1 GiB at the most, and not 0";
	else if (b->flush_every && !b->write)
		wrong = "--flush-interval is only available in write tests";
	else if (b->flush_every && b->flush_every < b->depth)
		wrong = "the flush interval cannot be smaller than the depth";
	if (wrong)
		log_error("bench: %s", wrong);
	b->step = b->step ? b->step : b->bytes;
	return wrong ? -EINVAL : 0;
}

/* ---- the ring ---- */

static void go_on(struct bench *b);

static void note_error(struct bench *b, const char *what, int err)
{
	if (!b->err)
		log_error("%s: %s failed: %s", blk_name(b->node), what, strerror(-err));
	b->err = b->err ? b->err : err;
}

static void on_flushed(struct blk_req *req, int err)
{
	struct bench *b = req->opaque;
	b->flushing = false;
	b->unflushed = 0;
	if (err)
		note_error(b, "a flush", err);
	go_on(b);
}

static void on_done(struct blk_req *req, int err)
{
	struct slot *s = req->opaque;
	struct bench *b = s->b;
	s->busy = false;
	b->in_flight--;
	b->done++;
	b->unflushed++;
	if (err)
		note_error(b, "a request", err);
	go_on(b);
}

static void send_flush(struct bench *b)
{
	b->flushing = true;
	b->flush = (struct blk_req){ .op = BLK_FLUSH, .done = on_flushed, .opaque = b };
	blk_submit(b->node, &b->flush);
}

static void send_one(struct bench *b, struct slot *s)
{
	s->busy = true;
	s->req = (struct blk_req){ .op = b->write ? BLK_WRITE : BLK_READ,
				   .off = b->off,
				   .len = b->bytes,
				   .iov = &s->iov,
				   .niov = 1,
				   .done = on_done,
				   .opaque = s };
	uint64_t room = blk_size(b->node) - b->bytes;
	b->off += b->step;
	if (b->off > room)
		b->off = room ? b->off % room / BLK_SECTOR_BYTES * BLK_SECTOR_BYTES : 0;
	b->sent++;
	b->in_flight++;
	blk_submit(b->node, &s->req);
}

static void go_on(struct bench *b)
{
	bool due = b->flush_every && b->unflushed >= b->flush_every && !b->err;
	if (due && !b->flushing && (b->no_drain || !b->in_flight))
		send_flush(b);
	bool wait = (due || b->flushing) && !b->no_drain;
	for (uint64_t i = 0; i < b->depth && !wait && !b->err && b->sent < b->count; i++)
		if (!b->slots[i].busy)
			send_one(b, &b->slots[i]);
	if (!b->in_flight && !b->flushing && (b->err || b->sent == b->count))
		b->over = true;
}

/* ---- the whole ---- */

static int make_ring(struct bench *b)
{
	b->slots = calloc(b->depth, sizeof(*b->slots));
	b->memory = image_buffer(b->depth * b->bytes);
	if (!b->slots || !b->memory)
		return -ENOMEM;
	memset(b->memory, (int)b->pattern, b->depth * b->bytes);
	for (uint64_t i = 0; i < b->depth; i++) {
		b->slots[i].b = b;
		b->slots[i].iov = (struct iovec){ b->memory + i * b->bytes, b->bytes };
	}
	return 0;
}

static void announce(const struct bench *b)
{
	if (b->quiet || b->json)
		return;
	printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64
	       " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
	       b->count, b->write ? "write" : "read", b->bytes, b->depth, b->off, b->step);
	if (b->flush_every)
		printf("Sending flush every %" PRIu64 " requests\n", b->flush_every);
	fflush(stdout);
}

static void report(const struct bench *b, uint64_t ns)
{
	double s = (double)ns / (double)NS_PER_S;
	if (b->json)
		printf("{ \"requests\": %" PRIu64 ", \"bytes\": %" PRIu64
		       ", \"seconds\": %.6f, \"requests-per-second\": %.1f }\n",
		       b->done, b->done * b->bytes, s, s > 0 ? (double)b->done / s : 0);
	else if (!b->quiet)
		printf("Run completed in %.3f seconds.\n", s);
}

static int run(struct bench *b)
{
	uint64_t size = blk_size(b->node);
	if (!ck_range(b->off, b->bytes, size)) {
		log_error("%s: a request of %" PRIu64 " bytes at %" PRIu64 " is beyond its end",
			  blk_name(b->node), b->bytes, b->off);
		return -EINVAL;
	}
	int err = make_ring(b);
	if (err)
		return err;
	announce(b);
	uint64_t began = clock_now_ns();
	go_on(b);
	err = loop_run_until(b->loop, &b->over);
	err = err ? err : b->err;
	if (!err)
		report(b, clock_now_ns() - began);
	return err;
}

int image_bench(int argc, char **argv)
{
	struct bench b = { .count = 75000, .depth = 64, .bytes = 4096 };
	int status;
	if (image_parse(&command, &b, &b.words, 1, argc, argv, 1, &status))
		return status;
	if (check(&b))
		return 1;
	unsigned int flags = (b.write ? BLK_OPEN_RDWR : 0) | (b.share ? BLK_OPEN_NO_LOCK : 0) |
			     (b.buffered ? BLK_OPEN_BUFFERED : 0);
	int err = image_open(&b.loop, b.words.v[0], b.format, flags, NULL, &b.node);
	if (!err)
		err = run(&b);
	free(b.slots);
	free(b.memory);
	return image_close(b.loop, b.node, err) ? 1 : 0;
}
