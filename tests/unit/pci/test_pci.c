/* SPDX-License-Identifier: Apache-2.0 */
/* The host bridge and a function on it, through ECAM and through the ports. */
#include "devices/pci/pci.h"

#include <errno.h>

#include <linux/pci_regs.h>

#include "tests/unit/test.h"
#include "vmm/base/endian.h"

#define ECAM   UINT64_C(0xe0000000)
#define WINDOW UINT64_C(0xc0000000)
enum { SLOT = 4, BAR_BYTES = 0x8000, CAP_BYTES = 8 };

/* A device with one BAR, which remembers how it is used. */
struct rig {
	struct device_env env;
	struct device *host;
	struct device dev;
	struct pci_function f;
	uint8_t cap;
	unsigned int resets, maps, unmaps, readings, writings;
	uint64_t last_off, last_value;
	/* What map_rom() shows. */
	const uint8_t *rom;
	unsigned int rom_calls;
	bool rom_on;
};

static uint64_t bar_read(void *opaque, uint64_t off, unsigned int size)
{
	(void)opaque;
	return off << 8 | size;
}

static void bar_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct rig *r = opaque;
	(void)size;
	r->last_off = off;
	r->last_value = value;
}

static void config_reading(struct pci_function *f, unsigned int off, unsigned int size)
{
	struct rig *r = (struct rig *)((char *)f - offsetof(struct rig, f));
	(void)size;
	if (off == r->cap + 4u)
		f->config[off] = (uint8_t)++r->readings;
}

static void config_written(struct pci_function *f, unsigned int off, unsigned int size)
{
	struct rig *r = (struct rig *)((char *)f - offsetof(struct rig, f));
	(void)size;
	r->writings++;
	if (off == r->cap + 4u)
		pci_function_trap_reads(f);
}

static void bar_mapped(struct pci_function *f, unsigned int bar, bool on)
{
	struct rig *r = (struct rig *)((char *)f - offsetof(struct rig, f));
	(void)bar;
	*(on ? &r->maps : &r->unmaps) += 1;
}

static const struct pci_function_ops ops = {
	.config_reading = config_reading,
	.config_written = config_written,
	.bar_mapped = bar_mapped,
};

static const struct pci_ids ids = {
	.vendor = 0x1af4,
	.device = 0x1042,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x42,
	.class_code = 0x010000,
	.revision = 1,
};

static const struct device_ops dev_ops = { .compatible = "test,device-1" };

static void on_reset(void *opaque)
{
	((struct rig *)opaque)->resets++;
}

static int map_rom(void *opaque, uint64_t gpa, void *hva, uint64_t len_bytes, bool on)
{
	struct rig *r = opaque;
	if (gpa != ECAM || len_bytes != PCI_ECAM_BYTES)
		return -EINVAL;
	r->rom = hva;
	r->rom_calls++;
	r->rom_on = on;
	return 0;
}

static int plug(struct rig *r, const struct state_node *from)
{
	CHECK_EQ(pci_function_init(&r->f, pci_host_of(r->host), SLOT, &r->dev, &ops, &ids), 0);
	r->cap = pci_add_capability(&r->f, PCI_CAP_ID_VNDR, CAP_BYTES);
	r->f.writable[r->cap + 4] = 0x0f;
	pci_add_bar(&r->f, 0, BAR_BYTES, bar_read, bar_write, r);
	return pci_function_ready(&r->f, from);
}

static void setup(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	CHECK_EQ(bus_create(&r->env.pio), 0);
	CHECK_EQ(bus_create(&r->env.mmio), 0);
	r->env.reset = on_reset;
	r->env.power_opaque = r;
	const struct pci_host_config cfg = {
		.ecam_base = ECAM,
		.mmio_base = WINDOW,
		.mmio_len_bytes = 0x20000000,
		.config_port = 0xcf8,
		.map_rom = map_rom,
		.map_opaque = r,
	};
	CHECK_EQ(pci_host_device.create(&r->env, "pci", &cfg, NULL, &r->host), 0);
	device_init(&r->dev, &dev_ops, &r->env, "dev0");
	CHECK_EQ(plug(r, NULL), 0);
}

static void teardown(struct rig *r)
{
	pci_function_fini(&r->f);
	device_fini(&r->dev);
	pci_host_device.destroy(r->host);
	bus_destroy(r->env.pio);
	bus_destroy(r->env.mmio);
}

static uint32_t rd(struct rig *r, unsigned int slot, unsigned int off, unsigned int size)
{
	uint64_t v;
	CHECK(bus_read(r->env.mmio, ECAM + ((uint64_t)slot << 15) + off, size, &v));
	return (uint32_t)v;
}

static void wr(struct rig *r, unsigned int slot, unsigned int off, unsigned int size, uint32_t v)
{
	CHECK(bus_write(r->env.mmio, ECAM + ((uint64_t)slot << 15) + off, size, v));
}

static uint64_t mmio(struct rig *r, uint64_t gpa)
{
	uint64_t v;
	return bus_read(r->env.mmio, gpa, 4, &v) ? v : 0;
}

TEST(function_is_found_and_empty_slots_are_ones)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(rd(&r, SLOT, 0, 4), 0x10421af4);
	CHECK_EQ(rd(&r, SLOT, PCI_CLASS_REVISION, 4), 0x01000001);
	CHECK_EQ(rd(&r, SLOT, PCI_HEADER_TYPE, 1), 0); /* one function */
	CHECK_EQ(rd(&r, SLOT, PCI_INTERRUPT_PIN, 1), 0);
	CHECK_EQ(rd(&r, 0, PCI_CLASS_REVISION, 4) >> 16, 0x0600);
	CHECK_EQ(rd(&r, 5, 0, 4), UINT32_MAX);
	CHECK_EQ(rd(&r, SLOT, 0x1000, 4), UINT32_MAX); /* function 1 */
	CHECK_EQ(rd(&r, SLOT, 0x100, 4), UINT32_MAX);  /* no extended space */
	CHECK_EQ(rd(&r, SLOT, 0xffc, 4), UINT32_MAX);
	teardown(&r);
}

TEST(misaligned_and_wide_accesses_are_harmless)
{
	struct rig r;
	uint64_t v;
	setup(&r);
	CHECK_EQ(rd(&r, SLOT, 1, 4), UINT32_MAX);
	CHECK_EQ(rd(&r, SLOT, 0xff, 2), 0xffff);
	CHECK(bus_read(r.env.mmio, ECAM + (SLOT << 15), 8, &v));
	CHECK_EQ(v, -1);
	wr(&r, SLOT, PCI_COMMAND + 1, 2, 0xffff);
	CHECK(bus_write(r.env.mmio, ECAM + (SLOT << 15), 8, UINT64_MAX));
	CHECK_EQ(rd(&r, SLOT, PCI_COMMAND, 2), 0);
	CHECK_EQ(r.writings, 0);
	teardown(&r);
}

TEST(read_only_bits_stay)
{
	struct rig r;
	setup(&r);
	for (unsigned int off = 0; off < 256; off += 4)
		if (off != PCI_BASE_ADDRESS_0)
			wr(&r, SLOT, off, 4, UINT32_MAX);
	CHECK_EQ(rd(&r, SLOT, 0, 4), 0x10421af4);
	CHECK_EQ(rd(&r, SLOT, PCI_COMMAND, 2),
		 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	CHECK_EQ(rd(&r, SLOT, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	CHECK_EQ(rd(&r, SLOT, PCI_BASE_ADDRESS_1, 4), 0);
	CHECK_EQ(rd(&r, SLOT, PCI_ROM_ADDRESS, 4), 0);
	CHECK_EQ(rd(&r, SLOT, r.cap, 1), PCI_CAP_ID_VNDR);
	CHECK_EQ(rd(&r, SLOT, r.cap + 5, 1), 0);
	teardown(&r);
}

TEST(bar_is_sized_moved_and_switched)
{
	struct rig r;
	setup(&r);
	uint32_t at = rd(&r, SLOT, PCI_BASE_ADDRESS_0, 4);
	CHECK(at >= WINDOW && at < WINDOW + 0x20000000);
	CHECK_EQ(mmio(&r, at), 0); /* off at first */
	wr(&r, SLOT, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	CHECK_EQ(rd(&r, SLOT, PCI_BASE_ADDRESS_0, 4), ~(BAR_BYTES - 1u));
	wr(&r, SLOT, PCI_BASE_ADDRESS_0, 4, at);
	wr(&r, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	CHECK_EQ(mmio(&r, at + 0x10), 0x1004);
	CHECK_EQ(r.maps, 1);
	wr(&r, SLOT, PCI_BASE_ADDRESS_0, 4, at + 0x100000);
	CHECK_EQ(mmio(&r, at + 0x10), 0);
	CHECK_EQ(mmio(&r, at + 0x100010), 0x1004);
	CHECK_EQ(r.unmaps, 1);
	wr(&r, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER); /* nothing moves */
	CHECK_EQ(r.maps, 2);
	wr(&r, SLOT, PCI_COMMAND, 2, 0);
	CHECK_EQ(mmio(&r, at + 0x100010), 0);
	teardown(&r);
}

TEST(bar_on_top_of_something_else_is_not_there)
{
	struct rig r;
	setup(&r);
	wr(&r, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	uint32_t at = rd(&r, SLOT, PCI_BASE_ADDRESS_0, 4);
	wr(&r, SLOT, PCI_BASE_ADDRESS_0, 4, (uint32_t)ECAM);
	CHECK_EQ(r.unmaps, 1);
	CHECK_EQ(rd(&r, SLOT, 0, 4), 0x10421af4); /* ECAM still answers */
	wr(&r, SLOT, PCI_BASE_ADDRESS_0, 4, 0);
	wr(&r, SLOT, PCI_BASE_ADDRESS_0, 4, at);
	CHECK_EQ(mmio(&r, at), 4);
	teardown(&r);
}

TEST(bars_of_different_slots_do_not_meet)
{
	struct rig r;
	struct pci_function other;
	setup(&r);
	CHECK_EQ(pci_function_init(&other, pci_host_of(r.host), SLOT + 1, &r.dev, &ops, &ids), 0);
	pci_add_bar(&other, 0, 0x4000, bar_read, bar_write, &r);
	pci_add_bar(&other, 2, 0x10000, bar_read, bar_write, &r);
	uint32_t a = get_le32(r.f.config + PCI_BASE_ADDRESS_0);
	uint32_t b = get_le32(other.config + PCI_BASE_ADDRESS_0);
	uint32_t c = get_le32(other.config + PCI_BASE_ADDRESS_2);
	CHECK(b >= a + BAR_BYTES);
	CHECK(c >= b + 0x4000);
	CHECK_EQ(c % 0x10000, 0);
	pci_function_fini(&other);
	CHECK_EQ(rd(&r, SLOT + 1, 0, 4), UINT32_MAX);
	teardown(&r);
}

TEST(slot_is_given_once)
{
	struct rig r;
	struct pci_function other;
	setup(&r);
	CHECK_EQ(pci_function_init(&other, pci_host_of(r.host), SLOT, &r.dev, &ops, &ids), -EEXIST);
	pci_function_fini(&other);
	CHECK_EQ(pci_function_init(&other, pci_host_of(r.host), 32, &r.dev, &ops, &ids), -EINVAL);
	CHECK_EQ(rd(&r, SLOT, 0, 4), 0x10421af4);
	teardown(&r);
}

TEST(ports_reach_the_same_registers)
{
	struct rig r;
	uint64_t v;
	setup(&r);
	CHECK(bus_write(r.env.pio, 0xcf8, 4, 0x80000000 | SLOT << 11 | PCI_CLASS_REVISION));
	CHECK(bus_read(r.env.pio, 0xcfc, 4, &v));
	CHECK_EQ(v, 0x01000001);
	CHECK(bus_read(r.env.pio, 0xcfe, 2, &v));
	CHECK_EQ(v, 0x0100);
	CHECK(bus_write(r.env.pio, 0xcf8, 4, 0x80000000 | SLOT << 11 | PCI_COMMAND));
	CHECK(bus_write(r.env.pio, 0xcfc, 2, PCI_COMMAND_MASTER));
	CHECK_EQ(rd(&r, SLOT, PCI_COMMAND, 2), PCI_COMMAND_MASTER);
	CHECK(bus_write(r.env.pio, 0xcf8, 4, 0x80010000)); /* bus 1 */
	CHECK(bus_read(r.env.pio, 0xcfc, 4, &v));
	CHECK_EQ(v, UINT32_MAX);
	CHECK(bus_write(r.env.pio, 0xcf8, 4, SLOT << 11)); /* not enabled */
	CHECK(bus_read(r.env.pio, 0xcfc, 4, &v));
	CHECK_EQ(v, UINT32_MAX);
	CHECK(bus_read(r.env.pio, 0xcf8, 4, &v));
	CHECK_EQ(v, SLOT << 11);
	CHECK(bus_write(r.env.pio, 0xcf9, 1, 0x02));
	CHECK_EQ(r.resets, 0);
	CHECK(bus_write(r.env.pio, 0xcf9, 1, 0x06));
	CHECK_EQ(r.resets, 1);
	teardown(&r);
}

TEST(guest_sees_in_memory_what_it_would_read)
{
	struct rig r;
	setup(&r);
	CHECK(r.rom_on);
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned int off = 0; off < 4096; off += 4)
			if (slot != SLOT || off != r.cap + 4u)
				CHECK_EQ(get_le32(r.rom + (slot << 15) + off),
					 rd(&r, slot, off, 4));
	wr(&r, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	CHECK_EQ(get_le16(r.rom + (SLOT << 15) + PCI_COMMAND), PCI_COMMAND_MASTER);
	teardown(&r);
	CHECK(!r.rom_on);
}

TEST(function_with_live_registers_gets_its_reads)
{
	struct rig r;
	setup(&r);
	CHECK(r.rom_on);
	wr(&r, SLOT, r.cap + 4, 1, 1);
	CHECK(!r.rom_on);
	uint32_t before = rd(&r, SLOT, r.cap + 4, 1);
	CHECK_EQ(rd(&r, SLOT, r.cap + 4, 1), before + 1);
	CHECK_EQ(r.rom_calls, 2);
	teardown(&r);
	CHECK_EQ(r.rom_calls, 2);
}

/* The saved state of both, in a buffer of malloc's. */
static void *save(struct rig *r, size_t *len_bytes)
{
	struct state_writer *w;
	const void *blob;
	CHECK_EQ(state_writer_create(&w), 0);
	state_begin(w, "", "root");
	state_begin(w, "pci", pci_host_device.compatible);
	pci_host_device.save(r->host, w);
	state_end(w);
	state_begin(w, "dev0", dev_ops.compatible);
	pci_function_save(&r->f, w);
	state_end(w);
	state_end(w);
	CHECK_EQ(state_finish(w, &blob, len_bytes), 0);
	void *copy = malloc(*len_bytes);
	memcpy(copy, blob, *len_bytes);
	state_writer_destroy(w);
	return copy;
}

TEST(saved_function_comes_back_where_it_was)
{
	struct rig r;
	size_t len_bytes;
	struct state_node root, node;
	setup(&r);
	uint32_t at = rd(&r, SLOT, PCI_BASE_ADDRESS_0, 4) + 0x200000;
	wr(&r, SLOT, PCI_BASE_ADDRESS_0, 4, at);
	wr(&r, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	wr(&r, SLOT, PCI_INTERRUPT_LINE, 1, 9);
	void *state = save(&r, &len_bytes);
	pci_function_fini(&r.f);
	CHECK_EQ(state_open(state, len_bytes, &root), 0);
	CHECK_EQ(state_child(root, "dev0", &node), 0);
	CHECK_EQ(plug(&r, &node), 0);
	CHECK_EQ(mmio(&r, at + 0x10), 0x1004);
	CHECK_EQ(rd(&r, SLOT, PCI_INTERRUPT_LINE, 1), 9);
	/* And a reset leads to the same as a cold start. */
	pci_function_reset(&r.f);
	CHECK_EQ(mmio(&r, at + 0x10), 0);
	CHECK_EQ(rd(&r, SLOT, PCI_COMMAND, 2), 0);
	CHECK_EQ(rd(&r, SLOT, PCI_BASE_ADDRESS_0, 4), at - 0x200000);
	free(state);
	teardown(&r);
}

TEST(snapshot_cannot_change_read_only_bits)
{
	struct rig r;
	size_t len_bytes;
	struct state_node root, node;
	setup(&r);
	uint8_t *state = save(&r, &len_bytes);
	uint8_t *config = NULL;
	for (size_t i = 0; i + 4 <= len_bytes; i++)
		if (get_le32(state + i) == 0x10421af4)
			config = state + i;
	CHECK(config);
	config[PCI_CAPABILITY_LIST] = 0xfc;
	pci_function_fini(&r.f);
	CHECK_EQ(state_open(state, len_bytes, &root), 0);
	CHECK_EQ(state_child(root, "dev0", &node), 0);
	CHECK_EQ(plug(&r, &node), -EINVAL);
	free(state);
	teardown(&r);
}

TEST(host_remembers_the_address_port)
{
	struct rig r;
	size_t len_bytes;
	struct state_node root, node;
	uint64_t v;
	setup(&r);
	CHECK(bus_write(r.env.pio, 0xcf8, 4, 0x80002004));
	void *state = save(&r, &len_bytes);
	CHECK_EQ(state_open(state, len_bytes, &root), 0);
	CHECK_EQ(state_child(root, "pci", &node), 0);
	pci_function_fini(&r.f);
	pci_host_device.destroy(r.host);
	const struct pci_host_config cfg = {
		.ecam_base = ECAM,
		.mmio_base = WINDOW,
		.mmio_len_bytes = 0x20000000,
		.config_port = 0xcf8,
	};
	CHECK_EQ(pci_host_device.create(&r.env, "pci", &cfg, &node, &r.host), 0);
	CHECK(bus_read(r.env.pio, 0xcf8, 4, &v));
	CHECK_EQ(v, 0x80002004);
	pci_host_device.reset(r.host);
	CHECK(bus_read(r.env.pio, 0xcf8, 4, &v));
	CHECK_EQ(v, 0);
	CHECK_EQ(plug(&r, NULL), 0);
	free(state);
	teardown(&r);
}

TEST_MAIN(T(function_is_found_and_empty_slots_are_ones),
	  T(misaligned_and_wide_accesses_are_harmless), T(read_only_bits_stay),
	  T(bar_is_sized_moved_and_switched), T(bar_on_top_of_something_else_is_not_there),
	  T(bars_of_different_slots_do_not_meet), T(slot_is_given_once),
	  T(ports_reach_the_same_registers), T(guest_sees_in_memory_what_it_would_read),
	  T(function_with_live_registers_gets_its_reads), T(saved_function_comes_back_where_it_was),
	  T(snapshot_cannot_change_read_only_bits), T(host_remembers_the_address_port))
