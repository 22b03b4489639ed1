/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk through its registers and rings, on a block node in memory. */
#include "devices/virtio/virtio_blk.h"

#include <errno.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "tests/unit/test.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/fake_blk.h"

enum { SLOT = 3, T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, S_NONE = 0xee };

struct rig {
	struct guest g;
	struct fake_blk *node;
	struct device *dev;
	struct driver d;
	struct virtio_blk_config cfg;
	int stops; /* told by stopped() */
	bool goes_on;
};

static void stopped(void *opaque, bool on)
{
	struct rig *r = opaque;
	r->stops += on;
	r->goes_on = !on;
}

static void rig_create_with(struct rig *r, enum virtio_blk_on_error on_error)
{
	memset(r, 0, sizeof(*r));
	guest_init(&r->g);
	r->node = fake_blk_create(r->g.loop);
	r->cfg = (struct virtio_blk_config){
		.pci_slot = SLOT,
		.node = &r->node->node,
		.serial = "a-disk",
		.num_queues = 2,
		.on_error = on_error,
		.stopped = stopped,
		.stopped_opaque = r,
	};
	CHECK_EQ(virtio_blk_device.create(&r->g.env, "disk0", &r->cfg, NULL, &r->dev), 0);
	virtio_blk_device.resume(r->dev);
}

static void rig_create(struct rig *r)
{
	rig_create_with(r, VIRTIO_BLK_STOP_WHEN_FULL);
}

static void setup(struct rig *r, uint64_t want)
{
	rig_create(r);
	driver_start(&r->d, &r->g, SLOT, want, 2);
}

static void teardown(struct rig *r)
{
	fake_blk_release(r->node);
	guest_run(&r->g);
	virtio_blk_device.destroy(r->dev);
	fake_blk_destroy(r->node);
	guest_fini(&r->g);
}

/* Header, data, status, in memory of their own. */
struct req {
	uint64_t header, data, status;
	struct buf bufs[3];
	unsigned int n;
};

static void make_req(struct rig *r, struct req *q, uint32_t type, uint64_t sector, uint32_t len)
{
	bool in = type == T_IN || type == T_GET_ID;
	q->header = guest_alloc(&r->g, 16, 16);
	q->data = guest_alloc(&r->g, len + 1, 512);
	q->status = guest_alloc(&r->g, 1, 1);
	memcpy(guest_ptr(&r->g, q->header), &type, 4);
	memcpy((uint8_t *)guest_ptr(&r->g, q->header) + 8, &sector, 8);
	*(uint8_t *)guest_ptr(&r->g, q->status) = S_NONE;
	q->n = 0;
	q->bufs[q->n++] = (struct buf){ q->header, 16, false };
	if (len)
		q->bufs[q->n++] = (struct buf){ q->data, len, in };
	q->bufs[q->n++] = (struct buf){ q->status, 1, true };
}

static uint8_t status_of(struct rig *r, const struct req *q)
{
	return *(uint8_t *)guest_ptr(&r->g, q->status);
}

static uint8_t do_req(struct rig *r, uint32_t type, uint64_t sector, uint32_t len)
{
	struct req q;
	uint32_t used;
	make_req(r, &q, type, sector, len);
	CHECK(driver_do(&r->d, 0, q.bufs, q.n, &used));
	return status_of(r, &q);
}

static uint8_t do_range(struct rig *r, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct req q;
	uint32_t used;
	make_req(r, &q, type, 0, 16);
	uint8_t *range = guest_ptr(&r->g, q.data);
	memcpy(range, &sector, 8);
	memcpy(range + 8, &n, 4);
	memcpy(range + 12, &flags, 4);
	CHECK(driver_do(&r->d, 0, q.bufs, q.n, &used));
	return status_of(r, &q);
}

TEST(written_data_is_read_back)
{
	struct rig r;
	struct req w, rd;
	uint32_t len;
	setup(&r, UINT64_MAX);
	make_req(&r, &w, T_OUT, 7, 1024);
	memset(guest_ptr(&r.g, w.data), 0xab, 1024);
	CHECK(driver_do(&r.d, 0, w.bufs, w.n, &len));
	CHECK_EQ(len, 1);
	CHECK_EQ(status_of(&r, &w), S_OK);
	CHECK_EQ(r.node->data[7 * 512 + 1023], 0xab);
	make_req(&r, &rd, T_IN, 7, 1024);
	CHECK(driver_do(&r.d, 1, rd.bufs, rd.n, &len));
	CHECK_EQ(len, 1025);
	CHECK(!memcmp(guest_ptr(&r.g, rd.data), guest_ptr(&r.g, w.data), 1024));
	CHECK_EQ(guest_irqs(&r.g, 1), 1);
	CHECK_EQ(guest_irqs(&r.g, 2), 1);
	teardown(&r);
}

TEST(request_may_be_cut_anywhere)
{
	struct rig r;
	struct req q;
	uint32_t len;
	setup(&r, UINT64_MAX);
	make_req(&r, &q, T_OUT, 1, 512);
	memset(guest_ptr(&r.g, q.data), 0x5a, 512);
	/* Header in two pieces, the second with the first data; status behind writable bytes that
	 * are none. */
	uint64_t mixed = guest_alloc(&r.g, 8 + 100, 1);
	memcpy(guest_ptr(&r.g, mixed), (uint8_t *)guest_ptr(&r.g, q.header) + 8, 8);
	memset((uint8_t *)guest_ptr(&r.g, mixed) + 8, 0x5a, 100);
	struct buf bufs[] = {
		{ q.header, 8, false },
		{ mixed, 108, false },
		{ q.data, 412, false },
		{ q.status, 1, true },
	};
	CHECK(driver_do(&r.d, 0, bufs, 4, &len));
	CHECK_EQ(status_of(&r, &q), S_OK);
	for (unsigned int i = 0; i < 512; i++)
		CHECK_EQ(r.node->data[512 + i], 0x5a);
	/* Data and status of a read in one buffer. */
	uint64_t both = guest_alloc(&r.g, 513, 1);
	make_req(&r, &q, T_IN, 1, 512);
	struct buf in[] = { { q.header, 16, false }, { both, 513, true } };
	CHECK(driver_do(&r.d, 0, in, 2, &len));
	CHECK_EQ(len, 513);
	CHECK_EQ(((uint8_t *)guest_ptr(&r.g, both))[511], 0x5a);
	CHECK_EQ(((uint8_t *)guest_ptr(&r.g, both))[512], S_OK);
	teardown(&r);
}

TEST(indirect_request_is_served)
{
	struct rig r;
	struct req q;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	make_req(&r, &q, T_IN, 0, 4096);
	driver_add_indirect(&r.d, 0, q.bufs, q.n);
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK_EQ(len, 4097);
	CHECK_EQ(status_of(&r, &q), S_OK);
	teardown(&r);
}

TEST(batch_is_answered_with_one_interrupt)
{
	struct rig r;
	struct req q[32];
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	do_req(&r, T_FLUSH, 0, 0); /* the first used element interrupts in any case */
	guest_irqs(&r.g, 1);
	driver_avail(&r.d, 0)[2 + r.d.q[0].size] = r.d.q[0].next_used; /* used_event */
	for (unsigned int i = 0; i < 32; i++) {
		make_req(&r, &q[i], T_IN, i, 512);
		driver_add(&r.d, 0, q[i].bufs, q[i].n);
	}
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	for (unsigned int i = 0; i < 32; i++)
		CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK_EQ(guest_irqs(&r.g, 1), 1);
	teardown(&r);
}

TEST(flush_and_id_and_unknown_types)
{
	struct rig r;
	struct req q;
	uint32_t len;
	setup(&r, UINT64_MAX);
	CHECK_EQ(do_req(&r, T_FLUSH, 0, 0), S_OK);
	CHECK_EQ(r.node->ops[BLK_FLUSH], 1);
	make_req(&r, &q, T_GET_ID, 0, 20);
	CHECK(driver_do(&r.d, 0, q.bufs, q.n, &len));
	CHECK_EQ(len, 21);
	CHECK_STR((char *)guest_ptr(&r.g, q.data), "a-disk");
	CHECK_EQ(do_req(&r, 99, 0, 512), S_UNSUPP);
	teardown(&r);
}

TEST(ranges_are_discarded_and_zeroed)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	memset(r.node->data, 0xff, FAKE_BLK_BYTES);
	CHECK_EQ(do_range(&r, T_DISCARD, 8, 8, 0), S_OK);
	CHECK_EQ(r.node->ops[BLK_DISCARD], 1);
	CHECK_EQ(do_range(&r, T_ZEROES, 16, 8, 1), S_OK);
	CHECK_EQ(r.node->last_flags, BLK_REQ_UNMAP);
	CHECK_EQ(r.node->data[16 * 512], 0);
	CHECK_EQ(r.node->data[24 * 512], 0xff);
	CHECK_EQ(do_range(&r, T_DISCARD, 8, 8, 1), S_UNSUPP);
	CHECK_EQ(do_range(&r, T_ZEROES, 8, 8, 2), S_UNSUPP);
	CHECK_EQ(do_range(&r, T_ZEROES, 8, 0, 0), S_IOERR);
	CHECK_EQ(do_range(&r, T_ZEROES, 8, UINT32_MAX, 0), S_IOERR);
	CHECK_EQ(do_range(&r, T_DISCARD, UINT64_MAX, 1, 0), S_IOERR);
	teardown(&r);
}

TEST(bad_places_and_lengths_are_io_errors)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	CHECK_EQ(do_req(&r, T_IN, FAKE_BLK_BYTES / 512, 512), S_IOERR);
	CHECK_EQ(do_req(&r, T_IN, UINT64_MAX, 512), S_IOERR);
	CHECK_EQ(do_req(&r, T_IN, UINT64_MAX / 512 + 1, 512), S_IOERR);
	CHECK_EQ(do_req(&r, T_OUT, 0, 511), S_IOERR);
	CHECK_EQ(do_req(&r, T_IN, 0, 0), S_IOERR);
	CHECK(!(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET));
	teardown(&r);
}

TEST(read_only_disk_refuses_writes)
{
	struct rig r;
	rig_create(&r);
	virtio_blk_device.destroy(r.dev);
	r.node->node.read_only = true;
	CHECK_EQ(virtio_blk_device.create(&r.g.env, "disk0", &r.cfg, NULL, &r.dev), 0);
	virtio_blk_device.resume(r.dev);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 2);
	CHECK(r.d.features >> 5 & 1);
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_IOERR);
	CHECK_EQ(do_range(&r, T_DISCARD, 0, 8, 0), S_UNSUPP);
	CHECK_EQ(do_req(&r, T_IN, 0, 512), S_OK);
	teardown(&r);
}

TEST(errors_of_the_disk_reach_the_guest)
{
	struct rig r;
	rig_create_with(&r, VIRTIO_BLK_REPORT);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 2);
	r.node->fail = -ENOSPC;
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_IOERR);
	r.node->fail = -ENOTSUP;
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_UNSUPP);
	r.node->fail = 0;
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_OK);
	teardown(&r);
}

TEST(only_a_full_host_stops_unless_told)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	r.node->fail = -EIO;
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_IOERR);
	CHECK_EQ(r.stops, 0);
	r.node->fail = 0;
	teardown(&r);
}

/* A write of two sectors of 0x77 that the disk fails with @err, and that is not answered. */
static void write_that_is_kept(struct rig *r, struct req *q, int err)
{
	uint32_t id, len;
	r->node->fail = err;
	make_req(r, q, T_OUT, 3, 1024);
	memset(guest_ptr(&r->g, q->data), 0x77, 1024);
	driver_add(&r->d, 0, q->bufs, q->n);
	driver_kick(&r->d, 0);
	guest_run(&r->g);
	CHECK(!driver_used(&r->d, 0, &id, &len));
	CHECK_EQ(status_of(r, q), S_NONE);
	CHECK_EQ(r->stops, 1);
	CHECK(!r->goes_on);
}

static void kept_write_is_done_later(enum virtio_blk_on_error on_error, int err)
{
	struct rig r;
	struct req q;
	uint32_t id, len;
	rig_create_with(&r, on_error);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 2);
	write_that_is_kept(&r, &q, err);
	CHECK_EQ(virtio_blk_device.quiesce(r.dev), -EBUSY);
	r.node->fail = 0;
	CHECK_EQ(loop_run_until(r.g.loop, &r.goes_on), 0);
	guest_run(&r.g);
	CHECK_EQ(r.g.quiet_calls, 1);
	CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK_EQ(status_of(&r, &q), S_OK);
	CHECK_EQ(r.node->data[3 * 512 + 1023], 0x77);
	virtio_blk_device.resume(r.dev);
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_OK);
	CHECK_EQ(r.stops, 1);
	teardown(&r);
}

TEST(full_host_keeps_a_request_until_there_is_room)
{
	kept_write_is_done_later(VIRTIO_BLK_STOP_WHEN_FULL, -ENOSPC);
}

TEST(stop_keeps_a_request_whatever_the_error)
{
	kept_write_is_done_later(VIRTIO_BLK_STOP, -EIO);
}

TEST(kept_requests_fail_when_given_up_and_a_reset_keeps_again)
{
	struct rig r;
	struct req q;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	write_that_is_kept(&r, &q, -ENOSPC);
	virtio_blk_give_up(r.dev);
	guest_run(&r.g);
	CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK_EQ(status_of(&r, &q), S_IOERR);
	CHECK(r.goes_on);
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_IOERR);
	driver_reset(&r.d);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 2);
	r.stops = 0;
	write_that_is_kept(&r, &q, -ENOSPC);
	virtio_blk_give_up(r.dev);
	guest_run(&r.g);
	r.node->fail = 0;
	teardown(&r);
}

TEST(writes_are_through_when_the_driver_knows_of_no_cache)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_OK);
	CHECK_EQ(r.node->last_flags, 0);
	mmio_write(&r.g, r.d.device + 32, 1, 0); /* writeback off */
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_OK);
	CHECK_EQ(r.node->last_flags, BLK_REQ_FUA);
	driver_reset(&r.d);
	driver_start(&r.d, &r.g, SLOT, ~(UINT64_C(1) << 9 | UINT64_C(1) << 11), 2);
	CHECK_EQ(do_req(&r, T_OUT, 0, 512), S_OK);
	CHECK_EQ(r.node->last_flags, BLK_REQ_FUA);
	teardown(&r);
}

TEST(request_without_header_or_status_needs_a_reset)
{
	for (int which = 0; which < 3; which++) {
		struct rig r;
		struct req q;
		setup(&r, UINT64_MAX);
		make_req(&r, &q, T_IN, 0, 512);
		struct buf short_header[] = { { q.header, 15, false }, { q.status, 1, true } };
		struct buf no_status[] = { { q.header, 16, false } };
		struct buf no_header[] = { { q.data, 512, true } };
		struct buf *const bufs[] = { short_header, no_status, no_header };
		uint32_t len;
		CHECK(!driver_do(&r.d, 0, bufs[which], which ? 1 : 2, &len));
		CHECK(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
		CHECK_EQ(guest_irqs(&r.g, 0), 1); /* the configuration interrupt */
		/* It can be saved all the same. */
		size_t len_bytes;
		CHECK_EQ(virtio_blk_device.quiesce(r.dev), 0);
		free(device_state(r.dev, &len_bytes));
		virtio_blk_device.resume(r.dev);
		/* Dead until the reset, then as new. */
		make_req(&r, &q, T_IN, 0, 512);
		CHECK(!driver_do(&r.d, 1, q.bufs, q.n, &len));
		driver_reset(&r.d);
		CHECK_EQ(driver_status(&r.d), 0);
		driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 2);
		CHECK_EQ(do_req(&r, T_IN, 0, 512), S_OK);
		teardown(&r);
	}
}

TEST(giant_request_is_an_io_error_and_nothing_is_read)
{
	struct rig r;
	struct req q;
	uint32_t len;
	struct buf bufs[64];
	setup(&r, UINT64_MAX);
	make_req(&r, &q, T_IN, 0, 512);
	bufs[0] = q.bufs[0];
	for (unsigned int i = 1; i < 63; i++)
		bufs[i] = (struct buf){ 0x10000, GUEST_RAM_BYTES - 0x10000, true };
	bufs[63] = q.bufs[2];
	driver_add_indirect(&r.d, 0, bufs, 64);
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	uint32_t id;
	CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK_EQ(status_of(&r, &q), S_IOERR);
	CHECK_EQ(r.node->ops[BLK_READ], 0);
	teardown(&r);
}

/* ---- reset, quiesce, state ---- */

TEST(reset_waits_for_requests_in_flight_and_drops_their_completions)
{
	struct rig r;
	struct req q;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	r.node->hold = true;
	make_req(&r, &q, T_IN, 0, 512);
	driver_add(&r.d, 0, q.bufs, q.n);
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	driver_reset(&r.d);
	CHECK(driver_status(&r.d) != 0);
	/* Nothing can be set up meanwhile, nor kicked. */
	driver_set_status(&r.d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	CHECK(driver_status(&r.d) != 0);
	fake_blk_release(r.node);
	guest_run(&r.g);
	CHECK_EQ(driver_status(&r.d), 0);
	CHECK(!driver_used(&r.d, 0, &id, &len));
	CHECK_EQ(status_of(&r, &q), S_NONE);
	CHECK_EQ(guest_irqs(&r.g, 1), 0);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 2);
	CHECK_EQ(do_req(&r, T_IN, 0, 512), S_OK);
	teardown(&r);
}

TEST(quiesce_drains_and_resume_serves_what_came_in_meanwhile)
{
	struct rig r;
	struct req q[2];
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	CHECK_EQ(virtio_blk_device.quiesce(r.dev), 0);
	virtio_blk_device.resume(r.dev);
	r.node->hold = true;
	make_req(&r, &q[0], T_IN, 0, 512);
	driver_add(&r.d, 0, q[0].bufs, q[0].n);
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	CHECK_EQ(virtio_blk_device.quiesce(r.dev), -EBUSY);
	make_req(&r, &q[1], T_IN, 0, 512);
	driver_add(&r.d, 0, q[1].bufs, q[1].n);
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	CHECK_EQ(r.g.quiet_calls, 0);
	fake_blk_release(r.node);
	guest_run(&r.g);
	CHECK_EQ(r.g.quiet_calls, 1);
	CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK(!driver_used(&r.d, 0, &id, &len));
	virtio_blk_device.resume(r.dev);
	guest_run(&r.g);
	CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK_EQ(status_of(&r, &q[1]), S_OK);
	teardown(&r);
}

TEST(saved_device_goes_on_where_it_was)
{
	struct rig r;
	struct req q;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	for (unsigned int i = 0; i < 300; i++) /* beyond a wrap of the ring */
		CHECK_EQ(do_req(&r, T_IN, 0, 512), S_OK);
	mmio_write(&r.g, r.d.device + 32, 1, 0);
	CHECK_EQ(virtio_blk_device.quiesce(r.dev), 0);
	make_req(&r, &q, T_OUT, 0, 512); /* waits in the ring over the save */
	driver_add(&r.d, 0, q.bufs, q.n);
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	guest_irqs(&r.g, 1);

	size_t len_bytes;
	struct state_node root;
	void *state = device_state(r.dev, &len_bytes);
	virtio_blk_device.destroy(r.dev);
	CHECK_EQ(state_open(state, len_bytes, &root), 0);
	CHECK_EQ(virtio_blk_device.create(&r.g.env, "disk0", &r.cfg, &root, &r.dev), 0);
	size_t again_bytes;
	void *again = device_state(r.dev, &again_bytes);
	CHECK_EQ(again_bytes, len_bytes);
	CHECK(!memcmp(state, again, len_bytes));
	free(state);
	free(again);

	virtio_blk_device.resume(r.dev);
	guest_run(&r.g);
	CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK_EQ(status_of(&r, &q), S_OK);
	CHECK_EQ(r.node->last_flags, BLK_REQ_FUA);
	CHECK_EQ(guest_irqs(&r.g, 1), 1);
	CHECK_EQ(do_req(&r, T_IN, 0, 512), S_OK);
	teardown(&r);
}

TEST(reset_after_restore_is_like_new)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	CHECK_EQ(do_req(&r, T_IN, 0, 512), S_OK);
	CHECK_EQ(virtio_blk_device.quiesce(r.dev), 0);
	size_t len_bytes;
	struct state_node root;
	void *state = device_state(r.dev, &len_bytes);
	virtio_blk_device.destroy(r.dev);
	CHECK_EQ(state_open(state, len_bytes, &root), 0);
	CHECK_EQ(virtio_blk_device.create(&r.g.env, "disk0", &r.cfg, &root, &r.dev), 0);
	free(state);
	virtio_blk_device.reset(r.dev);
	size_t reset_bytes, new_bytes;
	void *reset = device_state(r.dev, &reset_bytes);
	virtio_blk_device.destroy(r.dev);
	CHECK_EQ(virtio_blk_device.create(&r.g.env, "disk0", &r.cfg, NULL, &r.dev), 0);
	void *fresh = device_state(r.dev, &new_bytes);
	CHECK_EQ(reset_bytes, new_bytes);
	CHECK(!memcmp(reset, fresh, new_bytes));
	free(reset);
	free(fresh);
	virtio_blk_device.resume(r.dev);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 2);
	CHECK_EQ(do_req(&r, T_IN, 0, 512), S_OK);
	teardown(&r);
}

TEST(state_of_another_disk_is_refused)
{
	struct rig r;
	struct device *dev;
	setup(&r, UINT64_MAX);
	CHECK_EQ(virtio_blk_device.quiesce(r.dev), 0);
	size_t len_bytes;
	struct state_node root;
	uint8_t *state = device_state(r.dev, &len_bytes);
	virtio_blk_device.destroy(r.dev);
	/* The capacity is the only big-endian 2048 there is (FAKE_BLK_BYTES / 512). */
	for (size_t i = 0; i + 8 <= len_bytes; i += 4)
		if (!memcmp(state + i, "\0\0\0\0\0\0\x08\0", 8))
			state[i + 6] = 0x09;
	CHECK_EQ(state_open(state, len_bytes, &root), 0);
	CHECK_EQ(virtio_blk_device.create(&r.g.env, "disk0", &r.cfg, &root, &dev), -EINVAL);
	free(state);
	CHECK_EQ(virtio_blk_device.create(&r.g.env, "disk0", &r.cfg, NULL, &r.dev), 0);
	teardown(&r);
}

/* A guest at depth 1 that has its next request ready when a batch is over is served without a kick.
 */
TEST(queue_is_looked_at_once_more_when_a_batch_is_over)
{
	struct rig r;
	struct req q[2];
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	r.node->hold = true;
	make_req(&r, &q[0], T_IN, 0, 512);
	uint16_t old = r.d.q[0].next_avail;
	driver_add(&r.d, 0, q[0].bufs, q[0].n);
	CHECK(driver_should_kick(&r.d, 0, old));
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	make_req(&r, &q[1], T_IN, 0, 512);
	old = r.d.q[0].next_avail;
	driver_add(&r.d, 0, q[1].bufs, q[1].n);
	CHECK(driver_should_kick(&r.d, 0, old)); /* asked for while the first is in flight */
	fake_blk_release(r.node);
	guest_run(&r.g);
	CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK(driver_used(&r.d, 0, &id, &len));
	CHECK_EQ(status_of(&r, &q[1]), S_OK);
	teardown(&r);
}

TEST_MAIN(T(written_data_is_read_back), T(request_may_be_cut_anywhere),
	  T(indirect_request_is_served), T(batch_is_answered_with_one_interrupt),
	  T(flush_and_id_and_unknown_types), T(ranges_are_discarded_and_zeroed),
	  T(bad_places_and_lengths_are_io_errors), T(read_only_disk_refuses_writes),
	  T(errors_of_the_disk_reach_the_guest), T(only_a_full_host_stops_unless_told),
	  T(full_host_keeps_a_request_until_there_is_room),
	  T(stop_keeps_a_request_whatever_the_error),
	  T(kept_requests_fail_when_given_up_and_a_reset_keeps_again),
	  T(writes_are_through_when_the_driver_knows_of_no_cache),
	  T(request_without_header_or_status_needs_a_reset),
	  T(giant_request_is_an_io_error_and_nothing_is_read),
	  T(reset_waits_for_requests_in_flight_and_drops_their_completions),
	  T(quiesce_drains_and_resume_serves_what_came_in_meanwhile),
	  T(saved_device_goes_on_where_it_was), T(reset_after_restore_is_like_new),
	  T(state_of_another_disk_is_refused), T(queue_is_looked_at_once_more_when_a_batch_is_over))
