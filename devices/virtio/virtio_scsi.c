/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-scsi: commands of the guest to a CD-ROM drive. */
/*
 * How it works (virtio 1.2, 5.6)
 *
 *   scsi_kick -> take: pop, parse, scsi_cd_command() --+--> answer                     (all but a read)
 *                                                      +--> blk_submit ... on_done: onto `completed`
 *                       answer, one interrupt  <-- complete (posted task) <------------+
 *
 * A request is: a header with the address and the command to read; a response with status and sense to write, and
 * then the data. What a driver has room for and does not get is the residual. A read goes straight into guest memory.
 *
 * Of the other two queues, the events' buffers stay where they are, since nothing happens to this drive; task
 * management is refused, as no task takes long.
 *
 * Limits: REQUEST_BYTES_MAX of data at once, as many requests as the queue holds. A request without a whole header
 * or room for a response breaks the queue.
 */
#include "devices/virtio/virtio_scsi.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_ids.h>

#include "devices/block/block.h"
#include "devices/virtio/scsi_cd.h"
#include "devices/virtio/virtio.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/list.h"

static const char state_compatible[] = "charmvm,virtio-scsi-1";

enum {
	QUEUE_CONTROL,
	QUEUE_EVENT,
	QUEUE_REQUEST,
	QUEUES,
	QUEUE_SIZE = 64,
	REQUEST_BYTES_MAX = 16 << 20,

	/* Configuration (5.6.4). */
	CFG_NUM_QUEUES = 0,
	CFG_SEG_MAX = 4,
	CFG_MAX_SECTORS = 8,
	CFG_CMD_PER_LUN = 12,
	CFG_EVENT_INFO_SIZE = 16,
	CFG_SENSE_SIZE = 20,
	CFG_CDB_SIZE = 24,
	CFG_MAX_CHANNEL = 28,
	CFG_MAX_TARGET = 30,
	CFG_MAX_LUN = 32,
	CFG_BYTES = 36,
	EVENT_INFO_BYTES = 16,
	SENSE_BYTES = 96, /* what a driver may not change, as nobody does */
	CDB_BYTES = 32,

	/* A request, and what is answered (5.6.6.1). */
	REQ_LUN = 0,
	REQ_CDB = 19,
	REQ_BYTES = REQ_CDB + CDB_BYTES,
	RESP_SENSE_LEN = 0,
	RESP_RESIDUAL = 4,
	RESP_STATUS = 10,
	RESP_RESPONSE = 11,
	RESP_SENSE = 12,
	RESP_BYTES = RESP_SENSE + SENSE_BYTES,
	S_OK = 0,
	S_OVERRUN = 1,
	S_BAD_TARGET = 3,
	S_FAILURE = 9,
	S_INCORRECT_LUN = 12,
	S_FUNCTION_REJECTED = 11,

	/* The control queue (5.6.6.2). */
	CONTROL_TYPE_BYTES = 4,
	T_TASK_MANAGEMENT = 0,
};

struct scsi_request {
	struct blk_req blk;
	struct virtio_scsi *d;
	struct list link; /* free or completed */
	struct vq_chain chain;
	uint8_t response[RESP_BYTES];
	uint64_t room; /* bytes for data that the driver has */
	struct iovec iov[QUEUE_SIZE + GUESTMEM_REGIONS_MAX];
	struct iovec data[QUEUE_SIZE + GUESTMEM_REGIONS_MAX]; /* of a read */
};

struct virtio_scsi {
	struct virtio_device v;
	struct blk_node *medium;
	struct list free;
	struct list completed; /* home loop only, so that on_done takes no lock */
	struct loop_task complete;
	struct scsi_request pool[QUEUE_SIZE + 1];
};

static struct virtio_scsi *scsi_of(struct virtio_device *v)
{
	return (struct virtio_scsi *)v;
}

static uint64_t sectors_of(const struct virtio_scsi *d)
{
	return blk_size(d->medium) / SCSI_CD_SECTOR_BYTES;
}

/* ---- answers ---- */

/* The response is complete but for the residual; @len bytes of data are there. */
static void finish(struct scsi_request *r, uint64_t len)
{
	struct virtio_scsi *d = r->d;
	put_le32(r->response + RESP_RESIDUAL, (uint32_t)(r->room - len));
	iov_put(r->iov + r->chain.nout, r->chain.nin, 0, r->response, RESP_BYTES);
	vq_push(virtio_vq(&d->v, QUEUE_REQUEST), r->chain.head, (uint32_t)(RESP_BYTES + len));
	list_add_head(&d->free, &r->link);
}

static void fail(struct scsi_request *r, uint8_t response)
{
	r->response[RESP_RESPONSE] = response;
	finish(r, 0);
}

static void on_done(struct blk_req *blk, int err)
{
	struct scsi_request *r = container_of(blk, struct scsi_request, blk);
	struct virtio_scsi *d = r->d;
	blk->err = err;
	if (list_empty(&d->completed))
		loop_task_post(d->v.dev.env->loop, &d->complete);
	list_add_tail(&d->completed, &r->link);
}

static bool take(struct virtio_device *v, unsigned int q);

static void complete(void *opaque)
{
	struct virtio_scsi *d = opaque;
	struct virtio_device *v = &d->v;
	unsigned int n = 0;
	while (!list_empty(&d->completed)) {
		struct scsi_request *r = list_first(&d->completed, struct scsi_request, link);
		list_del(&r->link);
		n++;
		if (virtio_discards(v))
			list_add_head(&d->free, &r->link);
		else if (r->blk.err)
			fail(r, S_FAILURE);
		else
			finish(r, r->blk.len);
	}
	if (!n)
		return;
	if (!virtio_discards(v))
		virtio_publish(v, QUEUE_REQUEST);
	virtio_end(v, n);
	if (virtio_live(v))
		virtio_serve(v, QUEUE_REQUEST, take);
}

/* ---- commands ---- */

/* data[]: the ranges behind the response, cut to @len bytes, which there are. -> how many. */
static unsigned int cut_data(struct scsi_request *r, uint64_t len)
{
	struct iovec *iov = r->data;
	unsigned int niov = r->chain.nin, n = 0;
	memcpy(r->data, r->iov + r->chain.nout, niov * sizeof(r->data[0]));
	iov_skip(&iov, &niov, RESP_BYTES);
	memmove(r->data, iov, niov * sizeof(r->data[0]));
	for (; n < niov && len; n++) {
		r->data[n].iov_len = (size_t)MIN((uint64_t)r->data[n].iov_len, len);
		len -= r->data[n].iov_len;
	}
	return n;
}

static void start_read(struct scsi_request *r, const struct scsi_cd_answer *a)
{
	struct virtio_scsi *d = r->d;
	r->blk = (struct blk_req){
		.op = BLK_READ,
		.off = a->read_off,
		.len = a->read_bytes,
		.iov = r->data,
		.niov = cut_data(r, a->read_bytes),
		.done = on_done,
	};
	virtio_begin(&d->v, 1);
	blk_submit(d->medium, &r->blk);
}

static void run(struct scsi_request *r, const uint8_t *cdb)
{
	struct scsi_cd_answer a;
	scsi_cd_command(cdb, sectors_of(r->d), &a);
	r->response[RESP_STATUS] = a.status;
	if (a.status != SCSI_GOOD) {
		put_le32(r->response + RESP_SENSE_LEN, sizeof(a.sense));
		memcpy(r->response + RESP_SENSE, a.sense, sizeof(a.sense));
	}
	if (a.data_bytes > r->room || a.read_bytes > MIN(r->room, (uint64_t)REQUEST_BYTES_MAX)) {
		fail(r, S_OVERRUN);
		return;
	}
	if (a.read_bytes) {
		start_read(r, &a);
		return;
	}
	iov_put(r->iov + r->chain.nout, r->chain.nin, RESP_BYTES, a.data, a.data_bytes);
	finish(r, a.data_bytes);
}

/* Target 0, unit 0 (5.6.6.1: byte 0 is 1, byte 1 the target, then a single-level unit number). */
static void address(struct scsi_request *r, const uint8_t *req)
{
	const uint8_t *lun = req + REQ_LUN;
	if (lun[0] != 1 || lun[1])
		fail(r, S_BAD_TARGET);
	else if ((lun[2] & 0x3f) || lun[3])
		fail(r, S_INCORRECT_LUN);
	else
		run(r, req + REQ_CDB);
}

static bool take(struct virtio_device *v, unsigned int q)
{
	struct virtio_scsi *d = scsi_of(v);
	uint8_t req[REQ_BYTES];
	assert(!list_empty(&d->free)); /* one more than vq_pop() lets be in flight */
	struct scsi_request *r = list_first(&d->free, struct scsi_request, link);
	r->chain = (struct vq_chain){ .iov = r->iov, .iov_max = ARRAY_SIZE(r->iov) };
	if (!virtio_pop(v, q, &r->chain))
		return false;
	if (r->chain.out_bytes < REQ_BYTES || r->chain.in_bytes < RESP_BYTES) {
		virtio_broken(v, q, "a request without a command or room for a response");
		return false;
	}
	list_del(&r->link);
	memset(r->response, 0, sizeof(r->response));
	r->room = r->chain.in_bytes - RESP_BYTES;
	iov_get(r->iov, r->chain.nout, 0, req, sizeof(req));
	address(r, req);
	return true;
}

/* ---- the control queue ---- */

static bool refuse_task(struct virtio_device *v, unsigned int q)
{
	struct iovec iov[QUEUE_SIZE + GUESTMEM_REGIONS_MAX];
	struct vq_chain c = { .iov = iov, .iov_max = ARRAY_SIZE(iov) };
	uint8_t type[CONTROL_TYPE_BYTES],
		answer[5] = { 0 }; /* of events: none, then the response */
	if (!virtio_pop(v, q, &c))
		return false;
	if (iov_get(iov, c.nout, 0, type, sizeof(type)) != sizeof(type) || !c.in_bytes) {
		virtio_broken(v, q, "a control request without a type or room for a response");
		return false;
	}
	size_t len = 5, from = 0;
	if (get_le32(type) == T_TASK_MANAGEMENT)
		from = 4;
	answer[4] = S_FUNCTION_REJECTED;
	len = iov_put(iov + c.nout, c.nin, 0, answer + from, len - from);
	vq_push(virtio_vq(v, q), c.head, (uint32_t)len);
	return true;
}

static void scsi_kick(struct virtio_device *v, unsigned int q)
{
	if (q == QUEUE_CONTROL)
		virtio_serve(v, q, refuse_task);
	else if (q == QUEUE_REQUEST)
		virtio_serve(v, q, take);
}

static const struct virtio_ops scsi_virtio_ops = {
	.kick = scsi_kick,
};

/* ---- life cycle ---- */

static void scsi_destroy(struct device *dev)
{
	struct virtio_scsi *d = scsi_of(virtio_of(dev));
	assert(!d->v.in_flight);
	virtio_fini(&d->v);
	free(d);
}

static void scsi_save(struct device *dev, struct state_writer *w)
{
	struct virtio_device *v = virtio_of(dev);
	state_put_u64(w, "sectors", sectors_of(scsi_of(v)));
	virtio_save(v, w);
}

static int scsi_restore(struct virtio_scsi *d, struct state_node n)
{
	uint64_t sectors;
	int err = state_check(n, state_compatible);
	if (err)
		return err;
	if (!state_get_u64(n, "sectors", &sectors) && sectors == sectors_of(d))
		return 0;
	log_error("%s: this is not the CD that was in the drive when the machine was saved; give "
		  "it with --cdrom",
		  d->v.dev.name);
	return -EINVAL;
}

static void fill_config(struct virtio_scsi *d)
{
	uint8_t *c = d->v.config;
	put_le32(c + CFG_NUM_QUEUES, 1);
	put_le32(c + CFG_SEG_MAX, QUEUE_SIZE - 2);
	put_le32(c + CFG_MAX_SECTORS, REQUEST_BYTES_MAX / BLK_SECTOR_BYTES);
	put_le32(c + CFG_CMD_PER_LUN, QUEUE_SIZE);
	put_le32(c + CFG_EVENT_INFO_SIZE, EVENT_INFO_BYTES);
	put_le32(c + CFG_SENSE_SIZE, SENSE_BYTES);
	put_le32(c + CFG_CDB_SIZE, CDB_BYTES);
	put_le16(c + CFG_MAX_CHANNEL, 0);
	put_le16(c + CFG_MAX_TARGET, 0);
	put_le32(c + CFG_MAX_LUN, 0);
}

static void fill_in(struct virtio_scsi *d, const struct virtio_scsi_config *config)
{
	d->medium = config->medium;
	list_init(&d->free);
	list_init(&d->completed);
	d->complete = (struct loop_task){ .lock = &d->v.dev.lock, .fn = complete, .opaque = d };
	for (size_t i = 0; i < ARRAY_SIZE(d->pool); i++) {
		d->pool[i].d = d;
		list_add_tail(&d->free, &d->pool[i].link);
	}
}

static int scsi_create(const struct device_env *env, const char *name, const void *cfg,
		       const struct state_node *from, struct device **out)
{
	const struct virtio_scsi_config *config = cfg;
	struct virtio_scsi *d = calloc(1, sizeof(*d));
	if (!d) {
		log_error("%s: out of memory", name);
		return -ENOMEM;
	}
	fill_in(d, config);
	const struct virtio_params params = {
		.dev_ops = &virtio_scsi_device,
		.ops = &scsi_virtio_ops,
		.device_id = VIRTIO_ID_SCSI,
		.pci_class = 0x010000,
		.pci_slot = config->pci_slot,
		.nqueues = QUEUES,
		.queue_size = QUEUE_SIZE,
		.config_len = CFG_BYTES,
	};
	int err = virtio_init(&d->v, &params, env, name);
	fill_config(d);
	if (!err && from)
		err = scsi_restore(d, *from);
	if (!err)
		err = virtio_ready(&d->v, from);
	if (err) {
		scsi_destroy(&d->v.dev);
		return err;
	}
	*out = &d->v.dev;
	return 0;
}

const struct device_ops virtio_scsi_device = {
	.compatible = state_compatible,
	.create = scsi_create,
	.reset = virtio_device_reset,
	.quiesce = virtio_device_quiesce,
	.save = scsi_save,
	.resume = virtio_device_resume,
	.destroy = scsi_destroy,
};
