/* SPDX-License-Identifier: Apache-2.0 */
/* The front of a snapshot from the stopped machine. */
#include "vmm/snapshot/snapshot_state.h"

#include <errno.h>

#include "vmm/backends.h"
#include "vmm/machine_priv.h"
#include "vmm/snapshot/snapshot_head.h"
#include "vmm/x86/cpuid.h"

static int put_all(struct machine *m, const struct snapshot_state_config *cfg,
		   struct state_writer *w)
{
	state_begin(w, "", SNAPSHOT_COMPATIBLE);
	state_put_str(w, "writer", "charmvm " CHARMVM_VERSION);
	state_put_str(w, "note", cfg->note);
	state_put_u64(w, "time-s", cfg->time_s);
	state_put_str(w, "arch", "x86-64");
	state_put_u64(w, "mem-bytes", m->ram.len_bytes);
	state_put_u32(w, "cpus", m->cfg->cpus);
	state_put_u32(w, "ram-unit", cfg->ram_unit);
	state_put_u64(w, "ram-units", cfg->ram_units);
	state_put_u64(w, "disk-bytes", cfg->disk_bytes);
	state_put_str(w, "host-key", m->hosts->keys_name);
	if (m->cfg->nobodys)
		state_put_u32(w, "unclaimed", 1);
	machine_save_devices(m, w);
	state_begin(w, "processor", x86_processor_compatible);
	int err = x86_cpuid_save(m->vcpus, w);
	state_end(w);
	err = err ? err : machine_save_processor(m, w);
	state_end(w);
	return err;
}

static void read_clock(const void *tree, size_t bytes, uint64_t *clock_ns)
{
	struct state_node root, chips;
	*clock_ns = 0;
	if (!state_open(tree, bytes, &root) && !state_child(root, "chips", &chips))
		state_get_u64(chips, "clock-ns", clock_ns);
}

int snapshot_state_make(struct machine *m, const struct snapshot_state_config *cfg, uint8_t **front,
			uint64_t *front_bytes, uint64_t *clock_ns)
{
	struct state_writer *w;
	const void *tree;
	size_t bytes;
	int err = state_writer_create(&w);
	if (err)
		return err;
	err = put_all(m, cfg, w);
	err = err ? err : state_finish(w, &tree, &bytes);
	if (!err) {
		*front = snapshot_head_make(tree, bytes, cfg->ram_unit);
		*front_bytes = snapshot_ram_offset(bytes, cfg->ram_unit);
		read_clock(tree, bytes, clock_ns);
		err = *front ? 0 : -ENOMEM;
	}
	state_writer_destroy(w);
	return err;
}
