/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile snapshot: a qcow2 image whose snapshot holds what the input says, in a frame that is sound, so that
 * the input gets past checksum and size. The first bytes say where the pieces of VM state lie; the rest is
 * the state tree. Nothing may crash, and what is refused leaves the image as it was.
 */
#include <fcntl.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/block/block.h"
#include "devices/block/qcow2/create.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"
#include "vmm/snapshot/snapshot_head.h"
#include "vmm/snapshot/snapshot_ram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum {
	LAYOUT_BYTES = 8,  /* of the input: two for each piece of VM state behind the tree */
	CLUSTER_BITS = 12, /* small, so that a small input makes many clusters */
	CLUSTER = 4096,	   /* small, so that a small input makes many */
	PIECES = LAYOUT_BYTES / 2,
	TREE_MIN = 64,
	TREE_MAX = 64 * 1024,
	RESERVED_CLUSTERS = 64,
	DEPTH_MAX = 8,
};

static void must(bool fine)
{
	if (!fine)
		abort();
}

/* ---- the image ---- */

struct input {
	const uint8_t *layout;
	uint8_t *tree;
	size_t tree_bytes;
};

/* The tree first, then pieces where the input wants them, all within what is reserved. */
static uint32_t lay_out(const struct input *in, uint64_t host, uint64_t front_bytes,
			struct qcow2_vm_extent v[1 + PIECES])
{
	uint64_t at = front_bytes, left = RESERVED_CLUSTERS;
	uint32_t n = 0;
	v[n++] = (struct qcow2_vm_extent){ 0, host, front_bytes };
	host += front_bytes;
	for (unsigned int i = 0; i < PIECES; i++) {
		uint64_t gap = in->layout[2 * i],
			 count = MIN((uint64_t)in->layout[2 * i + 1] % 32, left);
		if (!count)
			continue;
		at += gap * CLUSTER;
		v[n++] = (struct qcow2_vm_extent){ at, host, count * CLUSTER };
		at += count * CLUSTER;
		host += count * CLUSTER;
		left -= count;
	}
	return n;
}

static int co_save(struct blk_node *n, void *arg)
{
	const struct input *in = arg;
	struct qcow2_vm_extent v[1 + PIECES];
	uint64_t host, front = snapshot_ram_offset(in->tree_bytes, CLUSTER);
	uint8_t *head = snapshot_head_make(in->tree, in->tree_bytes, CLUSTER);
	int err = head ? qcow2_co_reserve(n, front + RESERVED_CLUSTERS * CLUSTER, &host) : -1;
	if (!err)
		err = qcow2_co_vm_write(n, head, front, host);
	free(head);
	const struct qcow2_snapshot_new s = { .name = "s",
					      .vm_state_bytes = front,
					      .extents = v,
					      .n_extents = err ? 0 : lay_out(in, host, front, v) };
	return err ? err : qcow2_co_snapshot_create(n, &s);
}

/* ---- reading it ---- */

/* Every getter at every node, as what reads a state does. */
static void walk(struct state_node n, unsigned int depth)
{
	static const char *const names[] = { "compatible", "mem-bytes", "cpuid", "note", "reg" };
	struct state_node child = { .fdt = NULL };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint32_t u32;
		uint64_t u64;
		char text[32];
		const void *blob;
		size_t bytes;
		state_get_u32(n, names[i], &u32);
		state_get_u64(n, names[i], &u64);
		if (!state_get_str(n, names[i], text, sizeof(text)))
			must(strlen(text) < sizeof(text));
		if (!state_get_blob(n, names[i], &blob, &bytes))
			must(bytes <= TREE_MAX);
	}
	while (depth < DEPTH_MAX && !state_next_child(n, &child)) {
		must(state_name(child));
		walk(child, depth + 1);
	}
}

struct reading {
	struct snapshot s;
	int err;
};

static int co_read(struct blk_node *n, void *arg)
{
	struct reading *r = arg;
	r->err = snapshot_co_open(n, "s", &r->s);
	return 0;
}

static void read_back(struct blk_node *n)
{
	struct reading r = { .err = 0 };
	char line[512];
	must(!qcow2_run(n, co_read, &r));
	if (r.err) {
		snapshot_explain(r.err, "image", "s", line, sizeof(line));
	} else {
		walk(r.s.root, 0);
		if (!snapshot_ram_check(n, &r.s, r.s.info.mem_bytes))
			must(r.s.ram_unit == CLUSTER);
	}
	snapshot_close(&r.s);
}

static struct blk_node *open_image(struct loop *l, int fd)
{
	char path[32];
	struct blk_node *n = NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	must(!blk_open(l, path, "qcow2", BLK_OPEN_RDWR | BLK_OPEN_NO_LOCK, &n));
	return n;
}

static int make_image(void)
{
	const struct qcow2_create o = { .size = MIB, .cluster_bytes = CLUSTER };
	int fd = memfd_create("image", MFD_CLOEXEC);
	must(fd >= 0 && !qcow2_create(fd, &o));
	return fd;
}

/* With an image open for ever: the kernel takes its time over the end of the last one's I/O context. */
static struct loop *make_loop(void)
{
	static struct blk_node *kept;
	struct loop *l = NULL;
	must(!loop_create(&l));
	kept = open_image(l, make_image());
	must(kept);
	return l;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < LAYOUT_BYTES + TREE_MIN || len > LAYOUT_BYTES + TREE_MAX)
		return 0;
	log_set_level(LOG_LEVEL_ERROR);
	struct input in = { .layout = data, .tree_bytes = len - LAYOUT_BYTES };
	in.tree = malloc(in.tree_bytes);
	must(in.tree);
	memcpy(in.tree, data + LAYOUT_BYTES, in.tree_bytes);
	put_be32(in.tree, FDT_MAGIC);
	put_be32(in.tree + 4, (uint32_t)in.tree_bytes);
	static struct loop *l;
	if (!l)
		l = make_loop();
	int fd = make_image();
	struct blk_node *n = open_image(l, fd);
	if (!qcow2_run(n, co_save, &in))
		read_back(n);
	must(!blk_close(n));
	close(fd);
	free(in.tree);
	return 0;
}
