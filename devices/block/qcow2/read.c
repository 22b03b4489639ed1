/* SPDX-License-Identifier: Apache-2.0 */
/* Reading from a qcow2 image when the fast path cannot; and what is stored where. */
/*
 * How it works. The request is walked extent by extent; those in the file or the backing file are all
 * submitted before any is waited for, so a fragmented read costs one round trip. Nothing yields
 * between mapping an extent and submitting it, so the I/O is counted in the epoch of its mapping.
 */
#include <errno.h>

#include "devices/block/qcow2/int.h"

uint64_t q_backing_bytes(const struct qcow2 *q, uint64_t off, uint64_t len)
{
	const struct blk_node *b = q->node.backing;
	/* VM state lies behind the end of the disk, where no backing file shows. */
	uint64_t end = b ? MIN(b->size, q->node.size) : 0;
	return off < end ? MIN(len, end - off) : 0;
}

static int read_compressed(struct qcow2 *q, const struct q_extent *e, uint64_t off,
			   const struct iovec *iov, unsigned int niov, uint64_t skip)
{
	uint8_t *buf = q_buf_get(q);
	if (!buf)
		return -ENOMEM;
	int err = q_co_read_compressed(q, e->entry, buf);
	if (!err)
		blk_iov_write(iov, niov, skip, buf + (off & (q->cluster_bytes - 1)), e->len);
	q_buf_put(q, buf);
	return err;
}

static int read_extent(struct q_fan *f, const struct q_extent *e, uint64_t off,
		       const struct iovec *iov, unsigned int niov, uint64_t skip)
{
	struct qcow2 *q = f->q;
	uint64_t shown = 0;
	switch (e->type) {
	case Q_NORMAL:
		q_fan_submit(f, q->data, BLK_READ, iov, niov, skip, e->len, e->host, true);
		return 0;
	case Q_COMPRESSED_CLUSTER: return read_compressed(q, e, off, iov, niov, skip);
	case Q_UNALLOCATED: shown = q_backing_bytes(q, off, e->len); break;
	case Q_ZERO_PLAIN:
	case Q_ZERO_ALLOC: break;
	}
	if (shown)
		q_fan_submit(f, q->node.backing, BLK_READ, iov, niov, skip, shown, off, false);
	if (shown < e->len)
		blk_iov_zero(iov, niov, skip + shown, e->len - shown);
	return 0;
}

int q_co_read(struct qcow2 *q, uint64_t off, uint64_t len, const struct iovec *iov,
	      unsigned int niov)
{
	struct q_fan fan = { .q = q };
	int err = 0;
	for (uint64_t done = 0; done < len && !err;) {
		struct q_extent e;
		err = q_co_map(q, off + done, len - done, &e);
		if (!err)
			err = read_extent(&fan, &e, off + done, iov, niov, done);
		done += e.len;
	}
	int err2 = q_co_fan_wait(&fan);
	return err ? err : err2;
}

/* ---- status ---- */

static int backing_status(struct qcow2 *q, uint64_t off, uint64_t len, struct blk_status *out)
{
	uint64_t shown = q_backing_bytes(q, off, len);
	if (!shown) {
		*out = (struct blk_status){ .flags = BLK_STATUS_ZERO, .len = len };
		return 0;
	}
	int err = blk_co_status(q->node.backing, off, shown, out);
	out->flags &= ~(unsigned int)BLK_STATUS_ALLOCATED;
	out->depth++;
	return err;
}

int q_co_status(struct qcow2 *q, uint64_t off, uint64_t len, struct blk_status *out)
{
	struct q_extent e;
	int err = q_co_map(q, off, len, &e);
	if (err)
		return err;
	*out = (struct blk_status){ .flags = BLK_STATUS_ALLOCATED, .len = e.len };
	switch (e.type) {
	case Q_UNALLOCATED: return backing_status(q, off, e.len, out);
	case Q_ZERO_PLAIN: out->flags |= BLK_STATUS_ZERO; break;
	case Q_ZERO_ALLOC:
		out->flags |= BLK_STATUS_ZERO | BLK_STATUS_OFFSET;
		out->host_off = e.host;
		break;
	case Q_NORMAL:
		out->flags |= BLK_STATUS_DATA | BLK_STATUS_OFFSET;
		out->host_off = e.host;
		break;
	case Q_COMPRESSED_CLUSTER: out->flags |= BLK_STATUS_DATA | BLK_STATUS_COMPRESSED; break;
	}
	return 0;
}
