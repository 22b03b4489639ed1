/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the VM state into its clusters. */
#ifndef VMM_SNAPSHOT_WRITE_H
#define VMM_SNAPSHOT_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/snapshot/snapshot_ram.h"

struct snapshot_write {
	int fd; /* the image's */
	const struct snapshot_plan *plan;
	const uint8_t *ram;
	uint64_t ram_bytes;
	const uint8_t *front;
	uint64_t front_bytes, front_host;
	bool fresh; /* the clusters read as zeroes now: pages of zeroes need no writing */
};

/*
 * Writes RAM, waits until it is on stable storage, then the front, likewise. Only calls that are safe in the child of
 * a process with threads, no memory from the heap. -> 0 or -errno.
 */
int snapshot_write(const struct snapshot_write *w);

#endif
