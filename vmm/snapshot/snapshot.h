/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of the whole machine in its own image: RAM, devices, vCPUs and disk of one instant.
 *
 * What is in the file: an internal snapshot of the qcow2 image (`qemu-img snapshot -l` lists it), whose VM
 * state begins with a flattened device tree and its checksum (snapshot_head.h); RAM follows,
 * uncompressed, from the next cluster on, what is zero left out.
 *
 * A machine's calls are for the loop's thread while machine_run() is under way, and answer later through
 * @done: once, on the loop's thread. One of them at a time: another one meanwhile is answered with
 * EXIT_STATUS_IN_USE. Whatever fails leaves machine and image as they were, the machine running.
 */
#ifndef VMM_SNAPSHOT_H
#define VMM_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/exit_status.h"

struct backends;
struct blk_node;
struct machine;
struct machine_config;

enum { SNAPSHOT_NOTE_MAX = 1000 };

/* What a save goes by until it is whole; not a name that a user may give. */
#define SNAPSHOT_UNFINISHED "charmvm: unfinished"

/* @message: what went wrong, why and what to do, in one line; "" for EXIT_STATUS_OK. */
typedef void snapshot_done_fn(void *opaque, enum exit_status status, const char *message);

/* @name and @note (NULL: none) are copied. */
void machine_snapshot_save(struct machine *m, const char *name, const char *note,
			   snapshot_done_fn *done, void *opaque);
/* The machine becomes what it was; what its disk and memory had since is gone. By id or name. */
void machine_snapshot_revert(struct machine *m, const char *name, snapshot_done_fn *done,
			     void *opaque);
void machine_snapshot_delete(struct machine *m, const char *name, snapshot_done_fn *done,
			     void *opaque);

/*
 * For --from: takes memory, vCPUs, network and agent from the snapshot cfg->from of the first disk where the
 * command line does not say them, and refuses what cannot be. Between backends_open() and _connect(), no loop runs.
 * -> EXIT_STATUS_OK, or what the process is to end with, logged.
 */
enum exit_status snapshot_configure(struct machine_config *cfg, struct backends *hosts);

/* ---- what is known of a snapshot of any qcow2 image ---- */

struct snapshot_info {
	uint64_t mem_bytes;
	uint32_t cpus;
	uint64_t time_s; /* when it was saved, seconds since 1970 */
	bool unclaimed;	 /* nobody's machine (snapshot_head.h) */
	char writer[64];
	char note[SNAPSHOT_NOTE_MAX + 1];
};

/* In a coroutine of the node's loop. -> 0; -ENOENT: no such snapshot; -ENODATA: one without a machine of ours in
 * it (of the disk alone, or QEMU's); -EINVAL: damaged. Not logged. */
int snapshot_co_info(struct blk_node *n, const char *id_or_name, struct snapshot_info *out);

#endif
