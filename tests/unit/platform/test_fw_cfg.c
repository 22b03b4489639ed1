/* SPDX-License-Identifier: Apache-2.0 */
/* Files for the firmware, as SeaBIOS reads them: byte by byte, and by DMA. */
#include "devices/platform/fw_cfg.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/platform/machine.h"
#include "vmm/base/endian.h"
#include "vmm/core/guestmem.h"

enum {
	PORT = 0x510,
	RAM_BYTES = 1 << 16,
	REQUEST = 0x1000,
	TARGET = 0x2000,
	KEY_DIRECTORY = 0x19,
	KEY_FILE = 0x20,
	ERROR = 1,
	READ = 2,
	SKIP_BYTES = 4,
	SELECT = 8,
	WRITE = 16,
};

static struct machine m;
static struct device *dev;
static struct guestmem gm;
static uint8_t ram[RAM_BYTES];
static const struct fw_cfg_config config = { .port = PORT, .ncpus = 3 };

static void setup(void)
{
	machine_init(&m);
	memset(ram, 0xee, sizeof(ram));
	gm = (struct guestmem){ .nregions = 0 };
	CHECK_EQ(guestmem_add(&gm, 0, sizeof(ram), ram), 0);
	m.env.mem = &gm;
	dev = machine_add(&m, &fw_cfg_ops, &config);
}

static void teardown(void)
{
	dev->ops->destroy(dev);
	machine_fini(&m);
}

static void select_key(uint16_t key)
{
	CHECK(bus_write(m.env.pio, PORT, 2, key));
}

static void read_bytes(void *to, size_t n)
{
	for (uint8_t *p = to; n--; p++)
		*p = inb(&m, PORT + 1);
}

/* The guest's registers are little-endian, and the device's DMA address is not. */
static uint32_t swapped(uint32_t v)
{
	return __builtin_bswap32(v);
}

/* -> the control word afterwards. */
static uint32_t dma_at(uint64_t request, uint32_t control, uint32_t len, uint64_t target)
{
	put_be32(ram + REQUEST, control);
	put_be32(ram + REQUEST + 4, len);
	put_be64(ram + REQUEST + 8, target);
	CHECK(bus_write(m.env.pio, PORT + 4, 4, swapped((uint32_t)(request >> 32))));
	CHECK(bus_write(m.env.pio, PORT + 8, 4, swapped((uint32_t)request)));
	return get_be32(ram + REQUEST);
}

static uint32_t dma(uint32_t control, uint32_t len, uint64_t target)
{
	return dma_at(REQUEST, control, len, target);
}

TEST(signature_features_and_cpus_are_what_a_firmware_looks_for)
{
	setup();
	char signature[4];
	uint8_t id[4], cpus[2];
	select_key(0);
	read_bytes(signature, 4);
	CHECK(!memcmp(signature, "QEMU", 4));
	select_key(1);
	read_bytes(id, 4);
	CHECK_EQ(get_le32(id), 3);
	select_key(5);
	read_bytes(cpus, 2);
	CHECK_EQ(get_le16(cpus), 3);
	uint64_t high, low;
	bus_read(m.env.pio, PORT + 4, 4, &high);
	bus_read(m.env.pio, PORT + 8, 4, &low);
	CHECK_EQ(swapped((uint32_t)high), 0x51454d55);
	CHECK_EQ(swapped((uint32_t)low), 0x20434647);
	teardown();
}

TEST(directory_lists_each_file_with_size_key_and_name)
{
	setup();
	uint8_t d[4 + 3 * 64];
	CHECK_EQ(fw_cfg_add_file(dev, "etc/one", "1", 1), 0);
	CHECK_EQ(fw_cfg_add_file(dev, "two", "22", 2), 0);
	select_key(KEY_DIRECTORY);
	read_bytes(d, sizeof(d));
	CHECK_EQ(get_be32(d), 2);
	CHECK_EQ(get_be32(d + 4), 1);
	CHECK_EQ(get_be16(d + 8), KEY_FILE);
	CHECK_STR((char *)d + 12, "etc/one");
	CHECK_EQ(get_be32(d + 68), 2);
	CHECK_EQ(get_be16(d + 72), KEY_FILE + 1);
	CHECK_STR((char *)d + 76, "two");
	CHECK_EQ(d[132], 0);
	teardown();
}

TEST(behind_the_end_of_a_file_there_are_zeroes)
{
	setup();
	char text[6];
	CHECK_EQ(fw_cfg_add_file(dev, "f", "abc", 3), 0);
	select_key(KEY_FILE);
	read_bytes(text, 6);
	CHECK(!memcmp(text, "abc\0\0\0", 6));
	select_key(KEY_FILE + 1);
	CHECK_EQ(inb(&m, PORT + 1), 0);
	teardown();
}

TEST(dma_selects_skips_and_reads)
{
	setup();
	CHECK_EQ(fw_cfg_add_file(dev, "f", "abcdef", 6), 0);
	CHECK_EQ(dma(KEY_FILE << 16 | SELECT | READ, 2, TARGET), 0);
	CHECK(!memcmp(ram + TARGET, "ab\xee", 3));
	CHECK_EQ(dma(SKIP_BYTES, 2, 0), 0);
	CHECK_EQ(dma(READ, 4, TARGET), 0);
	CHECK(!memcmp(ram + TARGET, "ef\0\0\xee", 5));
	teardown();
}

TEST(dma_that_writes_or_leaves_memory_is_an_error_and_moves_nothing)
{
	setup();
	CHECK_EQ(fw_cfg_add_file(dev, "f", "abcdef", 6), 0);
	CHECK_EQ(dma(KEY_FILE << 16 | SELECT | WRITE, 2, TARGET), ERROR);
	CHECK_EQ(dma(READ, 2, RAM_BYTES - 1), ERROR);
	CHECK_EQ(dma(READ, 2, UINT64_MAX), ERROR);
	CHECK_EQ(dma(READ, UINT32_MAX, TARGET), ERROR);
	CHECK_EQ(dma(READ, 0, UINT64_MAX), 0);
	CHECK_EQ(ram[RAM_BYTES - 1], 0xee);
	CHECK_EQ(dma(READ, 1, TARGET), 0);
	CHECK_EQ(ram[TARGET], 'a');
	teardown();
}

TEST(dma_request_outside_of_memory_is_dropped)
{
	setup();
	CHECK_EQ(dma_at(RAM_BYTES - 8, READ, 1, TARGET), READ);
	CHECK_EQ(dma_at(UINT64_C(0x100000000) + REQUEST, READ, 1, TARGET), READ);
	CHECK_EQ(dma(READ, 1, TARGET), 0); /* the upper half was for one request only */
	teardown();
}

TEST(skipping_beyond_all_ends_stays_there)
{
	setup();
	CHECK_EQ(fw_cfg_add_file(dev, "f", "abc", 3), 0);
	select_key(KEY_FILE);
	CHECK_EQ(dma(SKIP_BYTES, UINT32_MAX, 0), 0);
	CHECK_EQ(dma(SKIP_BYTES, 3, 0), 0);
	CHECK_EQ(dma(READ, 1, TARGET), 0);
	CHECK_EQ(ram[TARGET], 0);
	teardown();
}

TEST(file_that_is_empty_too_large_nameless_or_there_already_is_refused)
{
	setup();
	char name[FW_CFG_NAME_CHARS + 2];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	CHECK_EQ(fw_cfg_add_file(dev, name, "a", 1), -EINVAL);
	CHECK_EQ(fw_cfg_add_file(dev, name + 1, "a", 1), 0);
	CHECK_EQ(fw_cfg_add_file(dev, name + 1, "a", 1), -EINVAL);
	CHECK_EQ(fw_cfg_add_file(dev, "", "a", 1), -EINVAL);
	CHECK_EQ(fw_cfg_add_file(dev, "e", "", 0), -EINVAL);
	CHECK_EQ(fw_cfg_add_file(dev, "l", "", FW_CFG_FILE_BYTES_MAX + 1), -EINVAL);
	for (int i = 1; i < FW_CFG_FILES_MAX; i++)
		CHECK_EQ(fw_cfg_add_file(dev, name + 1 + i, "a", 1), 0);
	CHECK_EQ(fw_cfg_add_file(dev, "x", "a", 1), -ENOSPC);
	teardown();
}

TEST(files_and_place_go_through_a_snapshot)
{
	setup();
	char text[3];
	CHECK_EQ(fw_cfg_add_file(dev, "one", "1", 1), 0);
	CHECK_EQ(fw_cfg_add_file(dev, "two", "abc", 3), 0);
	select_key(KEY_FILE + 1);
	CHECK_EQ(inb(&m, PORT + 1), 'a');
	dev = machine_round_trip(&m, dev, &config);
	read_bytes(text, 2);
	CHECK(!memcmp(text, "bc", 2));
	select_key(KEY_FILE);
	CHECK_EQ(inb(&m, PORT + 1), '1');
	teardown();
}

TEST(reset_takes_the_files_away)
{
	setup();
	uint8_t n[4];
	CHECK_EQ(fw_cfg_add_file(dev, "one", "1", 1), 0);
	dev->ops->reset(dev);
	select_key(KEY_DIRECTORY);
	read_bytes(n, 4);
	CHECK_EQ(get_be32(n), 0);
	CHECK_EQ(fw_cfg_add_file(dev, "one", "2", 1), 0);
	select_key(KEY_FILE);
	CHECK_EQ(inb(&m, PORT + 1), '2');
	teardown();
}

TEST(saved_file_with_a_name_that_is_too_long_is_refused)
{
	setup();
	struct state_writer *w;
	struct state_node root, node;
	struct device *d;
	const void *blob;
	size_t len;
	char name[FW_CFG_NAME_CHARS + 2];
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	CHECK_EQ(state_writer_create(&w), 0);
	state_begin(w, "", fw_cfg_ops.compatible);
	state_put_u32(w, "key", 0);
	state_put_u32(w, "offset", 0);
	state_put_u32(w, "dma-high", 0);
	state_begin(w, "file@0", "charmvm,fw-cfg-file-1");
	state_put_str(w, "name", name);
	state_put_bytes(w, "data", "x", 1);
	state_end(w);
	state_end(w);
	CHECK_EQ(state_finish(w, &blob, &len), 0);
	CHECK_EQ(state_open(blob, len, &root), 0);
	node = root;
	dev->ops->destroy(dev);
	CHECK_EQ(fw_cfg_ops.create(&m.env, "dev0", &config, &node, &d), -EINVAL);
	state_writer_destroy(w);
	machine_fini(&m);
}

TEST_MAIN(T(signature_features_and_cpus_are_what_a_firmware_looks_for),
	  T(directory_lists_each_file_with_size_key_and_name),
	  T(behind_the_end_of_a_file_there_are_zeroes), T(dma_selects_skips_and_reads),
	  T(dma_that_writes_or_leaves_memory_is_an_error_and_moves_nothing),
	  T(dma_request_outside_of_memory_is_dropped), T(skipping_beyond_all_ends_stays_there),
	  T(file_that_is_empty_too_large_nameless_or_there_already_is_refused),
	  T(files_and_place_go_through_a_snapshot), T(reset_takes_the_files_away),
	  T(saved_file_with_a_name_that_is_too_long_is_refused))
