/* SPDX-License-Identifier: Apache-2.0 */
/* The codecs of compressed clusters: zlib (raw deflate) and zstd, on worker threads. */
/*
 * How it works. A codec's state is a quarter of a megabyte and more; made anew for each cluster, its first touch
 * would cost as much as a fast codec's work. So states are kept: a worker thread takes an idle one
 * while it runs a job. There are as many as threads that ever ran jobs of this image at once.
 *
 * A frame of zstd is inflated in one go, into its cluster: no window is allocated, whatever size a
 * hostile frame claims. Only a frame without an end, which other programs may have left, takes the
 * stream's way, with a window of 8 MiB at the most.
 */
#include "devices/block/qcow2/codec.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <zlib.h>

#include "devices/block/qcow2/int.h"
#include "devices/block/qcow2/zstd_lib.h"

enum { ZLIB_WINDOW_BITS = -12, ZLIB_MEMORY = 9, ZSTD_LEVEL = 3, ZSTD_WINDOW_BITS_MAX = 23 };

/* States; made when first needed. */
struct codec {
	z_stream deflate, inflate;
	bool has_deflate, has_inflate;
	ZSTD_CCtx *zstd_deflate;
	ZSTD_DCtx *zstd_inflate;
	struct codec *next;
};

struct q_codecs {
	pthread_mutex_t lock;
	struct codec *idle;   /* guarded by the lock */
	struct zstd_lib zstd; /* with has_zstd; before any job that needs it */
	bool has_zstd;
};

struct job {
	struct q_codecs *codecs;
	bool deflate;
	uint8_t type;
	const uint8_t *in;
	size_t in_bytes;
	uint8_t *out;
	size_t out_bytes; /* room; after deflating: bytes made */
	int err;
};

/* ---- on a worker thread ---- */

static void put_buffers(const struct job *j, z_stream *z)
{
	z->next_in = (uint8_t *)(uintptr_t)j->in;
	z->avail_in = (uInt)j->in_bytes;
	z->next_out = j->out;
	z->avail_out = (uInt)j->out_bytes;
}

static int inflate_zlib(struct codec *c, struct job *j)
{
	z_stream *z = &c->inflate;
	if (c->has_inflate)
		inflateReset(z);
	else if (inflateInit2(z, ZLIB_WINDOW_BITS) != Z_OK)
		return -ENOMEM;
	c->has_inflate = true;
	put_buffers(j, z);
	int ret = inflate(z, Z_FINISH);
	/* Z_BUF_ERROR with a full cluster: the stream's end did not fit, its data did. */
	return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && z->avail_out == 0 ? 0 : -EIO;
}

static int inflate_zstd_stream(struct codec *c, struct job *j)
{
	const struct zstd_lib *zstd = &j->codecs->zstd;
	zstd->dctx_reset(c->zstd_inflate, ZSTD_reset_session_only);
	ZSTD_outBuffer out = { j->out, j->out_bytes, 0 };
	ZSTD_inBuffer in = { j->in, j->in_bytes, 0 };
	while (out.pos < out.size) {
		size_t before = in.pos + out.pos;
		size_t ret = zstd->decompress_stream(c->zstd_inflate, &out, &in);
		if (zstd->is_error(ret) || in.pos + out.pos == before)
			break;
	}
	return out.pos == out.size ? 0 : -EIO;
}

static int inflate_zstd(struct codec *c, struct job *j)
{
	const struct zstd_lib *zstd = &j->codecs->zstd;
	if (!c->zstd_inflate) {
		c->zstd_inflate = zstd->create_dctx();
		if (!c->zstd_inflate)
			return -ENOMEM;
		zstd->dctx_set(c->zstd_inflate, ZSTD_d_windowLogMax, ZSTD_WINDOW_BITS_MAX);
	}
	/* What is behind the frame in its last sector is not ours. */
	size_t frame = zstd->frame_bytes(j->in, j->in_bytes);
	if (zstd->is_error(frame))
		return inflate_zstd_stream(c, j);
	size_t n = zstd->decompress(c->zstd_inflate, j->out, j->out_bytes, j->in, frame);
	return !zstd->is_error(n) && n == j->out_bytes ? 0 : inflate_zstd_stream(c, j);
}

static int deflate_zlib(struct codec *c, struct job *j)
{
	z_stream *z = &c->deflate;
	if (c->has_deflate)
		deflateReset(z);
	else if (deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, ZLIB_WINDOW_BITS, ZLIB_MEMORY,
			      Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	c->has_deflate = true;
	put_buffers(j, z);
	int ret = deflate(z, Z_FINISH);
	j->out_bytes -= z->avail_out;
	return ret == Z_STREAM_END ? 0 : -ENOSPC;
}

static int deflate_zstd(struct codec *c, struct job *j)
{
	const struct zstd_lib *zstd = &j->codecs->zstd;
	if (!c->zstd_deflate && !(c->zstd_deflate = zstd->create_cctx()))
		return -ENOMEM;
	/* As a stream with an end, which is what readers expect of a cluster. */
	size_t n = zstd->compress(c->zstd_deflate, j->out, j->out_bytes, j->in, j->in_bytes,
				  ZSTD_LEVEL);
	if (zstd->is_error(n))
		return -ENOSPC;
	j->out_bytes = n;
	return 0;
}

static struct codec *take(struct q_codecs *all)
{
	pthread_mutex_lock(&all->lock);
	struct codec *c = all->idle;
	if (c)
		all->idle = c->next;
	pthread_mutex_unlock(&all->lock);
	return c ? c : calloc(1, sizeof(*c));
}

static void give_back(struct q_codecs *all, struct codec *c)
{
	pthread_mutex_lock(&all->lock);
	c->next = all->idle;
	all->idle = c;
	pthread_mutex_unlock(&all->lock);
}

static void run_job(void *arg)
{
	struct job *j = arg;
	struct codec *c = take(j->codecs);
	bool zstd = j->type == QCOW2_COMPRESSION_ZSTD;
	if (!c)
		j->err = -ENOMEM;
	else if (j->deflate)
		j->err = zstd ? deflate_zstd(c, j) : deflate_zlib(c, j);
	else
		j->err = zstd ? inflate_zstd(c, j) : inflate_zlib(c, j);
	if (c)
		give_back(j->codecs, c);
}

/* ---- on the loop's thread ---- */

static int run(struct qcow2 *q, struct job *j)
{
	if (!q->codecs) {
		q->codecs = calloc(1, sizeof(*q->codecs));
		if (!q->codecs)
			return -ENOMEM;
		pthread_mutex_init(&q->codecs->lock, NULL);
	}
	j->codecs = q->codecs;
	j->type = q->h.compression;
	if (j->type == QCOW2_COMPRESSION_ZSTD && !j->codecs->has_zstd) {
		if (zstd_lib_load(&j->codecs->zstd))
			return -EIO;
		j->codecs->has_zstd = true;
	}
	blk_co_work(q->node.ctx, run_job, j);
	return j->err;
}

int q_co_inflate(struct qcow2 *q, const uint8_t *in, size_t in_bytes, uint8_t *out)
{
	struct job j = {
		.in = in, .in_bytes = in_bytes, .out = out, .out_bytes = q->cluster_bytes
	};
	return run(q, &j);
}

int q_co_deflate(struct qcow2 *q, const uint8_t *in, uint8_t *out, size_t *out_bytes)
{
	struct job j = { .deflate = true,
			 .in = in,
			 .in_bytes = q->cluster_bytes,
			 .out = out,
			 .out_bytes = *out_bytes };
	int err = run(q, &j);
	*out_bytes = j.out_bytes;
	return err;
}

void q_codecs_free(struct qcow2 *q)
{
	struct codec *c, *next;
	if (!q->codecs)
		return;
	for (c = q->codecs->idle; c; c = next) {
		next = c->next;
		if (c->has_deflate)
			deflateEnd(&c->deflate);
		if (c->has_inflate)
			inflateEnd(&c->inflate);
		if (c->zstd_deflate)
			q->codecs->zstd.free_cctx(c->zstd_deflate);
		if (c->zstd_inflate)
			q->codecs->zstd.free_dctx(c->zstd_inflate);
		free(c);
	}
	pthread_mutex_destroy(&q->codecs->lock);
	free(q->codecs);
	q->codecs = NULL;
}
