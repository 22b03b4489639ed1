/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM and the image: which parts of RAM are stored where, what has been written since, and RAM as a private
 * mapping of the image. The vCPUs are paused and the devices quiet in all of it.
 *
 * RAM is looked at in units: a cluster of the image, a page at least.
 */
#ifndef VMM_SNAPSHOT_RAM_H
#define VMM_SNAPSHOT_RAM_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/snapshot/snapshot_head.h"
#include "vmm/x86/ram.h"

/* What is known of where RAM's contents are in the image. Part of the machine; zeroed at first. */
struct snapshot_ram {
	uint32_t unit;
	uint64_t n_units;
	/* For each unit, where what its unwritten pages show is in the image; 0: nowhere, zeroes. NULL: RAM is no
	 * mapping of the image. */
	uint64_t *mapped;
	bool some_read; /* what could not be mapped was read: dropping it does not bring it back */
	char mapped_id[SNAPSHOT_ID_MAX + 1];
	/* For each unit, where it was saved last; it holds where no page is soft-dirty since. NULL: not known. */
	uint64_t *saved;
	char saved_id[SNAPSHOT_ID_MAX + 1];
};

/* What of RAM a save writes, and where everything is once it has. */
struct snapshot_plan {
	uint32_t unit;
	uint64_t n_units;
	uint64_t *host; /* for each unit, where it is in the image; 0: nowhere, zeroes */
	bool *write;	/* for each: it is to be written there */
	uint64_t n_write;
	uint64_t n_stored; /* with a place: written or shared */
};

/* -> 0 or -ENOMEM; snapshot_plan_free() in either case. */
int snapshot_plan_make(const struct snapshot_ram *r, const struct x86_ram *ram, uint32_t unit,
		       struct snapshot_plan *p);
void snapshot_plan_free(struct snapshot_plan *p);
/* What is to be written comes in a row from @host_off on. */
void snapshot_plan_place(struct snapshot_plan *p, uint64_t host_off);
/* The VM state as extents: @front_bytes at @front_host, RAM behind. *v to free(). -> 0 or -ENOMEM. */
int snapshot_plan_extents(const struct snapshot_plan *p, uint64_t front_host, uint64_t front_bytes,
			  struct qcow2_vm_extent **v, uint32_t *n);

/*
 * From now on what is written is noted, so that the next save knows. False: this host cannot, and the next save
 * writes everything.
 */
bool snapshot_ram_track(struct snapshot_ram *r);
/* The plan's places, taken over, are those of the saved snapshot @id. */
void snapshot_ram_saved(struct snapshot_ram *r, struct snapshot_plan *p, const char *id);
void snapshot_ram_forget_saved(struct snapshot_ram *r);

/* Whether a snapshot's extents are RAM of @mem_bytes, all of it in the file @n. -> 0, -EINVAL. */
int snapshot_ram_check(struct blk_node *n, const struct snapshot *s, uint64_t mem_bytes);
/* RAM, which nobody has written to, becomes that of the snapshot, checked; what cannot be mapped is read. No loop
 * runs. -> 0 or -errno. */
int snapshot_ram_restore(struct snapshot_ram *r, struct x86_ram *ram, struct blk_node *n,
			 const struct snapshot *s);
/* The same for RAM of a machine that has run. */
int snapshot_ram_revert(struct snapshot_ram *r, struct x86_ram *ram, struct blk_node *n,
			const struct snapshot *s);
/* All of RAM becomes memory of our own: the image's clusters are no longer needed. -> 0 or -ENOMEM. */
int snapshot_ram_detach(struct snapshot_ram *r, struct x86_ram *ram);
/* RAM was cleared: it has nothing of the image any more. Also the end of it. */
void snapshot_ram_forget(struct snapshot_ram *r);

#endif
