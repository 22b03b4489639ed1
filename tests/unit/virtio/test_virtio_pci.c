/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of virtio over PCI, on the simplest device there is (virtio-rng). */
#include "devices/virtio/virtio_pci.h"

#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "devices/virtio/virtio_rng.h"
#include "tests/unit/test.h"
#include "tests/unit/virtio/driver.h"

enum { SLOT = 5, DRIVER_UP = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER };

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
}

static void teardown(struct rig *r)
{
	virtio_rng_device.destroy(r->dev);
	guest_fini(&r->g);
}

static uint64_t rd(struct rig *r, unsigned int reg, unsigned int size)
{
	return mmio_read(&r->g, r->d.common + reg, size);
}

static void wr(struct rig *r, unsigned int reg, unsigned int size, uint64_t v)
{
	mmio_write(&r->g, r->d.common + reg, size, v);
}

static bool random_bytes(struct rig *r)
{
	uint32_t len;
	struct buf b = { guest_alloc(&r->g, 16, 1), 16, true };
	return driver_do(&r->d, 0, &b, 1, &len) && len == 16;
}

TEST(device_is_modern_and_has_no_intx)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(config_read(&r.g, SLOT, PCI_VENDOR_ID, 4), 0x10441af4);
	CHECK_EQ(config_read(&r.g, SLOT, PCI_REVISION_ID, 1), 1);
	CHECK(config_read(&r.g, SLOT, PCI_SUBSYSTEM_ID, 2) >= 0x40);
	CHECK_EQ(config_read(&r.g, SLOT, PCI_INTERRUPT_PIN, 1), 0);
	driver_probe(&r.d, &r.g, SLOT);
	CHECK(r.d.pci_cfg_cap);
	CHECK(!r.d.device); /* rng has no configuration */
	CHECK_EQ(r.d.nvectors, 2);
	teardown(&r);
}

TEST(features_ok_needs_version_1_and_nothing_unoffered)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	CHECK(!(driver_negotiate(&r.d, 0) & VIRTIO_CONFIG_S_FEATURES_OK));
	driver_reset(&r.d);
	wr(&r, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	wr(&r, VIRTIO_PCI_COMMON_GF, 4, 1); /* bit 0 means nothing to an rng */
	wr(&r, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	wr(&r, VIRTIO_PCI_COMMON_GF, 4, 1);
	driver_set_status(&r.d, DRIVER_UP | VIRTIO_CONFIG_S_FEATURES_OK);
	CHECK_EQ(driver_status(&r.d), DRIVER_UP);
	driver_reset(&r.d);
	CHECK(driver_negotiate(&r.d, UINT64_MAX) & VIRTIO_CONFIG_S_FEATURES_OK);
	teardown(&r);
}

TEST(features_are_fixed_after_features_ok)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	driver_negotiate(&r.d, UINT64_MAX);
	wr(&r, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	wr(&r, VIRTIO_PCI_COMMON_GF, 4, 0);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_GF, 4), r.d.features >> 32);
	wr(&r, VIRTIO_PCI_COMMON_GFSELECT, 4, 2);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_GF, 4), 0);
	wr(&r, VIRTIO_PCI_COMMON_DFSELECT, 4, UINT32_MAX);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_DF, 4), 0);
	teardown(&r);
}

TEST(driver_ok_without_features_ok_is_not_taken)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	driver_set_status(&r.d, DRIVER_UP | VIRTIO_CONFIG_S_DRIVER_OK);
	CHECK_EQ(driver_status(&r.d), DRIVER_UP);
	teardown(&r);
}

TEST(status_bits_are_only_added)
{
	struct rig r;
	setup(&r);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	uint8_t status = driver_status(&r.d);
	driver_set_status(&r.d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	CHECK_EQ(driver_status(&r.d), status);
	driver_set_status(&r.d, 0xff & ~VIRTIO_CONFIG_S_FAILED);
	CHECK_EQ(driver_status(&r.d), status); /* NEEDS_RESET is ours to set */
	driver_reset(&r.d);
	CHECK_EQ(driver_status(&r.d), 0);
	teardown(&r);
}

TEST(queue_that_is_not_there_reads_as_nothing)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	driver_negotiate(&r.d, UINT64_MAX);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_NUMQ, 2), 1);
	for (unsigned int q = 1; q < 0x10000; q = q * 3 + 1) {
		wr(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
		wr(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
		CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		wr(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0x1000);
		wr(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
		CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	}
	CHECK_EQ(r.g.ndoorbells, 0);
	teardown(&r);
}

TEST(vector_that_is_not_there_reads_back_as_none)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	wr(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	wr(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	wr(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2), 1);
	wr(&r, VIRTIO_PCI_COMMON_MSIX, 2, 0x7777);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	teardown(&r);
}

TEST(queue_size_is_a_power_of_two_within_the_offer)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	uint64_t offered = rd(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2);
	static const uint16_t bad[] = { 0, 3, 5, 16, 0x8000, 0xffff };
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		wr(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2, bad[i]);
		CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2), offered);
	}
	wr(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2, 4);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2), 4);
	teardown(&r);
}

TEST(queue_before_features_ok_is_not_enabled)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	driver_queue(&r.d, 0, 0);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	teardown(&r);
}

TEST(rings_of_an_enabled_queue_stay)
{
	struct rig r;
	setup(&r);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	wr(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 4, 0xdeadbee0);
	wr(&r, VIRTIO_PCI_COMMON_Q_USEDHI, 4, 0xdeadbee0);
	wr(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2, 2);
	wr(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 4), r.d.q[0].desc);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_USEDHI, 4), 0);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2), r.d.q[0].size);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	CHECK(random_bytes(&r));
	teardown(&r);
}

TEST(rings_outside_ram_need_a_reset)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	driver_negotiate(&r.d, UINT64_MAX);
	wr(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 4, GUEST_RAM_BYTES);
	wr(&r, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0x1000);
	wr(&r, VIRTIO_PCI_COMMON_Q_USEDLO, 4, 0x2000);
	wr(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	CHECK(driver_status(&r.d) & VIRTIO_CONFIG_S_NEEDS_RESET);
	driver_reset(&r.d);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	CHECK(random_bytes(&r));
	teardown(&r);
}

TEST(wrong_access_widths_read_zero_and_write_nothing)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_DF, 2), 0);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_DF + 2, 2), 0);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_NUMQ, 1), 0);
	CHECK_EQ(rd(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
	wr(&r, VIRTIO_PCI_COMMON_STATUS, 2, 1);
	CHECK_EQ(driver_status(&r.d), 0);
	CHECK_EQ(mmio_read(&r.g, r.d.bar + 0x7ff8, 8), 0);
	mmio_write(&r.g, r.d.bar + 0x7000, 4, UINT32_MAX);
	mmio_write(&r.g, r.d.bar + VIRTIO_PCI_NOTIFY_OFF + 0xffc, 4, 0);
	mmio_write(&r.g, r.d.bar + VIRTIO_PCI_MSIX_TABLE_OFF + 0xff0, 4, UINT32_MAX);
	CHECK_EQ(mmio_read(&r.g, r.d.bar + VIRTIO_PCI_MSIX_TABLE_OFF + 0xff0, 4), 0);
	teardown(&r);
}

/* ---- doorbells ---- */

TEST(doorbell_is_wired_while_queue_and_bar_are_on)
{
	struct rig r;
	setup(&r);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	CHECK_EQ(r.g.ndoorbells, 1);
	CHECK_EQ(r.g.doorbells[0].gpa, r.d.notify);
	CHECK(random_bytes(&r));
	config_write(&r.g, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	CHECK_EQ(r.g.ndoorbells, 0);
	config_write(&r.g, SLOT, PCI_BASE_ADDRESS_0, 4, (uint32_t)r.d.bar + 0x100000);
	config_write(&r.g, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	CHECK_EQ(r.g.ndoorbells, 1);
	CHECK_EQ(r.g.doorbells[0].gpa, r.d.notify + 0x100000);
	r.d.notify += 0x100000;
	r.d.common += 0x100000;
	CHECK(random_bytes(&r));
	driver_reset(&r.d);
	CHECK_EQ(r.g.ndoorbells, 0);
	teardown(&r);
}

TEST(doorbell_that_cannot_be_wired_works_as_a_register)
{
	struct rig r;
	setup(&r);
	r.g.no_doorbells = true;
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	CHECK(random_bytes(&r));
	teardown(&r);
}

TEST(kick_before_driver_ok_is_remembered)
{
	struct rig r;
	uint32_t id, len;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	uint8_t status = driver_negotiate(&r.d, UINT64_MAX);
	driver_queue(&r.d, 0, 0);
	struct buf b = { guest_alloc(&r.g, 16, 1), 16, true };
	driver_add(&r.d, 0, &b, 1);
	driver_kick(&r.d, 0);
	guest_run(&r.g);
	CHECK(!driver_used(&r.d, 0, &id, &len));
	driver_set_status(&r.d, status | VIRTIO_CONFIG_S_DRIVER_OK);
	guest_run(&r.g);
	CHECK(driver_used(&r.d, 0, &id, &len));
	teardown(&r);
}

TEST(without_bus_master_memory_is_left_alone)
{
	struct rig r;
	uint32_t id, len;
	setup(&r);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	config_write(&r.g, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	CHECK(!random_bytes(&r));
	config_write(&r.g, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	guest_run(&r.g);
	CHECK(driver_used(&r.d, 0, &id, &len));
	teardown(&r);
}

/* ---- interrupts ---- */

TEST(masked_vector_is_pending_until_unmasked)
{
	struct rig r;
	setup(&r);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	uint64_t entry = r.d.msix_table + PCI_MSIX_ENTRY_SIZE;
	uint64_t pba = r.d.bar + VIRTIO_PCI_MSIX_PBA_OFF;
	mmio_write(&r.g, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 1);
	CHECK(random_bytes(&r));
	CHECK_EQ(guest_irqs(&r.g, 1), 0);
	CHECK_EQ(mmio_read(&r.g, pba, 8), 2);
	mmio_write(&r.g, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
	CHECK_EQ(guest_irqs(&r.g, 1), 1);
	CHECK_EQ(mmio_read(&r.g, pba, 8), 0);
	teardown(&r);
}

TEST(masked_function_is_pending_until_unmasked)
{
	struct rig r;
	setup(&r);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	unsigned int flags = r.d.msix_cap + PCI_MSIX_FLAGS;
	config_write(&r.g, SLOT, flags, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	CHECK(random_bytes(&r));
	CHECK_EQ(guest_irqs(&r.g, 1), 0);
	config_write(&r.g, SLOT, flags, 2, PCI_MSIX_FLAGS_ENABLE);
	CHECK_EQ(guest_irqs(&r.g, 1), 1);
	config_write(&r.g, SLOT, flags, 2, 0); /* off: nothing is kept */
	CHECK(random_bytes(&r));
	config_write(&r.g, SLOT, flags, 2, PCI_MSIX_FLAGS_ENABLE);
	CHECK_EQ(guest_irqs(&r.g, 1), 0);
	teardown(&r);
}

TEST(route_is_set_only_when_its_target_changes)
{
	struct rig r;
	setup(&r);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	unsigned int before = r.g.msi_sets;
	uint64_t entry = r.d.msix_table + PCI_MSIX_ENTRY_SIZE;
	for (unsigned int i = 0; i < 10; i++) {
		mmio_write(&r.g, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 1);
		mmio_write(&r.g, entry + PCI_MSIX_ENTRY_DATA, 4, 0x41);
		mmio_write(&r.g, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
	}
	CHECK_EQ(r.g.msi_sets, before);
	mmio_write(&r.g, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 1);
	mmio_write(&r.g, entry + PCI_MSIX_ENTRY_DATA, 4, 0x77);
	mmio_write(&r.g, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
	CHECK_EQ(r.g.msi_sets, before + 1);
	teardown(&r);
}

TEST(isr_is_read_and_cleared_without_msix)
{
	struct rig r;
	setup(&r);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	config_write(&r.g, SLOT, r.d.msix_cap + PCI_MSIX_FLAGS, 2, 0);
	CHECK(random_bytes(&r));
	CHECK_EQ(mmio_read(&r.g, r.d.isr, 1), 1);
	CHECK_EQ(mmio_read(&r.g, r.d.isr, 1), 0);
	teardown(&r);
}

/* ---- the PCI_CFG capability ---- */

static void aim(struct rig *r, uint32_t off, uint32_t len)
{
	config_write(&r->g, SLOT, r->d.pci_cfg_cap + VIRTIO_PCI_CAP_BAR, 1, 0);
	config_write(&r->g, SLOT, r->d.pci_cfg_cap + VIRTIO_PCI_CAP_OFFSET, 4, off);
	config_write(&r->g, SLOT, r->d.pci_cfg_cap + VIRTIO_PCI_CAP_LENGTH, 4, len);
}

TEST(bar_is_reached_through_configuration_space)
{
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	unsigned int data = r.d.pci_cfg_cap + sizeof(struct virtio_pci_cap);
	CHECK(r.g.config_is_memory);
	aim(&r, VIRTIO_PCI_COMMON_NUMQ, 2);
	CHECK(!r.g.config_is_memory); /* or the window would show old values */
	CHECK_EQ(config_read(&r.g, SLOT, data, 4), 1);
	aim(&r, VIRTIO_PCI_COMMON_STATUS, 1);
	config_write(&r.g, SLOT, data, 4, DRIVER_UP);
	CHECK_EQ(driver_status(&r.d), DRIVER_UP);
	CHECK_EQ(config_read(&r.g, SLOT, data, 4), DRIVER_UP);
	teardown(&r);
}

TEST(window_that_points_nowhere_does_nothing)
{
	static const uint32_t bad[][2] = {
		{ 0, 0 },
		{ 0, 3 },
		{ 0, 8 },
		{ VIRTIO_PCI_BAR_BYTES, 4 },
		{ UINT32_MAX, 1 },
		{ 1, 4 },
		{ UINT32_MAX - 3, 4 },
	};
	struct rig r;
	setup(&r);
	driver_probe(&r.d, &r.g, SLOT);
	unsigned int data = r.d.pci_cfg_cap + sizeof(struct virtio_pci_cap);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		aim(&r, bad[i][0], bad[i][1]);
		config_write(&r.g, SLOT, data, 4, 0x5555);
		CHECK_EQ(config_read(&r.g, SLOT, data, 4), 0x5555);
	}
	CHECK_EQ(driver_status(&r.d), 0);
	teardown(&r);
}

/* ---- state ---- */

TEST(truncated_and_flipped_states_are_refused_or_taken_and_never_crash)
{
	struct rig r;
	size_t len_bytes;
	setup(&r);
	driver_start(&r.d, &r.g, SLOT, UINT64_MAX, 1);
	CHECK_EQ(virtio_rng_device.quiesce(r.dev), 0);
	uint8_t *state = device_state(r.dev, &len_bytes);
	virtio_rng_device.destroy(r.dev);
	int err_fd = dup(STDERR_FILENO); /* hundreds of good error lines */
	CHECK(freopen("/dev/null", "w", stderr));
	for (size_t bit = 0; bit < len_bytes * 8; bit += 5) {
		struct state_node root;
		struct device *dev;
		state[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!state_open(state, len_bytes, &root) &&
		    !virtio_rng_device.create(&r.g.env, "rng0", &cfg, &root, &dev)) {
			virtio_rng_device.resume(dev);
			guest_run(&r.g);
			virtio_rng_device.quiesce(dev);
			virtio_rng_device.destroy(dev);
		}
		state[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	dup2(err_fd, STDERR_FILENO);
	close(err_fd);
	free(state);
	CHECK_EQ(r.g.ndoorbells, 0);
	guest_fini(&r.g);
}

TEST_MAIN(T(device_is_modern_and_has_no_intx), T(features_ok_needs_version_1_and_nothing_unoffered),
	  T(features_are_fixed_after_features_ok), T(driver_ok_without_features_ok_is_not_taken),
	  T(status_bits_are_only_added), T(queue_that_is_not_there_reads_as_nothing),
	  T(vector_that_is_not_there_reads_back_as_none),
	  T(queue_size_is_a_power_of_two_within_the_offer),
	  T(queue_before_features_ok_is_not_enabled), T(rings_of_an_enabled_queue_stay),
	  T(rings_outside_ram_need_a_reset), T(wrong_access_widths_read_zero_and_write_nothing),
	  T(doorbell_is_wired_while_queue_and_bar_are_on),
	  T(doorbell_that_cannot_be_wired_works_as_a_register),
	  T(kick_before_driver_ok_is_remembered), T(without_bus_master_memory_is_left_alone),
	  T(masked_vector_is_pending_until_unmasked), T(masked_function_is_pending_until_unmasked),
	  T(route_is_set_only_when_its_target_changes), T(isr_is_read_and_cleared_without_msix),
	  T(bar_is_reached_through_configuration_space), T(window_that_points_nowhere_does_nothing),
	  T(truncated_and_flipped_states_are_refused_or_taken_and_never_crash))
