/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed clusters: zlib (raw deflate) and zstd, read and written. */
/*
 * How it works. Reading: the sectors named by the L2 entry are read whole and inflated on a worker
 * thread into exactly one cluster; more or less than that is damage. The last inflated cluster is
 * kept, so small sequential reads inflate it once. A read counts as data I/O from the entry to the
 * end, so the sectors cannot be reused under it.
 *
 * Writing: compressed data has any length, so it is packed end to end into host clusters, across
 * their boundary where the next cluster happens to follow. The packer gathers up to a window of
 * clusters in memory and writes them in one go; a commit writes what is there before the mapping
 * that refers to it (commit.c, rule 2), and reads look there first. Each host cluster is
 * counted once for each guest cluster that has bytes in it. The first of them takes over the
 * reference that the allocation made, so a crash leaks nothing.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/codec.h"
#include "devices/block/qcow2/int.h"

enum { PACK_WINDOW_BYTES = 1 << 20 };

struct q_inflated {
	uint64_t entry; /* 0: nothing */
	uint8_t data[];
};

struct q_packer {
	struct co_mutex lock;
	uint64_t base;	  /* host byte of the window's first cluster */
	uint64_t room;	  /* bytes of the clusters taken so far, from base on */
	uint64_t used;	  /* bytes packed, from base on */
	uint64_t written; /* of them, in the file */
	uint64_t window;  /* bytes of buf */
	bool closed;	  /* the last cluster is not ours any more */
	uint8_t *buf;
};

/* ---- reading ---- */

/* From the packer's memory, if it has all of the range. */
static bool read_packed(const struct qcow2 *q, uint64_t off, uint64_t len, uint8_t *out)
{
	const struct q_packer *p = q->packer;
	if (!p || off < p->base || off >= p->base + p->used)
		return false;
	/* The range ends at a sector's end, which may be behind what is packed. */
	uint64_t have = MIN(len, p->base + p->used - off);
	memcpy(out, p->buf + (off - p->base), have);
	memset(out + have, 0, len - have);
	return true;
}

static int read_sectors(struct qcow2 *q, uint64_t off, uint64_t len, uint8_t **mem, uint8_t **data)
{
	uint64_t start = align_down(off, 512), whole = off + len - start;
	*mem = NULL;
	if (posix_memalign((void **)mem, Q_PAGE_BYTES_MAX, whole))
		return -ENOMEM;
	*data = *mem + (off - start);
	if (read_packed(q, off, len, *data))
		return 0;
	if (start >= q->node.file->size)
		return q_corrupt(q, "compressed data behind the end of the file, at", off);
	return blk_co_read(q->node.file, *mem, whole, start);
}

static void keep(struct qcow2 *q, uint64_t entry, const uint8_t *data)
{
	if (!q->inflated)
		q->inflated = malloc(sizeof(*q->inflated) + q->cluster_bytes);
	if (!q->inflated)
		return;
	q->inflated->entry = entry;
	memcpy(q->inflated->data, data, q->cluster_bytes);
}

static int inflate_cluster(struct qcow2 *q, uint64_t entry, uint8_t *out)
{
	uint64_t off, len;
	q_compressed_range(q, entry, &off, &len);
	uint8_t *mem, *data;
	int err = read_sectors(q, off, len, &mem, &data);
	if (!err) {
		err = q_co_inflate(q, data, len, out);
		if (err == -EIO)
			log_guest(&q->limit, "%s: damaged compressed data at %" PRIu64,
				  q->node.name, off);
	}
	free(mem);
	return err;
}

int q_co_read_compressed(struct qcow2 *q, uint64_t entry, uint8_t *out)
{
	if (q->inflated && q->inflated->entry == entry) {
		memcpy(out, q->inflated->data, q->cluster_bytes);
		return 0;
	}
	unsigned int epoch = q_io_begin(q);
	uint32_t drops = q->drops;
	int err = inflate_cluster(q, entry, out);
	if (!err && drops == q->drops) /* else it may be gone already */
		keep(q, entry, out);
	q_io_end(q, epoch);
	return err;
}

void q_inflated_forget(struct qcow2 *q, uint64_t entry)
{
	q->drops++;
	if (q->inflated && q->inflated->entry == entry)
		q->inflated->entry = 0;
}

/* ---- packing ---- */

void q_packer_forget(struct qcow2 *q, uint64_t cluster)
{
	struct q_packer *p = q->packer;
	if (p && p->room && cluster == (p->base + p->room - 1) >> q->cluster_bits)
		p->closed = true;
}

static int packer_make(struct qcow2 *q)
{
	if (q->packer)
		return 0;
	struct q_packer *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->window = MAX((uint64_t)PACK_WINDOW_BYTES, 2 * (uint64_t)q->cluster_bytes);
	if (posix_memalign((void **)&p->buf, Q_PAGE_BYTES_MAX, p->window)) {
		free(p);
		return -ENOMEM;
	}
	co_mutex_init(&p->lock);
	q->packer = p;
	return 0;
}

/* With the lock held. */
static int write_window(struct qcow2 *q, struct q_packer *p)
{
	if (p->written == p->used)
		return 0;
	uint64_t from = align_down(p->written, 512), to = align_up(p->used, 512);
	memset(p->buf + p->used, 0, to - p->used);
	int err = blk_co_write(q->node.file, p->buf + from, to - from, p->base + from);
	if (!err)
		p->written = p->used;
	return err;
}

int q_co_packer_flush(struct qcow2 *q)
{
	struct q_packer *p = q->packer;
	if (!p)
		return 0;
	co_mutex_lock(q_co(q), &p->lock);
	int err = write_window(q, p);
	co_mutex_unlock(&p->lock);
	return err;
}

/* The window starts again at @base; the bytes of the cluster that is still open stay. */
static void restart(struct qcow2 *q, struct q_packer *p, uint64_t cluster)
{
	p->base = cluster << q->cluster_bits;
	p->room = q->cluster_bytes;
	p->used = p->written = 0;
	p->closed = false;
}

static void slide(struct qcow2 *q, struct q_packer *p)
{
	uint64_t last = align_down(p->used, q->cluster_bytes);
	memmove(p->buf, p->buf + last, p->used - last);
	p->base += last;
	p->room -= last;
	p->used -= last;
	p->written = p->used;
}

/* Room for @len bytes, taken from the file; *shared: they begin in a cluster that has others. */
static int make_room(struct qcow2 *q, struct q_packer *p, uint64_t len, bool *shared)
{
	bool open = p->room && !p->closed && p->used < p->room;
	*shared = open;
	if (open && len <= p->room - p->used)
		return 0;
	if (p->room + q->cluster_bytes > p->window) {
		int err = write_window(q, p);
		if (err)
			return err;
		if (open)
			slide(q, p);
	}
	uint64_t cluster, got;
	bool fresh;
	int err = q_co_alloc(q, 1, &cluster, &got, &fresh);
	if (err)
		return err;
	bool follows = p->room && !p->closed && cluster << q->cluster_bits == p->base + p->room &&
		       p->room + q->cluster_bytes <= p->window;
	if (follows) {
		p->room += q->cluster_bytes;
		return 0;
	}
	err = write_window(q, p);
	if (err) {
		q_co_refcount_add(q, cluster, 1, -1);
		return err;
	}
	restart(q, p, cluster);
	*shared = false;
	return 0;
}

static uint64_t entry_for(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	uint64_t sectors = (off + len - 1) / 512 - off / 512;
	return Q_COMPRESSED | off | sectors << (62 - (q->cluster_bits - 8));
}

/* Packs @len bytes. -> the L2 entry for them. */
static int pack(struct qcow2 *q, const uint8_t *data, uint64_t len, uint64_t *entry)
{
	struct q_packer *p = q->packer;
	bool shared;
	int err = make_room(q, p, len, &shared);
	if (err)
		return err;
	uint64_t first = (p->base + p->used) >> q->cluster_bits;
	uint64_t last = (p->base + p->room - 1) >> q->cluster_bits;
	err = shared ? q_co_refcount_add(q, first, 1, 1) : 0;
	if (err) {
		p->closed = true;
		if (last != first) /* taken for these bytes only */
			q_co_refcount_add(q, last, 1, -1);
		return err;
	}
	*entry = entry_for(q, p->base + p->used, len);
	memcpy(p->buf + p->used, data, len);
	p->used += len;
	return 0;
}

static int write_one(struct qcow2 *q, uint64_t off, const uint8_t *data, uint8_t *room)
{
	size_t packed = q->cluster_bytes - 512;
	int err = q_co_deflate(q, data, room, &packed);
	if (err)
		return err;
	struct q_busy busy;
	uint64_t cluster = off >> q->cluster_bits, entry;
	q_co_busy_wait(q, cluster, cluster);
	q_busy_begin(q, &busy, cluster, cluster);
	co_mutex_lock(q_co(q), &q->packer->lock);
	err = pack(q, room, packed, &entry);
	if (!err)
		err = q_co_set_entry(q, off, entry);
	co_mutex_unlock(&q->packer->lock);
	q_busy_end(q, &busy);
	return err;
}

int q_co_write_compressed(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
			  unsigned int niov)
{
	bool whole = off % q->cluster_bytes == 0 &&
		     (len % q->cluster_bytes == 0 || off + len == q->node.size);
	if (!whole || q->data_file)
		return q_co_write(q, off, len, iov, niov);
	uint8_t *data = q_buf_get(q), *room = q_buf_get(q);
	int err = data && room ? packer_make(q) : -ENOMEM;
	for (uint64_t at = 0; at < len && !err; at += q->cluster_bytes) {
		uint64_t part = MIN(len - at, (uint64_t)q->cluster_bytes);
		err = q_co_verify(q, off + at);
		if (err)
			break;
		blk_iov_read(iov, niov, at, data, part);
		memset(data + part, 0, q->cluster_bytes - part);
		err = q->corrupt ? -EIO : write_one(q, off + at, data, room);
		if (err == -ENOSPC || err == -EOVERFLOW) { /* no gain, or too many references */
			struct iovec v = { data, part };
			err = q_co_write(q, off + at, part, &v, 1);
		}
	}
	q_buf_put(q, data);
	q_buf_put(q, room);
	return err;
}

void q_compress_free(struct qcow2 *q)
{
	q_codecs_free(q);
	free(q->inflated);
	if (q->packer)
		free(q->packer->buf);
	free(q->packer);
}
