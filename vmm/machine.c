/* SPDX-License-Identifier: Apache-2.0 */
/* The machine and its run state. */
#include "vmm/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "devices/pci/pci.h"
#include "vmm/agent/agent.h"
#include "vmm/backends.h"
#include "vmm/base/log.h"
#include "firmware/image_boot.h"
#include "vmm/cloud_init.h"
#include "vmm/core/bus.h"
#include "vmm/core/loop.h"
#include "vmm/machine_event.h"
#include "vmm/machine_priv.h"
#include "vmm/x86/chips.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/layout.h"

/* ---- wishes: what a guest, a user or a signal asks for; any thread ---- */

static void wish(struct machine *m, enum machine_wish w)
{
	enum machine_wish none = WISH_NONE;
	if (atomic_compare_exchange_strong(&m->wish, &none, w))
		loop_stop(m->hosts->loop);
}

static void wish_power_off(void *opaque)
{
	struct machine *m = opaque;
	wish(m, atomic_exchange(&m->reboot, false) ? WISH_RESET : WISH_POWER_OFF);
}

static void wish_reset(void *opaque)
{
	wish(opaque, WISH_RESET);
}

static void on_vcpu_event(void *opaque, enum vcpu_event ev)
{
	wish(opaque, ev == VCPU_EVENT_RESET ? WISH_RESET : WISH_DEAD);
}

void machine_reset(struct machine *m)
{
	wish(m, WISH_RESET);
}

void machine_quit(struct machine *m, enum exit_status status)
{
	/* Quitting overrides what was wished for before: it is the user's last word. */
	m->quit_status = status;
	atomic_store(&m->wish, WISH_QUIT);
	machine_give_up_disks(m);
	loop_stop(m->hosts->loop);
}

/* ---- quiet: nothing in flight, so that a reset or the end finds nothing half done ---- */

static void on_device_quiet(void *opaque, struct device *d)
{
	struct machine *m = opaque;
	(void)d;
	if (!--m->busy)
		m->quiet = true;
}

static int quiesce(struct machine *m)
{
	m->quiet = false;
	m->busy = 1; /* this function's own, so that none is the last before all were asked */
	for (unsigned int i = 0; i < m->ndevices; i++)
		if (m->devices[i]->ops->quiesce(m->devices[i]) == -EBUSY)
			m->busy++;
	on_device_quiet(m, NULL);
	return loop_run_until(m->hosts->loop, &m->quiet);
}

/* Stopped: vCPUs paused, devices quiet. What ends or resets the machine does not wait for a disk that waits for
 * room; whoever only wants it to stand still does. A machine that the user has paused stays so in the loop. */
static int stop(struct machine *m)
{
	if (!m->going)
		return 0;
	m->going = false;
	machine_set_up(m, false);
	if (atomic_load(&m->wish) != WISH_NONE)
		machine_give_up_disks(m);
	return quiesce(m);
}

static void go(struct machine *m)
{
	if (m->paused)
		return;
	for (unsigned int i = 0; i < m->ndevices; i++)
		m->devices[i]->ops->resume(m->devices[i]);
	machine_set_up(m, true);
	m->going = true;
}

/* @on: whether it is to be; what it is already is no news. */
static void set_paused(struct machine *m, bool on)
{
	if (m->paused != on)
		machine_tell(m, on ? "paused" : "resumed", NULL);
	m->paused = on;
	loop_stop(m->hosts->loop);
}

void machine_pause(struct machine *m)
{
	set_paused(m, true);
}

void machine_resume(struct machine *m)
{
	set_paused(m, false);
}

bool machine_paused(const struct machine *m)
{
	return m->paused;
}

void machine_when_stopped(struct machine *m, struct machine_task *t)
{
	list_add_tail(&m->tasks, &t->link);
	loop_stop(m->hosts->loop);
}

/* What was asked for meanwhile waits for the next stop. */
static void serve_tasks(struct machine *m)
{
	struct list now;
	list_init(&now);
	list_splice_tail(&now, &m->tasks);
	while (!list_empty(&now)) {
		struct machine_task *t = list_first(&now, struct machine_task, link);
		list_del(&t->link);
		t->fn(t->opaque);
	}
}

/* ---- cold: how vCPUs and chips are before the first run ---- */

int machine_save_cold(struct machine *m)
{
	const void *blob;
	size_t len;
	int err = state_writer_create(&m->cold);
	if (err)
		return err;
	state_begin(m->cold, "", "charmvm,cold-1");
	err = machine_save_processor(m, m->cold);
	state_end(m->cold);
	err = err ? err : state_finish(m->cold, &blob, &len);
	return err ? err : state_open(blob, len, &m->cold_root);
}

/* Quiet and paused: back to the first instruction, as after switching on. */
static enum exit_status reset(struct machine *m)
{
	log_info("reset");
	atomic_store(&m->reboot, false);
	m->resets++;
	machine_tell(m, "reset", NULL);
	for (unsigned int i = 0; i < m->ndevices; i++)
		m->devices[i]->ops->reset(m->devices[i]);
	agent_guest_reset(m->hosts->agent);
	snapshot_ram_forget(&m->origin);
	if (x86_ram_clear(&m->ram) || machine_load_processor(m, m->cold_root))
		return EXIT_STATUS_FAILED;
	return machine_load_boot(m);
}

/* ---- the run state ---- */

/* Stopped, and something was wished for. True: the machine goes on; false: it ends with *status. */
static bool serve_wish(struct machine *m, enum exit_status *status)
{
	switch (atomic_load(&m->wish)) {
	case WISH_POWER_OFF: *status = EXIT_STATUS_OK; return false;
	case WISH_QUIT: *status = m->quit_status; return false;
	case WISH_DEAD: *status = EXIT_STATUS_GUEST_DIED; return false;
	case WISH_NONE: return true;
	case WISH_RESET: break;
	}
	/* Cleared before the reset and by comparison: a quit may come at any moment. */
	enum machine_wish served = WISH_RESET;
	if (!atomic_compare_exchange_strong(&m->wish, &served, WISH_NONE))
		return serve_wish(m, status);
	*status = reset(m);
	return !*status;
}

static enum exit_status run(struct machine *m)
{
	enum exit_status status;
	do {
		serve_tasks(m);
		if (atomic_load(&m->wish) == WISH_NONE) {
			go(m);
			int err = loop_run(m->hosts->loop);
			err = err ? err : stop(m);
			if (err) {
				log_error("the event loop failed: %s", strerror(-err));
				return EXIT_STATUS_FAILED;
			}
		}
	} while (serve_wish(m, &status));
	return status;
}

enum exit_status machine_run(struct machine *m)
{
	enum exit_status status = run(m);
	stop(m);
	/* A save under way is finished, or undone where the user is in a hurry; what waits is told the end. */
	machine_snapshot_end(m, atomic_load(&m->wish) == WISH_QUIT);
	return status;
}

/* ---- life ---- */

static int create_processor(struct machine *m)
{
	int err = x86_ram_create(&m->ram, m->cfg->mem_bytes);
	err = err ? err : kvm_map_ram(&m->kvm, &m->ram.mem);
	err = err ? err : x86_chips_create(&m->kvm, &m->irqs);
	err = err ? err : bus_create(&m->pio);
	err = err ? err : bus_create(&m->mmio);
	struct vcpus_config vcpus = {
		.kvm = &m->kvm,
		.count = m->cfg->cpus,
		.pio = m->pio,
		.mmio = m->mmio,
		.index_port = X86_RTC_PORT,
		.event = on_vcpu_event,
		.opaque = m,
	};
	return err ? err : vcpus_create(&vcpus, &m->vcpus);
}

static void lend_to_devices(struct machine *m)
{
	m->env = (struct device_env){
		.loop = m->hosts->loop,
		.mem = &m->ram.mem,
		.pio = m->pio,
		.mmio = m->mmio,
		.irq = kvm_irqs_chip(m->irqs),
		.notify = kvm_irqs_notifier(m->irqs),
		.power_off = wish_power_off,
		.reset = wish_reset,
		.power_opaque = m,
		.quiet = on_device_quiet,
		.quiet_opaque = m,
	};
}

/* A snapshot's machine has what it had: snapshot_configure() has said so. An imported one has a login already. */
static enum exit_status add_seed(struct machine *m)
{
	bool by_itself =
		!m->kernel && m->hosts->ndisks && m->cfg->image; /* by a BIOS, or --kernel */
	bool has_use = m->cfg->cloud_init == CLOUD_INIT_AUTO && !*m->hosts->record.box &&
		       (m->image_has_cloud_init ||
			(by_itself && image_boot_has_cloud_init(m->hosts->disks[0])));
	bool asked = m->cfg->cloud_init == CLOUD_INIT_AUTO && m->cfg->user_data;
	if (asked && !has_use)
		log_warn("--user-data %s: no cloud-init was found in the image, and nothing else "
			 "reads it",
			 m->cfg->user_data);
	if (m->cfg->cloud_init == CLOUD_INIT_ON || asked || has_use)
		return cloud_init_attach(m->hosts, m->cfg->user_data);
	return EXIT_STATUS_OK;
}

static enum exit_status create_cold(struct machine *m)
{
	x86_ram_huge_pages(&m->ram, true);
	if (x86_cpuid_apply(&m->kvm, m->vcpus, m->cfg->cpu) || machine_save_cold(m))
		return EXIT_STATUS_FAILED;
	/* What is in the image decides which devices there are. */
	enum exit_status status = machine_choose_firmware(m);
	status = status ? status : add_seed(m);
	status = status ? status : machine_create_devices(m);
	return status ? status : machine_load_boot(m);
}

static enum exit_status create(struct machine *m)
{
	if (kvm_open(&m->kvm))
		return EXIT_STATUS_KVM;
	if (create_processor(m))
		return EXIT_STATUS_FAILED;
	lend_to_devices(m);
	machine_snapshot_clean(m);
	if (!m->cfg->from)
		return create_cold(m);
	enum exit_status status = add_seed(m);
	return status ? status : machine_start_from(m);
}

enum exit_status machine_create(const struct machine_config *cfg, struct backends *hosts,
				struct machine **out)
{
	struct machine *m = calloc(1, sizeof(*m));
	if (!m) {
		log_error("out of memory");
		return EXIT_STATUS_FAILED;
	}
	m->cfg = cfg;
	m->hosts = hosts;
	list_init(&m->tasks);
	list_init(&m->listeners);
	machine_hold_init(m);
	enum exit_status status = create(m);
	if (status) {
		machine_destroy(m);
		return status;
	}
	*out = m;
	return EXIT_STATUS_OK;
}

void machine_destroy(struct machine *m)
{
	if (!m)
		return;
	machine_destroy_devices(m);
	machine_forget_kernel(m);
	loop_task_cancel(m->hosts->loop, &m->hold);
	loop_timer_disarm(m->hosts->loop, &m->settle);
	vcpus_destroy(m->vcpus);
	kvm_irqs_destroy(m->irqs);
	bus_destroy(m->pio);
	bus_destroy(m->mmio);
	state_writer_destroy(m->cold);
	if (m->kvm.dev_fd > 0)
		kvm_close(&m->kvm);
	snapshot_ram_forget(&m->origin);
	x86_ram_destroy(&m->ram);
	if (m->ecam)
		munmap(m->ecam, PCI_ECAM_BYTES);
	free(m);
}
