/* SPDX-License-Identifier: Apache-2.0 */
/* A CD-ROM drive: its answers, and how they get through virtio-scsi's registers and rings. */
#include "devices/virtio/virtio_scsi.h"

#include <errno.h>

#include <linux/virtio_config.h>

#include "devices/virtio/scsi_cd.h"
#include "tests/unit/test.h"
#include "tests/unit/virtio/driver.h"
#include "tests/unit/virtio/fake_blk.h"
#include "vmm/base/endian.h"

enum { SLOT = 4, QUEUES = 3, CONTROL = 0, REQUESTS = 2, REQ_BYTES = 51, RESP_BYTES = 108 };
enum { S_OK = 0, S_OVERRUN = 1, S_BAD_TARGET = 3, S_FAILURE = 9, S_REJECTED = 11, S_LUN = 12 };
#define SECTORS (FAKE_BLK_BYTES / 2048)

struct rig {
	struct guest g;
	struct fake_blk *node;
	struct device *dev;
	struct driver d;
	struct virtio_scsi_config cfg;
	/* The last request. */
	uint64_t req, resp, data;
};

static void setup(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	guest_init(&r->g);
	r->node = fake_blk_create(r->g.loop);
	for (unsigned int i = 0; i < FAKE_BLK_BYTES; i++)
		r->node->data[i] = (uint8_t)(i / 2048 + i);
	r->cfg = (struct virtio_scsi_config){ .pci_slot = SLOT, .medium = &r->node->node };
	CHECK_EQ(virtio_scsi_device.create(&r->g.env, "cdrom0", &r->cfg, NULL, &r->dev), 0);
	virtio_scsi_device.resume(r->dev);
	driver_start(&r->d, &r->g, SLOT, UINT64_MAX, QUEUES);
}

static void teardown(struct rig *r)
{
	fake_blk_release(r->node);
	guest_run(&r->g);
	virtio_scsi_device.destroy(r->dev);
	fake_blk_destroy(r->node);
	guest_fini(&r->g);
}

/* Puts a command together; @room for data, in a buffer of its own or in one with the response. */
static unsigned int make(struct rig *r, const uint8_t *cdb, size_t cdb_bytes, uint32_t room,
			 bool together, struct buf bufs[3])
{
	r->req = guest_alloc(&r->g, REQ_BYTES, 8);
	r->resp = guest_alloc(&r->g, RESP_BYTES + room, 8);
	r->data = together ? r->resp + RESP_BYTES : guest_alloc(&r->g, room + 1, 8);
	uint8_t *req = guest_ptr(&r->g, r->req);
	req[0] = 1;
	req[2] = 0x40;
	memcpy(req + 19, cdb, cdb_bytes);
	memset(guest_ptr(&r->g, r->resp), 0xee, RESP_BYTES + room);
	bufs[0] = (struct buf){ r->req, REQ_BYTES, false };
	bufs[1] = (struct buf){ r->resp, RESP_BYTES + (together ? room : 0), true };
	bufs[2] = (struct buf){ r->data, room, true };
	return room && !together ? 3 : 2;
}

static const uint8_t *response(struct rig *r)
{
	return guest_ptr(&r->g, r->resp);
}

/* -> the response byte. */
static uint8_t command(struct rig *r, const uint8_t *cdb, size_t cdb_bytes, uint32_t room)
{
	struct buf bufs[3];
	uint32_t len;
	unsigned int n = make(r, cdb, cdb_bytes, room, false, bufs);
	CHECK(driver_do(&r->d, REQUESTS, bufs, n, &len));
	CHECK_EQ(len, RESP_BYTES + room - get_le32(response(r) + 4));
	return response(r)[11];
}

static const uint8_t read_2_at_5[] = { 0x28, 0, 0, 0, 0, 5, 0, 0, 2, 0 };

TEST(sectors_are_read_into_the_drivers_buffers)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(command(&r, read_2_at_5, sizeof(read_2_at_5), 4096), S_OK);
	CHECK_EQ(response(&r)[10], 0);
	CHECK_EQ(get_le32(response(&r) + 4), 0);
	CHECK(!memcmp(guest_ptr(&r.g, r.data), r.node->data + 5 * 2048, 4096));
	teardown(&r);
}

TEST(response_and_data_may_share_a_buffer)
{
	struct rig r;
	struct buf bufs[3];
	uint32_t len;
	setup(&r);
	unsigned int n = make(&r, read_2_at_5, sizeof(read_2_at_5), 5000, true, bufs);
	CHECK(driver_do(&r.d, REQUESTS, bufs, n, &len));
	CHECK_EQ(len, RESP_BYTES + 4096);
	CHECK_EQ(response(&r)[11], S_OK);
	CHECK_EQ(get_le32(response(&r) + 4), 5000 - 4096);
	CHECK(!memcmp(guest_ptr(&r.g, r.data), r.node->data + 5 * 2048, 4096));
	CHECK_EQ(((uint8_t *)guest_ptr(&r.g, r.data))[4096], 0xee);
	teardown(&r);
}

TEST(too_little_room_is_an_overrun_and_reads_nothing)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(command(&r, read_2_at_5, sizeof(read_2_at_5), 4095), S_OVERRUN);
	CHECK_EQ(r.node->ops[BLK_READ], 0);
	teardown(&r);
}

TEST(medium_that_cannot_be_read_is_a_failure)
{
	struct rig r;
	setup(&r);
	r.node->fail = -EIO;
	CHECK_EQ(command(&r, read_2_at_5, sizeof(read_2_at_5), 4096), S_FAILURE);
	teardown(&r);
}

TEST(beyond_the_end_is_an_illegal_request)
{
	struct rig r;
	uint8_t cdb[] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0 };
	setup(&r);
	put_be32(cdb + 2, SECTORS - 1);
	CHECK_EQ(command(&r, cdb, sizeof(cdb), 4096), S_OK);
	CHECK_EQ(response(&r)[10], SCSI_CHECK_CONDITION);
	CHECK_EQ(get_le32(response(&r)), SCSI_CD_SENSE_BYTES);
	CHECK_EQ(response(&r)[12 + 2], 5);
	CHECK_EQ(response(&r)[12 + 12], 0x21);
	put_be32(cdb + 2, UINT32_MAX);
	command(&r, cdb, sizeof(cdb), 4096);
	CHECK_EQ(response(&r)[12 + 12], 0x21);
	CHECK_EQ(r.node->ops[BLK_READ], 0);
	teardown(&r);
}

TEST(only_target_0_and_unit_0_are_there)
{
	struct rig r;
	struct buf bufs[3];
	uint32_t len;
	static const uint8_t ready[] = { 0 };
	setup(&r);
	CHECK_EQ(command(&r, ready, 1, 0), S_OK);
	unsigned int n = make(&r, ready, 1, 0, false, bufs);
	((uint8_t *)guest_ptr(&r.g, r.req))[1] = 7;
	CHECK(driver_do(&r.d, REQUESTS, bufs, n, &len));
	CHECK_EQ(response(&r)[11], S_BAD_TARGET);
	n = make(&r, ready, 1, 0, false, bufs);
	((uint8_t *)guest_ptr(&r.g, r.req))[3] = 1;
	CHECK(driver_do(&r.d, REQUESTS, bufs, n, &len));
	CHECK_EQ(response(&r)[11], S_LUN);
	teardown(&r);
}

TEST(request_that_is_too_short_needs_a_reset)
{
	struct rig r;
	struct buf bufs[3];
	uint32_t len;
	setup(&r);
	make(&r, read_2_at_5, sizeof(read_2_at_5), 0, false, bufs);
	bufs[1].len--;
	CHECK(!driver_do(&r.d, REQUESTS, bufs, 2, &len));
	CHECK(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	teardown(&r);
}

TEST(task_management_is_rejected)
{
	struct rig r;
	uint32_t len;
	setup(&r);
	struct buf bufs[2] = { { guest_alloc(&r.g, 24, 8), 24, false },
			       { guest_alloc(&r.g, 1, 1), 1, true } };
	CHECK(driver_do(&r.d, CONTROL, bufs, 2, &len));
	CHECK_EQ(len, 1);
	CHECK_EQ(*(uint8_t *)guest_ptr(&r.g, bufs[1].gpa), S_REJECTED);
	teardown(&r);
}

TEST(reset_while_a_read_is_under_way_waits_for_it_and_drops_it)
{
	struct rig r;
	struct buf bufs[3];
	setup(&r);
	r.node->hold = true;
	driver_add(&r.d, REQUESTS, bufs,
		   make(&r, read_2_at_5, sizeof(read_2_at_5), 4096, false, bufs));
	driver_kick(&r.d, REQUESTS);
	guest_run(&r.g);
	driver_set_status(&r.d, 0);
	CHECK(driver_status(&r.d));
	fake_blk_release(r.node);
	guest_run(&r.g);
	CHECK_EQ(driver_status(&r.d), 0);
	CHECK_EQ(response(&r)[11], 0xee);
	teardown(&r);
}

TEST(saved_drive_goes_on_and_another_medium_is_refused)
{
	struct rig r;
	size_t len;
	struct state_node root;
	setup(&r);
	CHECK_EQ(virtio_scsi_device.quiesce(r.dev), 0);
	void *state = device_state(r.dev, &len);
	virtio_scsi_device.destroy(r.dev);
	CHECK_EQ(state_open(state, len, &root), 0);
	r.node->node.size /= 2;
	CHECK_EQ(virtio_scsi_device.create(&r.g.env, "cdrom0", &r.cfg, &root, &r.dev), -EINVAL);
	r.node->node.size *= 2;
	CHECK_EQ(virtio_scsi_device.create(&r.g.env, "cdrom0", &r.cfg, &root, &r.dev), 0);
	free(state);
	virtio_scsi_device.resume(r.dev);
	CHECK_EQ(command(&r, read_2_at_5, sizeof(read_2_at_5), 4096), S_OK);
	CHECK(!memcmp(guest_ptr(&r.g, r.data), r.node->data + 5 * 2048, 4096));
	teardown(&r);
}

/* ---- the drive alone ---- */

static struct scsi_cd_answer ask(const uint8_t *cdb, size_t len, uint64_t sectors)
{
	uint8_t whole[SCSI_CD_CDB_BYTES] = { 0 };
	struct scsi_cd_answer a;
	memcpy(whole, cdb, len);
	scsi_cd_command(whole, sectors, &a);
	return a;
}
#define ASK(sectors, ...)                                                                          \
	ask((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), sectors)

TEST(inquiry_says_cd_rom_and_is_cut_to_what_was_allocated)
{
	struct scsi_cd_answer a = ASK(10, 0x12, 0, 0, 0, 36);
	CHECK_EQ(a.data_bytes, 36);
	CHECK_EQ(a.data[0], 5);
	CHECK(a.data[1] & 0x80);
	CHECK(!memcmp(a.data + 8, "CHARMVM CD-ROM ", 15));
	CHECK_EQ(ASK(10, 0x12, 0, 0, 0, 5).data_bytes, 5);
	CHECK_EQ(ASK(10, 0x12, 1, 0x83, 0, 36).status, SCSI_CHECK_CONDITION);
}

TEST(capacity_is_the_last_sector)
{
	struct scsi_cd_answer a = ASK(1000, 0x25);
	CHECK_EQ(get_be32(a.data), 999);
	CHECK_EQ(get_be32(a.data + 4), 2048);
	CHECK_EQ(get_be32(ASK(UINT64_C(1) << 40, 0x25).data), UINT32_MAX);
	CHECK_EQ(get_be32(ASK(0, 0x25).data), 0);
}

TEST(table_of_contents_is_one_track_of_data)
{
	struct scsi_cd_answer a = ASK(1000, 0x43, 0, 0, 0, 0, 0, 0, 0, 64);
	CHECK_EQ(a.data_bytes, 20);
	CHECK_EQ(get_be16(a.data), 18);
	CHECK_EQ(a.data[6], 1);
	CHECK_EQ(get_be32(a.data + 8), 0);
	CHECK_EQ(a.data[14], 0xaa);
	CHECK_EQ(get_be32(a.data + 16), 1000);
	a = ASK(75 * 60, 0x43, 2, 0, 0, 0, 0, 0, 0, 64);
	CHECK_EQ(a.data[17], 1);
	CHECK_EQ(a.data[18], 2); /* with the two seconds of lead-in */
	CHECK_EQ(a.data[19], 0);
	CHECK_EQ(ASK(1000, 0x43, 0, 1, 0, 0, 0, 0, 0, 64).data_bytes, 12);
	CHECK_EQ(ASK(1000, 0x43, 0, 5, 0, 0, 0, 0, 0, 64).status, SCSI_CHECK_CONDITION);
}

TEST(long_read_takes_its_length_from_four_bytes)
{
	struct scsi_cd_answer a = ASK(UINT32_MAX, 0xa8, 0, 0, 0, 0, 7, 0, 1, 0, 0);
	CHECK_EQ(a.read_off, 7 * 2048);
	CHECK_EQ(a.read_bytes, 65536 * 2048);
	a = ASK(UINT32_MAX, 0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
	CHECK_EQ(a.status, SCSI_CHECK_CONDITION);
	CHECK_EQ(a.read_bytes, 0);
}

TEST(writing_and_what_is_unknown_is_refused)
{
	static const uint8_t commands[] = { 0x04, 0x15, 0x1a, 0x2a, 0x5a, 0x8a, 0xaa, 0xff };
	for (size_t i = 0; i < sizeof(commands); i++) {
		struct scsi_cd_answer a = ask(&commands[i], 1, 10);
		CHECK_EQ(a.status, SCSI_CHECK_CONDITION);
		CHECK_EQ(a.sense[12], 0x20);
		CHECK_EQ(a.data_bytes + a.read_bytes, 0);
	}
}

TEST_MAIN(T(sectors_are_read_into_the_drivers_buffers), T(response_and_data_may_share_a_buffer),
	  T(too_little_room_is_an_overrun_and_reads_nothing),
	  T(medium_that_cannot_be_read_is_a_failure), T(beyond_the_end_is_an_illegal_request),
	  T(only_target_0_and_unit_0_are_there), T(request_that_is_too_short_needs_a_reset),
	  T(task_management_is_rejected),
	  T(reset_while_a_read_is_under_way_waits_for_it_and_drops_it),
	  T(saved_drive_goes_on_and_another_medium_is_refused),
	  T(inquiry_says_cd_rom_and_is_cut_to_what_was_allocated), T(capacity_is_the_last_sector),
	  T(table_of_contents_is_one_track_of_data), T(long_read_takes_its_length_from_four_bytes),
	  T(writing_and_what_is_unknown_is_refused))
