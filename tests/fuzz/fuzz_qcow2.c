/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile qcow2 image that is used: small images with data, compressed clusters and a snapshot are
 * made once; the input picks one, changes bytes of it, and then gives requests and snapshot
 * operations. Nothing may crash, hang, or take memory beyond measure; the image is opened again after.
 *
 * Input: 1 byte which image, 1 byte number of changes, then 4 bytes for each change (three of place,
 * one of value), then 4 bytes for each operation.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/block/block.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/check.h"
#include "devices/block/qcow2/create.h"
#include "devices/block/qcow2/snapshot.h"
#include "vmm/base/checked.h"
#include "vmm/core/loop.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { IMAGES = 5, DISK_BYTES = 256 * 1024, CHANGES_MAX = 64, OPS_MAX = 24, IO_BYTES = 16 * 1024 };

struct image {
	uint8_t *bytes;
	size_t n;
};

static struct image images[IMAGES];
static struct loop *loop;
static struct blk_node *keep;
static char path[64];

static const struct qcow2_create kinds[IMAGES] = {
	{ .size = DISK_BYTES, .cluster_bytes = 512 },
	{ .size = DISK_BYTES, .cluster_bytes = 4096, .version = 2 },
	{ .size = DISK_BYTES, .cluster_bytes = 4096, .refcount_bits = 64, .compression = 1 },
	{ .size = DISK_BYTES, .cluster_bytes = 16384, .ext_l2 = true },
	{ .size = DISK_BYTES, .cluster_bytes = 2048, .refcount_bits = 2 },
};

/* ---- operations ---- */

struct wait {
	bool done;
	int err;
};

static void on_done(struct blk_req *req, int err)
{
	struct wait *w = req->opaque;
	w->err = err;
	w->done = true;
}

static void request(struct blk_node *n, enum blk_op op, uint32_t flags, uint64_t off, uint64_t len)
{
	static uint8_t buf[IO_BYTES];
	struct iovec iov = { buf, len };
	struct blk_status st;
	struct wait w = { 0 };
	memset(buf, (int)(off >> 9) | 1, sizeof(buf));
	struct blk_req req = { .op = op,
			       .flags = flags,
			       .off = off,
			       .len = op == BLK_FLUSH ? 0 : len,
			       .iov = &iov,
			       .niov = 1,
			       .status = &st,
			       .done = on_done,
			       .opaque = &w };
	blk_submit(n, &req);
	if (loop_run_until(loop, &w.done))
		abort();
}

static char name[] = "s0";

static int do_create(struct blk_node *n, void *arg)
{
	struct qcow2_snapshot_new s = { .name = arg };
	return qcow2_co_snapshot_create(n, &s);
}

static int do_apply(struct blk_node *n, void *arg)
{
	return qcow2_co_snapshot_apply(n, arg);
}

static int do_delete(struct blk_node *n, void *arg)
{
	return qcow2_co_snapshot_delete(n, arg);
}

static int do_check(struct blk_node *n, void *arg)
{
	struct qcow2_check r;
	return qcow2_co_check(n, *(enum qcow2_fix *)arg, &r);
}

static int do_resize(struct blk_node *n, void *arg)
{
	return qcow2_co_resize(n, *(uint64_t *)arg);
}

static void operate(struct blk_node *n, const uint8_t *op)
{
	uint64_t off = (uint64_t)(op[1] | (op[2] & 3) << 8) * 512;
	uint64_t len = MIN((uint64_t)(1 + (op[3] & 31)) * 512, (uint64_t)IO_BYTES);
	uint64_t size = (uint64_t)(op[1] + 1) * 4096;
	enum qcow2_fix fix = op[1] % 3;
	name[1] = (char)('0' + (op[3] & 1));
	switch (op[0] % 12) {
	case 0:
	case 1:
	case 2: request(n, BLK_WRITE, 0, off, len); break;
	case 3: request(n, BLK_READ, 0, off, len); break;
	case 4: request(n, BLK_DISCARD, 0, align_down(off, 16384), DISK_BYTES / 4); break;
	case 5: request(n, BLK_WRITE_ZEROES, op[3] & BLK_REQ_UNMAP, off, len); break;
	case 6: request(n, BLK_FLUSH, 0, 0, 0); break;
	case 7: qcow2_run(n, do_create, name); break;
	case 8: qcow2_run(n, do_apply, name); break;
	case 9: qcow2_run(n, do_delete, name); break;
	case 10:
		qcow2_run(n, op[3] & 1 ? do_check : do_resize, op[3] & 1 ? (void *)&fix : &size);
		break;
	case 11:
		request(n, op[3] & 1 ? BLK_WRITE : BLK_STATUS, BLK_REQ_COMPRESS,
			align_down(off, 16384), IO_BYTES);
		break;
	default: break;
	}
}

/* ---- images ---- */

static void store(const uint8_t *bytes, size_t n)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
		abort();
	close(fd);
}

static struct blk_node *open_image(unsigned int flags)
{
	struct blk_node *n = NULL;
	return blk_open(loop, path, "qcow2", flags, &n) ? NULL : n;
}

static void make_image(const struct qcow2_create *kind, struct image *out)
{
	static const uint8_t ops[][4] = { { 0, 0, 0, 31 },   { 0, 64, 0, 31 }, { 11, 128, 0, 1 },
					  { 7, 0, 0, 0 },    { 0, 8, 0, 7 },   { 0, 0, 1, 31 },
					  { 11, 160, 0, 1 }, { 5, 80, 0, 3 } };
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || qcow2_create(fd, kind))
		abort();
	struct blk_node *n = open_image(BLK_OPEN_RDWR | BLK_OPEN_NO_LOCK);
	if (!n)
		abort();
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		operate(n, ops[i]);
	if (blk_close(n))
		abort();
	out->n = (size_t)lseek(fd, 0, SEEK_END);
	out->bytes = malloc(out->n);
	if (!out->bytes || pread(fd, out->bytes, out->n, 0) != (ssize_t)out->n)
		abort();
	close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	snprintf(path, sizeof(path), "%s/charmvm-fuzz-qcow2.%d",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
	if (loop_create(&loop))
		abort();
	for (int i = 0; i < IMAGES; i++)
		make_image(&kinds[i], &images[i]);
	/* Stays open: as long as one node does, the loop keeps its aio context, which is slow to give back. */

	int fd = memfd_create("keep", MFD_CLOEXEC);
	char keep_path[32];
	snprintf(keep_path, sizeof(keep_path), "/proc/self/fd/%d", fd);
	if (fd < 0 || ftruncate(fd, 4096) ||
	    blk_open(loop, keep_path, "raw", BLK_OPEN_NO_LOCK, &keep))
		abort();
	unlink(path);
	return 0;
}

/* ---- one input ---- */

static void use(const uint8_t *ops, size_t n_ops)
{
	struct blk_node *n = open_image(BLK_OPEN_RDWR | BLK_OPEN_NO_LOCK);
	for (size_t i = 0; n && i < n_ops; i++)
		operate(n, ops + i * 4);
	blk_close(n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 2)
		return 0;
	const struct image *image = &images[data[0] % IMAGES];
	size_t changes = MIN((size_t)data[1] % CHANGES_MAX, (len - 2) / 4);
	uint8_t *bytes = malloc(image->n);
	if (!bytes)
		abort();
	memcpy(bytes, image->bytes, image->n);
	for (size_t i = 0; i < changes; i++) {
		const uint8_t *c = data + 2 + i * 4;
		bytes[(size_t)(c[0] | c[1] << 8 | c[2] << 16) % image->n] = c[3];
	}
	store(bytes, image->n);
	free(bytes);
	const uint8_t *ops = data + 2 + changes * 4;
	size_t n_ops = MIN((len - 2 - changes * 4) / 4, (size_t)OPS_MAX);
	use(ops, n_ops);
	use(ops, MIN(n_ops, (size_t)4)); /* what it has become is opened again */
	struct blk_node *n = open_image(BLK_OPEN_RDWR | BLK_OPEN_NO_LOCK | BLK_OPEN_CHECK);
	enum qcow2_fix fix = QCOW2_FIX_ALL;
	if (n)
		qcow2_run(n, do_check, &fix);
	blk_close(n);
	unlink(path);
	return 0;
}
