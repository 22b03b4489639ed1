/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Internal snapshots of a qcow2 image. All functions run in a coroutine of the node's loop (tools:
 * qcow2_run(), a machine: qcow2_spawn()). Each change is atomic: a crash undoes or completes it.
 * Errors: -ENOENT, -EEXIST, -EINVAL (name), -EROFS, -ENOTSUP (external data file), -ENOSPC, -EIO,
 * -EOVERFLOW (refcounts too narrow), -EBUSY (deleting one that another process runs from; a reservation is open). Not logged, but for damage.
 */
#ifndef BLOCK_QCOW2_SNAPSHOT_H
#define BLOCK_QCOW2_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

struct blk_node;

enum { QCOW2_SNAPSHOT_NAME_MAX = 255, QCOW2_PARENT_MAX = 63 };

struct qcow2_snapshot {
	char *id, *name;
	uint32_t date_s, date_ns;
	uint64_t vm_clock_ns;
	uint64_t vm_state_bytes;
	uint64_t disk_bytes;
	uint64_t icount; /* UINT64_MAX: none */
	char parent[QCOW2_PARENT_MAX +
		    1]; /* id of the snapshot it was made on, "" when not recorded */
	uint64_t l1_off;
	uint32_t l1_entries;
};

/* The table of snapshots, oldest first; qcow2_snapshots_free() when done. */
int qcow2_co_snapshots(struct blk_node *n, struct qcow2_snapshot **v, uint32_t *count);
void qcow2_snapshots_free(struct qcow2_snapshot *v, uint32_t count);
/* The length of the table in the file. */
int qcow2_co_snapshot_table_bytes(struct blk_node *n, uint64_t *bytes);

/* Whether some snapshot has the disk's present contents. Just opened: nothing is cached. */
int qcow2_co_disk_is_saved(struct blk_node *n, bool *saved);
/* The same of the one called @name alone; false where there is none. */
int qcow2_co_disk_is_snapshot(struct blk_node *n, const char *name, bool *is);

/* VM state that is in the file already: whole clusters, reserved or another snapshot's. */
struct qcow2_vm_extent {
	uint64_t vm_off; /* from the beginning of the VM state */
	uint64_t host_off;
	uint64_t bytes;
};

struct qcow2_snapshot_new {
	const char *name;
	const char *parent; /* or NULL */
	uint32_t date_s, date_ns;
	uint64_t vm_clock_ns;
	uint64_t vm_state_bytes;
	const struct qcow2_vm_extent *extents; /* ascending vm_off */
	uint32_t n_extents;
};

/* Publishes a snapshot of the disk as it is now, with the VM state given. */
int qcow2_co_snapshot_create(struct blk_node *n, const struct qcow2_snapshot_new *s);
/* The disk becomes what it was; its size too. */
int qcow2_co_snapshot_apply(struct blk_node *n, const char *id_or_name);
int qcow2_co_snapshot_delete(struct blk_node *n, const char *id_or_name);
int qcow2_co_snapshot_rename(struct blk_node *n, const char *id_or_name, const char *name);

/*
 * For an image that was opened without a lock: whether it still has the snapshot table that its header named then, so that what
 * reads snapshots reads those of now. False, too, when it cannot be read.
 */
bool qcow2_co_snapshots_are_current(struct blk_node *n);

/* Shows the disk as it was in the snapshot with this id or name; read-only from now on. */
int qcow2_co_view_snapshot(struct blk_node *n, const char *id_or_name);

/*
 * Where the VM state of a snapshot is in the file: runs of host clusters, for mmap. Zero clusters and
 * unallocated ones are left out. @v to free.
 */
int qcow2_co_vm_extents(struct blk_node *n, const char *id_or_name, struct qcow2_vm_extent **v,
			uint32_t *count);

/*
 * Reads VM state, [vm_off, vm_off + len), by the extents of it; what is in none of them is zeroes. Both are
 * multiples of 512.
 */
int qcow2_co_vm_read(struct blk_node *n, const struct qcow2_vm_extent *v, uint32_t count, void *buf,
		     uint64_t len, uint64_t vm_off);

/* Writes into the open reservation (qcow2_co_reserve), at the file's own offset; multiples of 512. -> -EINVAL outside of it. */
int qcow2_co_vm_write(struct blk_node *n, const void *buf, uint64_t bytes, uint64_t host_off);

/* The descriptor of the file that the extents are in, the node's; -1 where it is no plain file. */
int qcow2_vm_fd(const struct blk_node *n);

/*
 * A run of clusters for VM state that somebody else is going to write (a child process), in memory
 * only: nothing on disk says so until qcow2_co_snapshot_create() names them. *host_off: their place.
 * One reservation at a time; given up with @bytes 0 or by a create.
 */
int qcow2_co_reserve(struct blk_node *n, uint64_t bytes, uint64_t *host_off);

#endif
