/* SPDX-License-Identifier: Apache-2.0 */
/* The front of a snapshot from the stopped machine. */
#ifndef VMM_SNAPSHOT_STATE_H
#define VMM_SNAPSHOT_STATE_H

#include <stdint.h>

struct machine;

struct snapshot_state_config {
	const char *note;
	uint64_t time_s;
	uint32_t ram_unit;
	uint64_t ram_units; /* stored ones */
	uint64_t disk_bytes;
};

/*
 * *front: the tree with its checksum, up to where RAM begins, to free(). *clock_ns: the guest's clock.
 * -> 0 or -errno, what is not -ENOMEM logged.
 */
int snapshot_state_make(struct machine *m, const struct snapshot_state_config *cfg, uint8_t **front,
			uint64_t *front_bytes, uint64_t *clock_ns);

#endif
