/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI: one host bridge, one bus, one function in each of 32 slots, no bridges and no INTx.
 *
 * A function's configuration space is 256 bytes of plain memory with a mask of the bits that
 * the guest may write. The pages of all slots lie side by side as ECAM (PCI Express 5.0, 7.2.2)
 * orders them, so that the machine can show them to the guest as read-only memory: reads, nearly
 * all of what a kernel does while it enumerates, then cost no exit at all
 * (pci_host_config.map_rom).
 *
 * There is no firmware that assigns addresses: a BAR starts at a place given by its slot, with
 * decoding off; the guest may size it, move it and switch it on.
 *
 * Locks: the host's device lock is taken before that of the function's device, by the host; a
 * function never calls the host with only its own lock held. Everything up to pci_function_ready()
 * runs before the vCPUs do.
 */
#ifndef PCI_PCI_H
#define PCI_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"
#include "vmm/base/log.h"
#include "vmm/core/bus.h"

enum {
	PCI_SLOTS = 32,
	PCI_CONFIG_BYTES = 256,
	PCI_BARS = 6,
	PCI_ECAM_SLOT_SHIFT = 15,	 /* 8 functions of 4 KiB */
	PCI_ECAM_BYTES = 1 << 20,	 /* one bus */
	PCI_SLOT_WINDOW_BYTES = 1 << 20, /* of the memory window, for the BARs of one slot */
};

struct pci_host;
struct pci_function;

extern const struct device_ops pci_host_device;

/* For pci_host_device.create(). */
struct pci_host_config {
	uint64_t ecam_base; /* PCI_ECAM_BYTES of MMIO */
	uint64_t mmio_base; /* the window of the BARs, PCI_SLOTS * PCI_SLOT_WINDOW_BYTES at least */
	uint64_t mmio_len_bytes;
	/*
	 * 0xcf8: where the ports of configuration mechanism #1 are, with the reset control register
	 * between them; 0: there are none. Linux prefers the ports to ECAM where they exist, at two
	 * exits an access, so a machine that boots a kernel by itself has none.
	 */
	uint16_t config_port;
	/*
	 * Shows [hva, hva+len) to the guest for reading at @gpa; writes still come to the bus. Or
	 * (off) takes it away: every read comes to the bus from now on. -> 0 or -errno (then the
	 * bus serves reads, which is only slower). May be NULL. Any thread.
	 */
	int (*map_rom)(void *opaque, uint64_t gpa, void *hva, uint64_t len_bytes, bool on);
	void *map_opaque;
	/*
	 * PCI_ECAM_BYTES of private anonymous memory to show, the machine's: it stays shown when the host goes, for the
	 * next one to fill, which a revert makes at once. NULL: memory of the host's own, taken away with it.
	 */
	void *ecam;
};

/* The host in a device that pci_host_device created: for device_env.pci of all others. */
struct pci_host *pci_host_of(struct device *d);

/* What tells a driver who we are; the class is 0xCCSSPP: class, subclass, interface. */
struct pci_ids {
	uint16_t vendor;
	uint16_t device;
	uint16_t subsystem_vendor;
	uint16_t subsystem;
	uint32_t class_code;
	uint8_t revision;
};

/* All with the lock of the function's device held; any member may be NULL. */
struct pci_function_ops {
	/* The guest is about to read these bytes of config[]: bring them up to date. */
	void (*config_reading)(struct pci_function *f, unsigned int off, unsigned int size);
	/* It has written there (config[] has the new value, as far as it was writable). */
	void (*config_written)(struct pci_function *f, unsigned int off, unsigned int size);
	/* A BAR answers at bars[bar].range.base from now on / will no longer in a moment. */
	void (*bar_mapped)(struct pci_function *f, unsigned int bar, bool on);
};

struct pci_bar {
	uint32_t len_bytes; /* a power of two; 0: not there */
	struct bus_range range;
};

/* Embedded in the device that it is a face of. */
struct pci_function {
	struct pci_host *host;
	struct device *dev;
	const struct pci_function_ops *ops;
	uint8_t slot;
	uint8_t cap_last;		    /* offset of the last capability, 0: none yet */
	uint8_t cap_end;		    /* where the next one goes */
	uint8_t *config;		    /* PCI_CONFIG_BYTES in the host's ECAM memory */
	uint8_t writable[PCI_CONFIG_BYTES]; /* bits */
	uint8_t cold[PCI_CONFIG_BYTES];	    /* config[] after a reset */
	uint32_t bar_next;		    /* bytes of the slot's window in use */
	struct pci_bar bars[PCI_BARS];
	struct log_limit limit;
};

/* Takes @slot. -> 0, -EINVAL (no such slot), -EEXIST (taken); logged. */
int pci_function_init(struct pci_function *f, struct pci_host *host, unsigned int slot,
		      struct device *dev, const struct pci_function_ops *ops,
		      const struct pci_ids *ids);

/*
 * Adds a capability of @len bytes, all zero but id and next, none of it writable. -> its offset.
 * There is room (asserted): the set is fixed by code.
 */
uint8_t pci_add_capability(struct pci_function *f, uint8_t id, uint8_t len_bytes);

/*
 * Adds a 32-bit memory BAR of @len bytes (a power of two, 16 at least); @read and @write as in
 * struct bus_range, with the lock of the function's device held.
 */
void pci_add_bar(struct pci_function *f, unsigned int index, uint32_t len_bytes,
		 uint64_t (*read)(void *opaque, uint64_t off, unsigned int size),
		 void (*write)(void *opaque, uint64_t off, unsigned int size, uint64_t value),
		 void *opaque);

/*
 * All capabilities and BARs are there: what config[] is now is what it will be after a reset. With
 * @from (the device's node, whose child "pci" it reads) the guest's values are put back and BARs
 * that were on the bus are mapped again. -> 0, -EINVAL, -ENOTSUP; logged.
 */
int pci_function_ready(struct pci_function *f, const struct state_node *from);

/* To the values of pci_function_ready(); BARs off the bus. */
void pci_function_reset(struct pci_function *f);
/* Writes the child "pci" into the device's node. */
void pci_function_save(struct pci_function *f, struct state_writer *w);
/* BARs off the bus, slot free. Fine on a function whose init failed or which is all zero. */
void pci_function_fini(struct pci_function *f);

/*
 * The guest has begun to use a register whose value is made when it is read (virtio's PCI_CFG
 * capability): from now on every read of configuration space asks. Called from config_written.
 */
void pci_function_trap_reads(struct pci_function *f);

/* ---- between pci_host.c and pci_function.c ---- */

/* One access inside config[], size 1, 2 or 4, naturally aligned; locks held. */
uint32_t pci_config_read(struct pci_function *f, unsigned int off, unsigned int size);
void pci_config_write(struct pci_function *f, unsigned int off, unsigned int size, uint32_t value);

/* -> 0 and f->config, or -EEXIST. */
int pci_host_attach(struct pci_host *host, struct pci_function *f);
void pci_host_detach(struct pci_host *host, struct pci_function *f);
/* Where the BARs of a slot start. */
uint64_t pci_host_slot_window(const struct pci_host *host, unsigned int slot);
void pci_host_trap_reads(struct pci_host *host);

#endif
