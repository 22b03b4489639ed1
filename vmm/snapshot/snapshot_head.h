/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front of a snapshot's VM state: a flattened device tree (vmm/core/state.h), and behind it,
 * at the next multiple of 8, "CHARMCRC", the CRC-32 (zlib's) of the tree and four bytes of zero.
 *
 * The tree, version 1. A later charmvm reads all of it; a property that it does not find has the value
 * it had for machines without it.
 *
 *   /            "charmvm,machine-1": writer, note (text), time-s (u64), arch ("x86-64"),
 *                mem-bytes (u64), cpus (u32), ram-unit (u32), disk-bytes (u64), host-key (text: the name of the
 *                machine that the guest's SSH host key was made for; else the image's), unclaimed (u32; there: the
 *                guest has no keys and no name, and is handed them by its agent when it goes on: credentials.h)
 *   /devices/NAME  a node for each device, by its name: its own compatible string and properties
 *   /chips       vmm/x86/chips.h
 *   /processor   "charmvm,x86-processor-1": cpuid, vmm/x86/cpuid.h
 *   /cpu@N       vmm/x86/cpu_state.h
 *
 * RAM is behind it from snapshot_ram_offset() on, in the order of guest addresses without the holes.
 */
#ifndef VMM_SNAPSHOT_HEAD_H
#define VMM_SNAPSHOT_HEAD_H

#include <stddef.h>
#include <stdint.h>

#include "devices/block/qcow2/snapshot.h"
#include "vmm/core/state.h"
#include "vmm/snapshot/snapshot.h"

#define SNAPSHOT_COMPATIBLE "charmvm,machine-1"

enum { SNAPSHOT_ID_MAX = 63 };

/* A snapshot that has been read and checked as a whole; its parts are not. */
struct snapshot {
	char id[SNAPSHOT_ID_MAX + 1];
	char name[QCOW2_SNAPSHOT_NAME_MAX + 1];
	uint64_t disk_bytes;
	uint8_t *blob;
	size_t blob_bytes;
	struct state_node root;
	struct qcow2_vm_extent *extents; /* of the whole VM state */
	uint32_t n_extents;
	uint32_t ram_unit;
	uint64_t ram_off; /* in the VM state */
	struct snapshot_info info;
};

/* Where RAM begins behind a tree of @tree_bytes. */
uint64_t snapshot_ram_offset(uint64_t tree_bytes, uint32_t ram_unit);

/*
 * The front as it is written: @tree, its checksum, zeroes up to RAM. -> memory to free(), aligned for O_DIRECT, of
 * snapshot_ram_offset() bytes; NULL: out of memory.
 */
uint8_t *snapshot_head_make(const void *tree, size_t tree_bytes, uint32_t ram_unit);

/* Which one it is, whose id or name s->name says: fills in id, name and disk_bytes. In a coroutine. -> 0, -ENOENT, ... */
int snapshot_co_identify(struct blk_node *n, struct snapshot *s);
/* Reads the snapshot with this id or name; in a coroutine. Errors as snapshot_co_info(), -ENOMEM, -EIO.
 * snapshot_close() when done, on an error, too. */
int snapshot_co_open(struct blk_node *n, const char *id_or_name, struct snapshot *s);
void snapshot_close(struct snapshot *s);
/* Closes and frees one that calloc() made; NULL: nothing. */
void snapshot_free(struct snapshot *s);

/* Whether its machine has this device. */
bool snapshot_has_device(const struct snapshot *s, const char *name);

/* One line for an error of snapshot_co_open(), into @out. */
void snapshot_explain(int err, const char *image, const char *name, char *out, size_t bytes);

#endif
