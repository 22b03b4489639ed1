/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net through its registers and rings, on a backend that keeps what it is sent. */
#include "devices/virtio/virtio_net.h"

#include <errno.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "devices/net/net.h"
#include "devices/virtio/virtqueue.h"
#include "tests/unit/test.h"
#include "tests/unit/virtio/driver.h"

enum { SLOT = 1, RX = 0, TX = 1, CTRL = 2, HDR = 12, F_MRG_RXBUF = 15, F_GUEST_CSUM = 1 };

struct rig {
	struct guest g;
	struct device *dev;
	struct driver d;
	struct virtio_net_config cfg;
	/* The backend. */
	struct net_backend backend;
	unsigned int sends, wakes, resets;
	uint8_t sent[NET_FRAME_MAX];
	size_t sent_bytes;
	bool had_offload;
	struct net_offload offload;
	bool answer; /* every frame sent is answered from within send() */
};

static void backend_send(struct net_backend *b, const struct iovec *iov, unsigned int niov,
			 size_t len_bytes, const struct net_offload *off)
{
	struct rig *r = (struct rig *)((char *)b - offsetof(struct rig, backend));
	r->sends++;
	r->sent_bytes = len_bytes;
	iov_get(iov, niov, 0, r->sent, sizeof(r->sent));
	r->had_offload = off;
	if (off)
		r->offload = *off;
	struct iovec reply = { r->sent, 60 };
	if (r->answer)
		b->sink->deliver(b->sink, &reply, 1, 60);
}

static void backend_wake(struct net_backend *b)
{
	((struct rig *)((char *)b - offsetof(struct rig, backend)))->wakes++;
}

static void backend_reset(struct net_backend *b)
{
	((struct rig *)((char *)b - offsetof(struct rig, backend)))->resets++;
}

static const struct net_backend_ops backend_ops = {
	.name = "kept",
	.send = backend_send,
	.wake = backend_wake,
	.reset = backend_reset,
};

static void setup(struct rig *r, uint64_t want)
{
	memset(r, 0, sizeof(*r));
	guest_init(&r->g);
	r->backend = (struct net_backend){
		.ops = &backend_ops,
		.mtu_bytes = 65520,
		.guest_mac = { 0x52, 0x54, 0, 1, 2, 3 },
	};
	r->cfg = (struct virtio_net_config){ .pci_slot = SLOT, .backend = &r->backend };
	CHECK_EQ(virtio_net_device.create(&r->g.env, "net0", &r->cfg, NULL, &r->dev), 0);
	virtio_net_device.resume(r->dev);
	driver_start(&r->d, &r->g, SLOT, want, 3);
}

static void teardown(struct rig *r)
{
	virtio_net_device.destroy(r->dev);
	CHECK(!r->backend.sink);
	guest_fini(&r->g);
}

static bool deliver(struct rig *r, size_t len)
{
	static uint8_t frame[NET_FRAME_MAX];
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7);
	struct iovec iov[2] = { { frame, len / 3 }, { frame + len / 3, len - len / 3 } };
	pthread_mutex_lock(r->backend.lock);
	bool taken = r->backend.sink->deliver(r->backend.sink, iov, 2, len);
	pthread_mutex_unlock(r->backend.lock);
	guest_run(&r->g);
	return taken;
}

static uint64_t post_rx(struct rig *r, uint32_t len)
{
	struct buf b = { guest_alloc(&r->g, len, 16), len, true };
	driver_add(&r->d, RX, &b, 1);
	driver_kick(&r->d, RX);
	guest_run(&r->g);
	return b.gpa;
}

static uint8_t command(struct rig *r, const void *cmd, uint32_t cmd_len)
{
	uint32_t len;
	struct buf b[2] = { { guest_alloc(&r->g, cmd_len, 1), cmd_len, false },
			    { guest_alloc(&r->g, 1, 1), 1, true } };
	memcpy(guest_ptr(&r->g, b[0].gpa), cmd, cmd_len);
	CHECK(driver_do(&r->d, CTRL, b, 2, &len));
	CHECK_EQ(len, 1);
	return *(uint8_t *)guest_ptr(&r->g, b[1].gpa);
}

TEST(card_tells_mac_link_and_mtu_of_the_backend)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	CHECK_EQ(mmio_read(&r.g, r.d.device, 4), 0x01005452);
	CHECK_EQ(mmio_read(&r.g, r.d.device + 4, 2), 0x0302);
	CHECK_EQ(mmio_read(&r.g, r.d.device + 6, 2), 1);
	CHECK_EQ(mmio_read(&r.g, r.d.device + 10, 2), 65520);
	teardown(&r);
}

TEST(frame_is_sent_as_it_lies_in_memory)
{
	struct rig r;
	uint32_t len;
	setup(&r, UINT64_MAX);
	uint64_t gpa = guest_alloc(&r.g, HDR + 100, 2);
	for (unsigned int i = 0; i < 100; i++)
		((uint8_t *)guest_ptr(&r.g, gpa))[HDR + i] = (uint8_t)i;
	struct buf b[2] = { { gpa, HDR + 20, false }, { gpa + HDR + 20, 80, false } };
	CHECK(driver_do(&r.d, TX, b, 2, &len));
	CHECK_EQ(r.sends, 1);
	CHECK_EQ(r.sent_bytes, 100);
	CHECK(!memcmp(r.sent, (uint8_t *)guest_ptr(&r.g, gpa) + HDR, 100));
	CHECK(!r.had_offload);
	teardown(&r);
}

TEST(checksum_left_undone_goes_along)
{
	struct rig r;
	uint32_t len;
	setup(&r, UINT64_MAX);
	uint64_t gpa = guest_alloc(&r.g, HDR + 100, 2);
	uint8_t *hdr = guest_ptr(&r.g, gpa);
	hdr[0] = 1;
	hdr[6] = 34;
	hdr[8] = 16;
	struct buf b = { gpa, HDR + 100, false };
	CHECK(driver_do(&r.d, TX, &b, 1, &len));
	CHECK(r.had_offload);
	CHECK_EQ(r.offload.csum_start, 34);
	CHECK_EQ(r.offload.csum_offset, 16);
	teardown(&r);
}

TEST(frames_that_no_network_takes_are_lost_and_given_back)
{
	struct rig r;
	uint32_t len;
	setup(&r, UINT64_MAX);
	uint64_t gpa = guest_alloc(&r.g, HDR + NET_FRAME_MAX + 1, 2);
	struct buf tiny = { gpa, HDR + 13, false }, empty = { gpa, HDR, false };
	struct buf huge = { gpa, HDR + NET_FRAME_MAX + 1, false };
	struct buf largest = { gpa, HDR + NET_FRAME_MAX, false };
	CHECK(driver_do(&r.d, TX, &tiny, 1, &len));
	CHECK(driver_do(&r.d, TX, &empty, 1, &len));
	CHECK(driver_do(&r.d, TX, &huge, 1, &len));
	CHECK_EQ(r.sends, 0);
	CHECK(driver_do(&r.d, TX, &largest, 1, &len));
	CHECK_EQ(r.sends, 1);
	teardown(&r);
}

TEST(frame_without_a_header_needs_a_reset)
{
	struct rig r;
	uint32_t len;
	setup(&r, UINT64_MAX);
	struct buf b = { guest_alloc(&r.g, 16, 1), HDR - 1, false };
	CHECK(!driver_do(&r.d, TX, &b, 1, &len));
	CHECK(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	teardown(&r);
}

TEST(large_frame_is_spread_over_buffers)
{
	struct rig r;
	uint64_t gpa[50];
	uint32_t id, len, sum = 0, n = 0;
	setup(&r, UINT64_MAX);
	for (unsigned int i = 0; i < 50; i++)
		gpa[i] = post_rx(&r, 1500);
	CHECK(deliver(&r, 65000));
	const uint8_t *hdr = guest_ptr(&r.g, gpa[0]);
	unsigned int num = hdr[10] | hdr[11] << 8;
	CHECK_EQ(num, (65000 + HDR + 1499) / 1500);
	CHECK_EQ(hdr[0], 2); /* DATA_VALID */
	while (driver_used(&r.d, RX, &id, &len)) {
		const uint8_t *p = guest_ptr(&r.g, gpa[n]);
		for (uint32_t i = n ? 0 : HDR; i < len; i++)
			CHECK_EQ(p[i], (uint8_t)((sum + i - HDR) * 7));
		sum += len;
		n++;
	}
	CHECK_EQ(n, num);
	CHECK_EQ(sum, 65000 + HDR);
	CHECK_EQ(guest_irqs(&r.g, 1 + RX), 1);
	teardown(&r);
}

TEST(frames_of_a_turn_are_shown_with_one_interrupt)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	static uint8_t frame[60];
	struct iovec iov = { frame, 60 };
	for (unsigned int i = 0; i < 10; i++)
		post_rx(&r, 1500);
	for (unsigned int i = 0; i < 10; i++)
		CHECK(r.backend.sink->deliver(r.backend.sink, &iov, 1, 60));
	uint32_t id, len;
	CHECK(!driver_used(&r.d, RX, &id, &len));
	guest_run(&r.g);
	for (unsigned int i = 0; i < 10; i++)
		CHECK(driver_used(&r.d, RX, &id, &len));
	CHECK_EQ(guest_irqs(&r.g, 1 + RX), 1);
	teardown(&r);
}

TEST(backend_is_refused_without_buffers_and_woken_with_them)
{
	struct rig r;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	post_rx(&r, 100);
	unsigned int wakes = r.wakes;
	CHECK(!deliver(&r, 1000)); /* one buffer is not enough: it is kept for the next try */
	CHECK(!driver_used(&r.d, RX, &id, &len));
	uint16_t old = r.d.q[RX].next_avail;
	struct buf b = { guest_alloc(&r.g, 2000, 1), 2000, true };
	driver_add(&r.d, RX, &b, 1);
	CHECK(driver_should_kick(&r.d, RX, old));
	driver_kick(&r.d, RX);
	guest_run(&r.g);
	CHECK_EQ(r.wakes, wakes + 1);
	CHECK(deliver(&r, 1000));
	CHECK(driver_used(&r.d, RX, &id, &len));
	CHECK_EQ(len, 100);
	CHECK(driver_used(&r.d, RX, &id, &len));
	CHECK_EQ(len, 1000 + HDR - 100);
	teardown(&r);
}

TEST(without_mergeable_buffers_a_frame_that_does_not_fit_is_lost)
{
	struct rig r;
	uint32_t id, len;
	setup(&r, ~(UINT64_C(1) << F_MRG_RXBUF | UINT64_C(1) << F_GUEST_CSUM));
	uint64_t gpa = post_rx(&r, 200);
	post_rx(&r, 2000);
	CHECK(deliver(&r, 1000));
	CHECK(!driver_used(&r.d, RX, &id, &len));
	CHECK(deliver(&r, 100));
	CHECK(driver_used(&r.d, RX, &id, &len));
	CHECK_EQ(len, 100 + HDR);
	CHECK_EQ(((uint8_t *)guest_ptr(&r.g, gpa))[0], 0);
	CHECK_EQ(((uint8_t *)guest_ptr(&r.g, gpa))[10], 1);
	teardown(&r);
}

TEST(frames_before_the_driver_are_lost)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	driver_reset(&r.d);
	CHECK(deliver(&r, 60));
	teardown(&r);
}

TEST(readable_receive_buffer_needs_a_reset)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	struct buf b = { guest_alloc(&r.g, 100, 1), 100, false };
	driver_add(&r.d, RX, &b, 1);
	CHECK(deliver(&r, 60)); /* lost */
	CHECK(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	CHECK(deliver(&r, 60));
	teardown(&r);
}

TEST(receive_buffer_smaller_than_a_header_needs_a_reset)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	post_rx(&r, HDR - 1);
	CHECK(deliver(&r, 60));
	CHECK(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	teardown(&r);
}

TEST(answer_from_within_send_is_received)
{
	struct rig r;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	post_rx(&r, 1500);
	r.answer = true;
	struct buf b = { guest_alloc(&r.g, 100, 1), 100, false };
	CHECK(driver_do(&r.d, TX, &b, 1, &len));
	CHECK(driver_used(&r.d, RX, &id, &len));
	CHECK_EQ(len, 60 + HDR);
	CHECK_EQ(guest_irqs(&r.g, 1 + RX), 1);
	CHECK_EQ(guest_irqs(&r.g, 1 + TX), 1);
	teardown(&r);
}

TEST(transmitted_frames_of_a_kick_are_given_back_with_one_interrupt)
{
	struct rig r;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	struct buf b = { guest_alloc(&r.g, 100, 1), 100, false };
	for (unsigned int i = 0; i < 5; i++)
		driver_add(&r.d, TX, &b, 1);
	driver_kick(&r.d, TX);
	guest_run(&r.g);
	for (unsigned int i = 0; i < 5; i++)
		CHECK(driver_used(&r.d, TX, &id, &len));
	CHECK_EQ(guest_irqs(&r.g, 1 + TX), 1);
	/* And none is left over for a turn in which only something is received. */
	post_rx(&r, 1500);
	CHECK(deliver(&r, 60));
	CHECK_EQ(guest_irqs(&r.g, 1 + TX), 0);
	teardown(&r);
}

TEST(commands_are_answered)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	CHECK_EQ(command(&r, "\0\0\1", 3), 0); /* promiscuous */
	CHECK_EQ(command(&r, "\0\6\1", 3), 1); /* no such mode */
	CHECK_EQ(command(&r, "\0\0", 2), 1);   /* without its argument */
	CHECK_EQ(command(&r, "\1\1\2\0\0\0\0\1", 8), 0);
	CHECK_EQ(mmio_read(&r.g, r.d.device, 1), 2);
	CHECK_EQ(command(&r, "\1\1\2\0\0\0\0", 7), 1);
	CHECK_EQ(command(&r, "\x09\0", 2), 1);
	teardown(&r);
}

TEST(command_without_room_for_an_answer_needs_a_reset)
{
	struct rig r;
	uint32_t len;
	setup(&r, UINT64_MAX);
	struct buf b = { guest_alloc(&r.g, 3, 1), 3, false };
	CHECK(!driver_do(&r.d, CTRL, &b, 1, &len));
	CHECK(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	teardown(&r);
}

TEST(features_that_need_others_are_refused_alone)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	driver_reset(&r.d);
	driver_probe(&r.d, &r.g, SLOT);
	CHECK(!(driver_negotiate(&r.d, ~UINT64_C(1)) &
		VIRTIO_CONFIG_S_FEATURES_OK)); /* TSO, no CSUM */
	driver_reset(&r.d);
	CHECK(!(driver_negotiate(&r.d, ~(UINT64_C(1) << 17)) & VIRTIO_CONFIG_S_FEATURES_OK));
	driver_reset(&r.d);
	CHECK(driver_negotiate(&r.d, UINT64_C(1) << 32) & VIRTIO_CONFIG_S_FEATURES_OK);
	teardown(&r);
}

TEST(restored_card_asks_for_an_announcement_and_goes_on)
{
	struct rig r;
	uint32_t id, len;
	setup(&r, UINT64_MAX);
	post_rx(&r, 1500);
	post_rx(&r, 1500);
	CHECK(deliver(&r, 60));
	CHECK(driver_used(&r.d, RX, &id, &len));
	CHECK_EQ(command(&r, "\1\1\2\0\0\0\0\1", 8), 0);
	CHECK_EQ(virtio_net_device.quiesce(r.dev), 0);
	CHECK(!deliver(&r, 60)); /* waits */
	size_t len_bytes;
	struct state_node root;
	void *state = device_state(r.dev, &len_bytes);
	virtio_net_device.destroy(r.dev);
	CHECK_EQ(state_open(state, len_bytes, &root), 0);
	r.cfg.backend->mtu_bytes = 1500;
	CHECK_EQ(virtio_net_device.create(&r.g.env, "net0", &r.cfg, &root, &r.dev), 0);
	free(state);
	guest_irqs(&r.g, 0);
	virtio_net_device.resume(r.dev);
	guest_run(&r.g);
	CHECK_EQ(guest_irqs(&r.g, 0), 1);
	CHECK_EQ(mmio_read(&r.g, r.d.device + 6, 2), 3);
	CHECK_EQ(mmio_read(&r.g, r.d.device + 10, 2), 65520);
	CHECK_EQ(mmio_read(&r.g, r.d.device, 1), 2);
	CHECK_EQ(command(&r, "\3\0", 2), 0);
	CHECK_EQ(mmio_read(&r.g, r.d.device + 6, 2), 1);
	CHECK(deliver(&r, 60));
	CHECK(driver_used(&r.d, RX, &id, &len));
	CHECK_EQ(virtio_net_device.quiesce(r.dev), 0);
	virtio_net_device.reset(r.dev);
	driver_probe(&r.d, &r.g, SLOT);
	CHECK_EQ(mmio_read(&r.g, r.d.device + 10, 2), 1500); /* a new life, the network of now */
	teardown(&r);
}

TEST(frame_refused_in_a_quiet_time_is_asked_for_again)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	post_rx(&r, 1500);
	CHECK_EQ(virtio_net_device.quiesce(r.dev), 0);
	CHECK(!deliver(&r, 60));
	unsigned int wakes = r.wakes;
	virtio_net_device.resume(r.dev);
	guest_run(&r.g);
	CHECK_EQ(r.wakes, wakes + 1);
	teardown(&r);
}

TEST(machine_reset_forgets_flows_and_restores_the_mac)
{
	struct rig r;
	setup(&r, UINT64_MAX);
	CHECK_EQ(command(&r, "\1\1\2\0\0\0\0\1", 8), 0);
	CHECK_EQ(virtio_net_device.quiesce(r.dev), 0);
	virtio_net_device.reset(r.dev);
	CHECK_EQ(r.resets, 1);
	virtio_net_device.resume(r.dev);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 3);
	CHECK_EQ(mmio_read(&r.g, r.d.device, 1), 0x52);
	teardown(&r);
}

TEST_MAIN(T(card_tells_mac_link_and_mtu_of_the_backend), T(frame_is_sent_as_it_lies_in_memory),
	  T(checksum_left_undone_goes_along),
	  T(frames_that_no_network_takes_are_lost_and_given_back),
	  T(frame_without_a_header_needs_a_reset), T(large_frame_is_spread_over_buffers),
	  T(frames_of_a_turn_are_shown_with_one_interrupt),
	  T(backend_is_refused_without_buffers_and_woken_with_them),
	  T(without_mergeable_buffers_a_frame_that_does_not_fit_is_lost),
	  T(frames_before_the_driver_are_lost), T(readable_receive_buffer_needs_a_reset),
	  T(receive_buffer_smaller_than_a_header_needs_a_reset),
	  T(answer_from_within_send_is_received),
	  T(transmitted_frames_of_a_kick_are_given_back_with_one_interrupt),
	  T(commands_are_answered), T(command_without_room_for_an_answer_needs_a_reset),
	  T(features_that_need_others_are_refused_alone),
	  T(restored_card_asks_for_an_announcement_and_goes_on),
	  T(frame_refused_in_a_quiet_time_is_asked_for_again),
	  T(machine_reset_forgets_flows_and_restores_the_mac))
