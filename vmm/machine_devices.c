/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices a machine has, and where they are. */
/*
 * Names and PCI slots are part of what a snapshot is restored by, so they never change: a new kind of
 * device gets a new slot. Devices that come in numbers have the last ones.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "devices/block/block.h"
#include "devices/pci/pci.h"
#include "devices/platform/acpi_pm.h"
#include "devices/platform/event_dev.h"
#include "devices/platform/fw_cfg.h"
#include "devices/platform/mc146818.h"
#include "devices/platform/ns16550.h"
#include "devices/platform/reset_port.h"
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_console.h"
#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_rng.h"
#include "devices/virtio/virtio_scsi.h"
#include "guest-kit/agent/frame.h"
#include "vmm/agent/agent.h"
#include "vmm/backends.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/machine_priv.h"
#include "vmm/x86/layout.h"

enum slot {
	SLOT_NET = 1,
	SLOT_CHANNELS = 2,
	SLOT_RNG = 3,
	SLOT_CDROM = MACHINE_SLOT_CDROM,
	SLOT_DISK = MACHINE_SLOT_DISK,		  /* and up, CONFIG_DISKS_MAX of them */
	SLOT_SEED = SLOT_DISK + CONFIG_DISKS_MAX, /* behind them, so that the first is /dev/vda */
};

static const char *const disk_names[CONFIG_DISKS_MAX] = {
	"disk0", "disk1", "disk2",  "disk3",  "disk4",	"disk5",  "disk6",  "disk7",
	"disk8", "disk9", "disk10", "disk11", "disk12", "disk13", "disk14", "disk15",
};

static int add(struct machine *m, const struct device_ops *ops, const char *name, const void *cfg,
	       struct device **out)
{
	struct device *d;
	struct state_node node = { .fdt = NULL };
	const struct state_node *from = m->from.fdt ? &node : NULL;
	int err = from ? state_child(m->from, name, &node) : 0;
	if (err)
		log_error("the snapshot has no device '%s': start the machine with the options of "
			  "then "
			  "(--net, --disk, --cdrom, --channel, --agent, --cloud-init)",
			  name);
	err = err ? err : ops->create(&m->env, name, cfg, from, &d);
	if (err)
		return err;
	m->devices[m->ndevices++] = d;
	if (out)
		*out = d;
	return 0;
}

static int map_rom(void *opaque, uint64_t gpa, void *hva, uint64_t len_bytes, bool on)
{
	struct machine *m = opaque;
	return kvm_map_rom(&m->kvm, gpa, hva, len_bytes, on);
}

static int add_platform(struct machine *m)
{
	const struct event_dev_config event = { .gpa = X86_EVENT_DEV_BASE,
						.gsi = X86_EVENT_DEV_IRQ };
	uint64_t low = MIN(m->cfg->mem_bytes, X86_LOW_RAM_MAX);
	const struct mc146818_config rtc = { .port = X86_RTC_PORT,
					     .gsi = X86_RTC_IRQ,
					     .low_ram_bytes = m->bios ? low : 0,
					     .high_ram_bytes = m->cfg->mem_bytes - low };
	/* With the ports of PCI configuration, the reset control register is theirs. */
	const struct reset_port_config reset = { .port = X86_KEYBOARD_PORT,
						 .control_port = m->bios ? 0 : X86_RESET_PORT };
	const struct ns16550_config uart = { .port = X86_UART_PORT,
					     .gsi = X86_UART_IRQ,
					     .chardev = m->hosts->console,
					     .eager = m->bios };
	int err = add(m, &event_dev_ops, "event-dev", &event, &m->event_dev);
	err = err ? err : add(m, &mc146818_ops, "rtc", &rtc, NULL);
	err = err ? err : add(m, &reset_port_ops, "reset-port", &reset, NULL);
	return err ? err : add(m, &ns16550_ops, "uart", &uart, NULL);
}

/* What a BIOS needs beside what every machine has. */
static int add_bios(struct machine *m)
{
	const struct fw_cfg_config files = { .port = X86_FW_CFG_PORT,
					     .ncpus = (uint16_t)m->cfg->cpus };
	const struct acpi_pm_config pm = { .port = X86_PM_PORT };
	if (!m->bios)
		return 0;
	int err = add(m, &fw_cfg_ops, "fw-cfg", &files, &m->fw_cfg);
	return err ? err : add(m, &acpi_pm_ops, "acpi-pm", &pm, NULL);
}

static int make_ecam(struct machine *m)
{
	if (m->ecam)
		return 0;
	void *p = mmap(NULL, PCI_ECAM_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	m->ecam = p == MAP_FAILED ? NULL : p;
	return m->ecam ? 0 : -errno;
}

static int add_pci_host(struct machine *m)
{
	int err = make_ecam(m);
	if (err)
		return err;
	const struct pci_host_config cfg = {
		.ecam_base = X86_PCI_ECAM_BASE,
		.mmio_base = X86_PCI_MMIO_BASE,
		.mmio_len_bytes = X86_PCI_MMIO_LEN,
		.config_port = m->bios ? X86_PCI_CONFIG_PORT : 0,
		.map_rom = map_rom,
		.map_opaque = m,
		.ecam = m->ecam,
	};
	struct device *host;
	err = add(m, &pci_host_device, "pci", &cfg, &host);
	if (!err)
		m->env.pci = pci_host_of(host);
	return err;
}

static int add_disks(struct machine *m)
{
	int err = 0;
	for (unsigned int i = 0; i < m->hosts->ndisks && !err; i++) {
		const struct virtio_blk_config cfg = {
			.pci_slot = (uint8_t)(SLOT_DISK + i),
			.node = m->hosts->disks[i],
			.serial = disk_names[i],
			.num_queues = (uint16_t)MIN(m->cfg->cpus, 4U),
			.on_error = m->cfg->disks[i].on_error,
			.stopped = machine_disk_stopped,
			.stopped_opaque = m,
		};
		err = add(m, &virtio_blk_device, disk_names[i], &cfg, NULL);
	}
	return err;
}

static int add_seed(struct machine *m)
{
	const struct virtio_blk_config cfg = {
		.pci_slot = SLOT_SEED,
		.node = m->hosts->seed,
		.serial = "cloud-init",
	};
	return m->hosts->seed ? add(m, &virtio_blk_device, "seed", &cfg, NULL) : 0;
}

enum { PORT_FIRST = 1 };

/* Port 0 is a console by the device's rules; nobody listens there, as the console is the UART's. */
static int add_channels(struct machine *m)
{
	unsigned int n = PORT_FIRST;
	struct virtio_console_config cfg = { .pci_slot = SLOT_CHANNELS };
	if (m->hosts->agent)
		cfg.ports[n++] = (struct virtio_console_port){ AGENT_PORT_NAME,
							       agent_chardev(m->hosts->agent) };
	for (unsigned int i = 0; i < m->cfg->nchannels; i++)
		cfg.ports[n++] = (struct virtio_console_port){ m->cfg->channels[i].name,
							       m->hosts->channels[i] };
	if (n == PORT_FIRST)
		return 0;
	cfg.nports = n;
	return add(m, &virtio_console_device, "channels", &cfg, NULL);
}

static int add_others(struct machine *m)
{
	const struct virtio_rng_config rng = { .pci_slot = SLOT_RNG };
	const struct virtio_net_config net = { .pci_slot = SLOT_NET, .backend = m->hosts->net };
	const struct virtio_scsi_config cdrom = { .pci_slot = SLOT_CDROM,
						  .medium = m->hosts->cdrom };
	int err = m->hosts->net ? add(m, &virtio_net_device, "net0", &net, NULL) : 0;
	if (!err && m->hosts->cdrom)
		err = add(m, &virtio_scsi_device, "cdrom0", &cdrom, NULL);
	err = err ? err : add_channels(m);
	return err ? err : add(m, &virtio_rng_device, "rng0", &rng, NULL);
}

enum exit_status machine_create_devices(struct machine *m)
{
	struct state_node files;
	if (m->from.fdt) /* what it was is what it will be */
		m->bios = !state_child(m->from, "fw-cfg", &files);
	int err = add_platform(m);
	err = err ? err : add_bios(m);
	err = err ? err : add_pci_host(m);
	err = err ? err : add_disks(m);
	err = err ? err : add_seed(m);
	err = err ? err : add_others(m);
	return err ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}

void machine_destroy_devices(struct machine *m)
{
	/* The last one first: functions leave the bus before the bus goes. */
	while (m->ndevices) {
		struct device *d = m->devices[--m->ndevices];
		d->ops->destroy(d);
	}
}

void machine_power_button(struct machine *m)
{
	atomic_store(&m->reboot, false);
	event_dev_power_button(m->event_dev);
}

void machine_reboot(struct machine *m)
{
	atomic_store(&m->reboot, true); /* first: the guest may be quick */
	event_dev_power_button(m->event_dev);
}

unsigned int machine_resets(const struct machine *m)
{
	return m->resets;
}

const char *machine_snapshot_id(const struct machine *m)
{
	return m->snapshot_id;
}
