/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-rng through its registers and ring. */
#include "devices/virtio/virtio_rng.h"

#include <linux/virtio_config.h>

#include "tests/unit/test.h"
#include "tests/unit/virtio/driver.h"

enum { SLOT = 5 };

struct rig {
	struct guest g;
	struct device *dev;
	struct driver d;
};

static const struct virtio_rng_config cfg = { .pci_slot = SLOT };

static void setup(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	guest_init(&r->g);
	CHECK_EQ(virtio_rng_device.create(&r->g.env, "rng0", &cfg, NULL, &r->dev), 0);
	virtio_rng_device.resume(r->dev);
	driver_start(&r->d, &r->g, SLOT, UINT64_MAX, 1);
}

static void teardown(struct rig *r)
{
	virtio_rng_device.destroy(r->dev);
	guest_fini(&r->g);
}

TEST(buffers_are_filled_and_differ)
{
	struct rig r;
	uint32_t len;
	setup(&r);
	struct buf b[2] = { { guest_alloc(&r.g, 64, 1), 64, true },
			    { guest_alloc(&r.g, 300, 1), 300, true } };
	CHECK(driver_do(&r.d, 0, b, 2, &len));
	CHECK_EQ(len, 364);
	uint8_t first[64];
	memcpy(first, guest_ptr(&r.g, b[0].gpa), 64);
	CHECK(driver_do(&r.d, 0, b, 1, &len));
	CHECK(memcmp(first, guest_ptr(&r.g, b[0].gpa), 64));
	teardown(&r);
}

TEST(one_request_gets_a_bounded_share)
{
	struct rig r;
	uint32_t len;
	setup(&r);
	struct buf b = { guest_alloc(&r.g, 1 << 20, 1), 1 << 20, true };
	CHECK(driver_do(&r.d, 0, &b, 1, &len));
	CHECK_EQ(len, 4096);
	CHECK_EQ(((uint8_t *)guest_ptr(&r.g, b.gpa))[4096], 0);
	teardown(&r);
}

TEST(request_with_nothing_to_write_needs_a_reset)
{
	struct rig r;
	uint32_t len;
	setup(&r);
	struct buf b = { guest_alloc(&r.g, 64, 1), 64, false };
	CHECK(!driver_do(&r.d, 0, &b, 1, &len));
	CHECK(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	teardown(&r);
}

TEST(saved_device_goes_on)
{
	struct rig r;
	uint32_t len;
	setup(&r);
	struct buf b = { guest_alloc(&r.g, 64, 1), 64, true };
	CHECK(driver_do(&r.d, 0, &b, 1, &len));
	CHECK_EQ(virtio_rng_device.quiesce(r.dev), 0);
	size_t len_bytes;
	struct state_node root;
	void *state = device_state(r.dev, &len_bytes);
	virtio_rng_device.destroy(r.dev);
	CHECK_EQ(state_open(state, len_bytes, &root), 0);
	CHECK_EQ(virtio_rng_device.create(&r.g.env, "rng0", &cfg, &root, &r.dev), 0);
	free(state);
	virtio_rng_device.resume(r.dev);
	CHECK(driver_do(&r.d, 0, &b, 1, &len));
	CHECK_EQ(len, 64);
	teardown(&r);
}

TEST_MAIN(T(buffers_are_filled_and_differ), T(one_request_gets_a_bounded_share),
	  T(request_with_nothing_to_write_needs_a_reset), T(saved_device_goes_on))
