/* SPDX-License-Identifier: Apache-2.0 */
/* One request of virtio-blk: taken from the guest, taken apart, given to the block layer, answered (virtio 1.2, 5.2.6). */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "devices/virtio/virtio_blk_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	/* Requests (5.2.6). */
	HEADER_BYTES = 16,
	RANGE_BYTES = 16,
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_GET_ID = 8,
	T_DISCARD = 11,
	T_WRITE_ZEROES = 13,
	RANGE_UNMAP = 1,
	S_OK = 0,
	S_IOERR = 1,
	S_UNSUPP = 2,

	DATA_BYTES_MAX = 64 << 20, /* of one request; drivers send a megabyte or so */
};

/* ---- the pool ---- */

/* There is one: no more are in flight than the queues hold, which vq_pop() sees to. */
static struct blk_request *request_get(struct virtio_blk *d)
{
	if (list_empty(&d->free)) {
		assert(d->fresh < d->pool_len);
		struct blk_request *r = &d->pool[d->fresh++];
		r->d = d;
		list_init(&r->link);
		return r;
	}
	struct blk_request *r = list_first(&d->free, struct blk_request, link);
	list_del(&r->link);
	return r;
}

static void request_put(struct virtio_blk *d, struct blk_request *r)
{
	list_add_head(&d->free, &r->link);
}

/* ---- from the guest ---- */

/* After the last byte of data has been written. */
static void answer(struct virtio_blk *d, struct blk_request *r, uint8_t status)
{
	*r->status = status;
	vq_push(virtio_vq(&d->v, r->queue), r->head, r->written);
	request_put(d, r);
}

static void on_done(struct blk_req *blk, int err)
{
	struct blk_request *r = container_of(blk, struct blk_request, blk);
	struct virtio_blk *d = r->d;
	blk->err = err;
	if (list_empty(&d->completed))
		loop_task_post(d->v.dev.env->loop, &d->complete);
	list_add_tail(&d->completed, &r->link);
}

static void submit(struct virtio_blk *d, struct blk_request *r)
{
	r->blk.done = on_done;
	virtio_begin(&d->v, 1);
	blk_submit(d->node, &r->blk);
}

/* Without a cache that the driver knows of, a write is done when it is on the disk
 * (5.2.5.2, 5.2.6.2). */
static uint32_t write_flags(const struct virtio_blk *d)
{
	bool writeback = virtio_has(&d->v, F_CONFIG_WCE) ? d->v.config[CFG_WRITEBACK]
							 : virtio_has(&d->v, F_FLUSH);
	return writeback ? 0 : BLK_REQ_FUA;
}

/* -> S_OK: submitted. */
static uint8_t start_transfer(struct virtio_blk *d, struct blk_request *r, enum blk_op op,
			      uint64_t sector, const struct iovec *iov, unsigned int niov,
			      uint64_t len_bytes)
{
	uint64_t off;
	if (!len_bytes || len_bytes % BLK_SECTOR_BYTES || len_bytes > DATA_BYTES_MAX ||
	    !ck_mul(sector, (uint64_t)BLK_SECTOR_BYTES, &off))
		return S_IOERR;
	if (op == BLK_WRITE && blk_read_only(d->node))
		return S_IOERR;
	r->blk = (struct blk_req){
		.op = op,
		.flags = op == BLK_WRITE ? write_flags(d) : 0,
		.off = off,
		.len = len_bytes,
		.iov = iov,
		.niov = niov,
	};
	submit(d, r);
	return S_OK;
}

/* One range, as max_discard_seg and max_write_zeroes_seg say. */
static uint8_t start_range(struct virtio_blk *d, struct blk_request *r, uint32_t type,
			   const struct iovec *iov, unsigned int niov, uint64_t len_bytes)
{
	bool discard = type == T_DISCARD;
	uint8_t range[RANGE_BYTES];
	if (!virtio_has(&d->v, discard ? F_DISCARD : F_WRITE_ZEROES))
		return S_UNSUPP;
	if (len_bytes != sizeof(range) || blk_read_only(d->node))
		return S_IOERR;
	iov_get(iov, niov, 0, range, sizeof(range));
	uint64_t off, sector = get_le64(range);
	uint32_t nsectors = get_le32(range + 8), flags = get_le32(range + 12);
	if (flags & ~(uint32_t)(discard ? 0 : RANGE_UNMAP))
		return S_UNSUPP;
	if (!nsectors || nsectors > (discard ? DISCARD_SECTORS_MAX : WRITE_ZEROES_SECTORS_MAX) ||
	    !ck_mul(sector, (uint64_t)BLK_SECTOR_BYTES, &off))
		return S_IOERR;
	r->blk = (struct blk_req){
		.op = discard ? BLK_DISCARD : BLK_WRITE_ZEROES,
		.flags = discard ? 0 : write_flags(d) | (flags & RANGE_UNMAP ? BLK_REQ_UNMAP : 0),
		.off = off,
		.len = (uint64_t)nsectors * BLK_SECTOR_BYTES,
	};
	submit(d, r);
	return S_OK;
}

static uint8_t start_flush(struct virtio_blk *d, struct blk_request *r)
{
	r->blk = (struct blk_req){ .op = BLK_FLUSH };
	submit(d, r);
	return S_OK;
}

/* Takes the request apart. -> false: it was broken and so is the queue. */
static bool parse(struct virtio_blk *d, struct blk_request *r, const struct vq_chain *c)
{
	uint8_t header[HEADER_BYTES];
	if (c->out_bytes < HEADER_BYTES || !c->in_bytes) {
		virtio_broken(&d->v, r->queue, "a request without a header or a status byte");
		return false;
	}
	struct iovec *out = r->iov, *in = r->iov + c->nout;
	unsigned int nout = c->nout, nin = c->nin;
	iov_get(out, nout, 0, header, HEADER_BYTES);
	iov_skip(&out, &nout, HEADER_BYTES);
	/* The status is the last byte to write, however the rest is cut. */
	struct iovec *last = &in[nin - 1];
	r->status = (uint8_t *)last->iov_base + --last->iov_len;
	if (!last->iov_len)
		nin--;
	r->written = 1;

	uint32_t type = get_le32(header);
	uint64_t sector = get_le64(header + 8), in_bytes = c->in_bytes - 1;
	uint64_t out_bytes = c->out_bytes - HEADER_BYTES;
	uint8_t status;
	switch (type) {
	case T_IN:
		r->written = (uint32_t)in_bytes + 1;
		status = start_transfer(d, r, BLK_READ, sector, in, nin, in_bytes);
		break;
	case T_OUT: status = start_transfer(d, r, BLK_WRITE, sector, out, nout, out_bytes); break;
	case T_FLUSH: status = start_flush(d, r); break;
	case T_DISCARD:
	case T_WRITE_ZEROES: status = start_range(d, r, type, out, nout, out_bytes); break;
	case T_GET_ID:
		r->written +=
			(uint32_t)iov_put(in, nin, 0, d->serial, MIN(in_bytes, sizeof(d->serial)));
		answer(d, r, S_OK);
		return true;
	default: status = S_UNSUPP;
	}
	if (status != S_OK) {
		r->written = 1;
		answer(d, r, status);
	}
	return true;
}

bool blk_request_take(struct virtio_device *v, unsigned int q)
{
	struct virtio_blk *d = blk_of(v);
	struct blk_request *r = request_get(d);
	struct vq_chain c = { .iov = r->iov, .iov_max = VQ_IOV_MAX };
	bool taken = virtio_pop(v, q, &c);
	r->queue = (uint16_t)q;
	r->head = c.head;
	if (taken && parse(d, r, &c))
		return true;
	request_put(d, r);
	return false;
}

/* ---- to the guest ---- */

void blk_request_finish(struct virtio_blk *d, struct blk_request *r)
{
	if (virtio_discards(&d->v)) {
		request_put(d, r);
		return;
	}
	switch (r->blk.err) {
	case 0: answer(d, r, S_OK); break;
	case -ENOTSUP:
		r->written = 1;
		answer(d, r, S_UNSUPP);
		break;
	default: r->written = 1; answer(d, r, S_IOERR);
	}
}
