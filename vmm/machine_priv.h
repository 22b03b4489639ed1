/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the machine, for its own files: machine*.c and snapshot*.c. */
#ifndef VMM_MACHINE_PRIV_H
#define VMM_MACHINE_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>

#include "devices/device.h"
#include "vmm/base/list.h"
#include "vmm/config.h"
#include "vmm/core/loop.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine.h"
#include "vmm/snapshot/snapshot_ram.h"
#include "vmm/x86/ram.h"

enum {
	MACHINE_DEVICES_MAX = 32,
	MACHINE_SLOT_CDROM = 4, /* on PCI */
	MACHINE_SLOT_DISK = 8,	/* and up: one for each disk */
};

struct image_boot;

/* Why machine_run()'s loop was stopped; a later wish does not replace an earlier one. */
enum machine_wish { WISH_NONE, WISH_POWER_OFF, WISH_RESET, WISH_QUIT, WISH_DEAD };

struct machine {
	const struct machine_config *cfg;
	struct backends *hosts;

	struct kvm kvm;
	struct kvm_irqs *irqs;
	struct x86_ram ram;
	void *ecam; /* PCI_ECAM_BYTES: what the guest sees of PCI configuration space, whichever host fills it */
	struct bus *pio;
	struct bus *mmio;
	struct vcpus *vcpus;
	/* Registers of vCPUs and chips before the first run: a reset loads them. */
	struct state_writer *cold;
	struct state_node cold_root;

	struct device_env env;
	struct device *devices[MACHINE_DEVICES_MAX]; /* in order of creation */
	unsigned int ndevices;
	struct device *event_dev;
	bool image_has_cloud_init; /* machine_choose_firmware() has seen it */
	struct device *fw_cfg;	   /* with a BIOS */

	bool bios;		   /* starts the guest, and not we */
	struct image_boot *kernel; /* for the first boot, where it was found before that; or NULL */

	unsigned int busy; /* devices that are on their way to quiet */
	bool quiet;

	bool going;	       /* vCPUs run, devices work */
	bool paused;	       /* by the user */
	struct list tasks;     /* of struct machine_task: for the next stop */
	struct list listeners; /* of struct machine_listener */

	struct state_node from;	    /* while devices are made: their saved nodes; .fdt NULL: cold */
	struct snapshot_ram origin; /* of RAM's contents */
	char snapshot_id[SNAPSHOT_ID_MAX +
			 1];	  /* that it comes from, the parent of the next; or "" */
	struct snapshot_job *job; /* a save, revert or deletion under way, or NULL */
	bool job_ended;		  /* since it began */

	bool up;		    /* machine_run() wants the vCPUs to run */
	unsigned int stopped_disks; /* and these do not: machine_hold.c */
	bool disk_waits;	    /* and it has been told */
	bool vcpus_on;
	struct loop_task hold;
	struct loop_timer settle; /* machine_settle.c */

	_Atomic(enum machine_wish) wish;
	atomic_bool reboot;	      /* the guest was asked to power off in order to boot again */
	unsigned int resets;	      /* since the process began */
	enum exit_status quit_status; /* with WISH_QUIT */
};

/* Work for a moment when vCPUs are paused and devices quiet: between two runs of the loop. */
struct machine_task {
	void (*fn)(void *opaque);
	void *opaque;
	struct list link;
};

/* machine.c. Loop thread; @t stays the caller's and is not queued already. */
void machine_when_stopped(struct machine *m, struct machine_task *t);
/* Notes what vCPUs and chips are now as what a reset leads back to. Before the first run. */
int machine_save_cold(struct machine *m);

/* machine_state.c. Stopped. -> 0 or -errno, logged. */
int machine_save_processor(struct machine *m, struct state_writer *w);
int machine_load_processor(struct machine *m, struct state_node root);
void machine_save_devices(struct machine *m, struct state_writer *w);
/* Whether the saved devices are the machine's, by name and version. */
int machine_check_devices(const struct machine *m, struct state_node root);
/* Creates all devices with their saved state. */
enum exit_status machine_load_devices(struct machine *m, struct state_node root);

/* machine_settle.c: RAM has just become a snapshot's: it has small pages for a second. */
void machine_settle(struct machine *m);

/* snapshot_load.c: the first state of a machine with a configuration that says --from. */
enum exit_status machine_start_from(struct machine *m);
/* snapshot_save.c: deletes what a save that was cut off left in the image. Before the first run. */
void machine_snapshot_clean(struct machine *m);
/* snapshot_job.c: the machine ends: no snapshot job is under way any more. Devices are quiet. */
void machine_snapshot_end(struct machine *m, bool hurry);

/* machine_devices.c: all devices, in the order that their slots and names are promised in. */
enum exit_status machine_create_devices(struct machine *m);
void machine_destroy_devices(struct machine *m);

/*
 * machine_boot.c: who starts the guest, m->bios, before its devices are made: a machine with a BIOS has more of them. May run
 * the loop (it reads the disk).
 */
enum exit_status machine_choose_firmware(struct machine *m);
/* The kernel that was found for that; fine where there is none. */
void machine_forget_kernel(struct machine *m);

/* machine_bios.c: instead of a kernel: the BIOS, its files and the first registers. @smbios as smbios_build() has it. */
enum exit_status machine_load_bios(struct machine *m, const uint8_t *smbios, size_t smbios_bytes);

/* machine_boot.c: an identifier that no other life of this guest has had, where the guest looks for it. -> 0, -errno. */
int machine_new_generation(struct machine *m);

/*
 * machine_hold.c: a disk that waits for room on the host holds the vCPUs. They run while the machine is up and
 * no disk holds them. Loop thread, no device's lock held.
 */
void machine_hold_init(struct machine *m);
void machine_set_up(struct machine *m, bool up);
/* For struct virtio_blk_config: @opaque is the machine. The device's lock may be held. */
void machine_disk_stopped(void *opaque, bool on);
/* Waits no longer: the machine ends or is reset, and requests that cannot be done fail. Any thread. */
void machine_give_up_disks(struct machine *m);

/* machine_boot.c: firmware tables, kernel and first registers into a machine as after reset. May run the loop
 * (it reads the disk). */
enum exit_status machine_load_boot(struct machine *m);

#endif
