/* SPDX-License-Identifier: Apache-2.0 */
/* The state tree: what is written is read back, and nothing else is believed. */
#include "vmm/core/state.h"

#include <errno.h>

#include "tests/unit/test.h"

static struct state_writer *sample(const void **blob, size_t *len)
{
	struct state_writer *w;
	CHECK_EQ(state_writer_create(&w), 0);
	state_begin(w, "", "charmvm,machine-1");
	state_begin(w, "disk0", "charmvm,virtio-blk-1");
	state_put_u32(w, "small", 7);
	state_put_u64(w, "large", UINT64_C(0x123456789abcdef0));
	state_put_bool(w, "yes", true);
	state_put_bytes(w, "raw", "abc", 3);
	state_end(w);
	state_begin(w, "net0", "charmvm,virtio-net-1");
	state_end(w);
	state_end(w);
	CHECK_EQ(state_finish(w, blob, len), 0);
	return w;
}

static struct state_writer *open_disk(struct state_node *disk)
{
	const void *blob;
	size_t len;
	struct state_node root;
	struct state_writer *w = sample(&blob, &len);
	CHECK_EQ(state_open(blob, len, &root), 0);
	CHECK_EQ(state_child(root, "disk0", disk), 0);
	return w;
}

TEST(properties_are_read_back)
{
	struct state_node disk;
	struct state_writer *w = open_disk(&disk);
	uint32_t small;
	uint64_t large;
	bool yes;
	char raw[3];
	CHECK_EQ(state_get_u32(disk, "small", &small), 0);
	CHECK_EQ(state_get_u64(disk, "large", &large), 0);
	CHECK_EQ(state_get_bool(disk, "yes", &yes), 0);
	CHECK_EQ(state_get_bytes(disk, "raw", raw, 3), 0);
	CHECK_EQ(small, 7);
	CHECK(large == UINT64_C(0x123456789abcdef0));
	CHECK(yes && !memcmp(raw, "abc", 3));
	state_writer_destroy(w);
}

TEST(missing_or_wrongly_sized_property_leaves_the_value_alone)
{
	struct state_node disk;
	struct state_writer *w = open_disk(&disk);
	uint32_t v = 42;
	bool b;
	char raw[4];
	CHECK_EQ(state_get_u32(disk, "absent", &v), -ENOENT);
	CHECK_EQ(state_get_u32(disk, "large", &v), -EINVAL);
	CHECK_EQ(v, 42);
	CHECK_EQ(state_get_bytes(disk, "raw", raw, 4), -EINVAL);
	CHECK_EQ(state_get_bool(disk, "small", &b), -EINVAL);
	state_writer_destroy(w);
}

TEST(node_of_another_version_is_refused)
{
	struct state_node disk;
	struct state_writer *w = open_disk(&disk);
	CHECK_EQ(state_check(disk, "charmvm,virtio-blk-1"), 0);
	CHECK_EQ(state_check(disk, "charmvm,virtio-blk-2"), -ENOTSUP);
	CHECK_EQ(state_check(disk, "charmvm,virtio-blk"), -ENOTSUP);
	state_writer_destroy(w);
}

TEST(tree_larger_than_the_first_buffer_grows)
{
	enum { LEN = 300 * 1024 };
	struct state_writer *w;
	const void *blob, *back;
	size_t len, back_len;
	struct state_node root;
	uint8_t *big = malloc(LEN);
	memset(big, 0x5a, LEN);
	CHECK_EQ(state_writer_create(&w), 0);
	state_begin(w, "", "x-1");
	state_put_bytes(w, "big", big, LEN);
	state_put_u32(w, "after", 1);
	state_end(w);
	CHECK_EQ(state_finish(w, &blob, &len), 0);
	CHECK_EQ(state_open(blob, len, &root), 0);
	CHECK_EQ(state_get_blob(root, "big", &back, &back_len), 0);
	CHECK_EQ(back_len, LEN);
	CHECK_EQ(memcmp(back, big, LEN), 0);
	free(big);
	state_writer_destroy(w);
}

TEST(truncated_or_flipped_blob_is_refused_or_harmless)
{
	const void *blob;
	size_t len;
	struct state_node root, disk;
	uint64_t v;
	struct state_writer *w = sample(&blob, &len);
	for (size_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);
		memcpy(copy, blob, cut);
		CHECK_EQ(state_open(copy, cut, &root), -EINVAL);
		free(copy);
	}
	for (size_t bit = 0; bit < len * 8; bit++) {
		uint8_t *copy = malloc(len);
		memcpy(copy, blob, len);
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (!state_open(copy, len, &root) && !state_child(root, "disk0", &disk))
			(void)state_get_u64(disk, "large", &v);
		free(copy);
	}
	state_writer_destroy(w);
}

TEST_MAIN(T(properties_are_read_back), T(missing_or_wrongly_sized_property_leaves_the_value_alone),
	  T(node_of_another_version_is_refused), T(tree_larger_than_the_first_buffer_grows),
	  T(truncated_or_flipped_blob_is_refused_or_harmless))
