/* SPDX-License-Identifier: Apache-2.0 */
/* The consistency of a qcow2 image: found, and repaired. */
#ifndef BLOCK_QCOW2_CHECK_H
#define BLOCK_QCOW2_CHECK_H

#include <stdint.h>

struct blk_node;

enum qcow2_fix { QCOW2_FIX_NONE, QCOW2_FIX_LEAKS, QCOW2_FIX_ALL };

/* As qemu-img check counts. */
struct qcow2_check {
	uint64_t corruptions, leaks; /* found and still there */
	uint64_t corruptions_fixed, leaks_fixed;
	uint64_t allocated_clusters, total_clusters; /* of the disk */
	uint64_t compressed_clusters, fragmented_clusters;
	uint64_t image_end; /* one behind the last byte in use */
};

/*
 * Walks all tables of the disk and of every snapshot, and compares with the refcounts and flags. What
 * a fix changes is atomic. In a coroutine. -> 0 (see *out), -errno: the check itself failed.
 */
int qcow2_co_check(struct blk_node *n, enum qcow2_fix fix, struct qcow2_check *out);

#endif
