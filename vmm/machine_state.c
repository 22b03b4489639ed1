/* SPDX-License-Identifier: Apache-2.0 */
/* The machine to and from the state tree: devices, chips, vCPUs. Paused and quiet. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/log.h"
#include "vmm/machine_priv.h"
#include "vmm/x86/chips.h"
#include "vmm/x86/cpu_state.h"

static const char devices_compatible[] = "charmvm,devices-1";

static void cpu_node_name(char name[16], unsigned int i)
{
	snprintf(name, 16, "cpu@%u", i);
}

int machine_save_processor(struct machine *m, struct state_writer *w)
{
	char name[16];
	state_begin(w, "chips", x86_chips_compatible);
	int err = x86_chips_save(&m->kvm, w);
	state_end(w);
	for (unsigned int i = 0; i < m->cfg->cpus && !err; i++) {
		cpu_node_name(name, i);
		state_begin(w, name, x86_cpu_compatible);
		err = x86_cpu_save(&m->kvm, vcpus_fd(m->vcpus, i), w);
		state_end(w);
	}
	return err;
}

int machine_load_processor(struct machine *m, struct state_node root)
{
	struct state_node n;
	char name[16];
	int err = state_child(root, "chips", &n);
	err = err ? err : x86_chips_load(&m->kvm, n);
	for (unsigned int i = 0; i < m->cfg->cpus && !err; i++) {
		cpu_node_name(name, i);
		err = state_child(root, name, &n);
		err = err ? err : x86_cpu_load(&m->kvm, vcpus_fd(m->vcpus, i), n);
	}
	return err;
}

void machine_save_devices(struct machine *m, struct state_writer *w)
{
	state_begin(w, "devices", devices_compatible);
	for (unsigned int i = 0; i < m->ndevices; i++) {
		struct device *d = m->devices[i];
		state_begin(w, d->name, d->ops->compatible);
		d->ops->save(d, w);
		state_end(w);
	}
	state_end(w);
}

static bool has_device(const struct machine *m, const char *name)
{
	for (unsigned int i = 0; i < m->ndevices; i++)
		if (strcmp(m->devices[i]->name, name) == 0)
			return true;
	return false;
}

int machine_check_devices(const struct machine *m, struct state_node root)
{
	struct state_node all, n, it = { .fdt = NULL };
	int err = state_child(root, "devices", &all);
	err = err ? err : state_check(all, devices_compatible);
	for (unsigned int i = 0; i < m->ndevices && !err; i++) {
		err = state_child(all, m->devices[i]->name, &n);
		if (err)
			log_error("the snapshot has no device '%s': a machine with the options of "
				  "then "
				  "(--net, --disk, --cdrom, --channel, --cloud-init) can be what "
				  "it was",
				  m->devices[i]->name);
		err = err ? err : state_check(n, m->devices[i]->ops->compatible);
	}
	while (!err && !state_next_child(all, &it)) {
		if (has_device(m, state_name(it)))
			continue;
		log_error(
			"the snapshot has a device '%s' that this machine lacks: start it with the "
			"options of then (--net, --disk, --cdrom, --channel, --cloud-init)",
			state_name(it));
		err = -ENODEV;
	}
	return err;
}

enum exit_status machine_load_devices(struct machine *m, struct state_node root)
{
	if (state_child(root, "devices", &m->from)) {
		log_error("the snapshot's devices are missing: it is damaged");
		return EXIT_STATUS_FILE;
	}
	enum exit_status status = machine_create_devices(m);
	m->from = (struct state_node){ .fdt = NULL };
	return status;
}
