/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side: a guest with RAM, buses, a fake interrupt chip and a fake notifier, and in it a
 * driver that finds a virtio device on the PCI bus and works its registers and rings as a kernel
 * would, or as one would that means harm.
 */
#ifndef TESTS_VIRTIO_DRIVER_H
#define TESTS_VIRTIO_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_ring.h>

#include "devices/device.h"
#include "vmm/core/bus.h"
#include "vmm/core/guestmem.h"
#include "vmm/core/irq.h"
#include "vmm/core/loop.h"
#include "vmm/core/notify.h"

enum { GUEST_RAM_BYTES = 4 << 20, GUEST_ROUTES = 80, GUEST_DOORBELLS = 80, DRIVER_QUEUES = 16 };
#define GUEST_ECAM UINT64_C(0xe0000000)
#define GUEST_MMIO UINT64_C(0xc0000000)

struct fake_route {
	int fd;
	uint64_t addr;
	uint32_t data;
	bool used, unmasked;
};

struct fake_doorbell {
	uint64_t gpa;
	int fd;
};

struct guest {
	struct loop *loop;
	struct guestmem mem;
	uint8_t *ram;
	uint64_t brk; /* RAM handed out so far */
	struct device_env env;
	struct device *host;

	struct irqchip chip;
	struct fake_route routes[GUEST_ROUTES];
	unsigned int msi_sets;

	struct notifier notifier;
	bool no_doorbells; /* the notifier refuses */
	struct fake_doorbell doorbells[GUEST_DOORBELLS];
	unsigned int ndoorbells;

	bool config_is_memory; /* the host lets the guest read configuration space by itself */
	unsigned int quiet_calls, resets;
};

/* A device on the guest's bus 0, as the driver knows it. */
struct driver {
	struct guest *g;
	unsigned int slot;
	uint64_t bar, common, isr, device, notify;
	uint32_t notify_multiplier;
	uint8_t pci_cfg_cap, msix_cap;
	uint64_t msix_table;
	unsigned int nvectors;
	uint64_t features;
	struct driver_queue {
		uint16_t size, next_desc, next_avail, next_used;
		uint64_t desc, avail, used;
	} q[DRIVER_QUEUES];
};

/* A buffer of a chain. */
struct buf {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

void guest_init(struct guest *g);
/* Devices are gone. */
void guest_fini(struct guest *g);
/* RAM that nobody else has, zeroed. */
uint64_t guest_alloc(struct guest *g, uint64_t len_bytes, uint64_t align);
void *guest_ptr(struct guest *g, uint64_t gpa);
/* Lets the loop do what there is to do. */
void guest_run(struct guest *g);
uint64_t mmio_read(struct guest *g, uint64_t gpa, unsigned int size);
void mmio_write(struct guest *g, uint64_t gpa, unsigned int size, uint64_t value);
uint32_t config_read(struct guest *g, unsigned int slot, unsigned int off, unsigned int size);
void config_write(struct guest *g, unsigned int slot, unsigned int off, unsigned int size,
		  uint32_t value);
/* Interrupts of vector @n (0: configuration, 1 + q: queue q) since the last call. */
unsigned int guest_irqs(struct guest *g, unsigned int n);

/* Finds the capabilities, switches memory and bus master on, MSI-X with vector n at data DATA0 + n.
 */
void driver_probe(struct driver *d, struct guest *g, unsigned int slot);
/* ACKNOWLEDGE, DRIVER, the part of @want that is offered, FEATURES_OK. -> the status then read. */
uint8_t driver_negotiate(struct driver *d, uint64_t want);
uint64_t driver_offered(struct driver *d);
uint8_t driver_status(struct driver *d);
void driver_set_status(struct driver *d, uint8_t value);
/* Rings of @size (0: what is offered) in fresh memory, vector 1 + q, enabled. */
void driver_queue(struct driver *d, unsigned int q, uint16_t size);
/* All of it: probe, negotiate, @nqueues queues, DRIVER_OK. */
void driver_start(struct driver *d, struct guest *g, unsigned int slot, uint64_t want,
		  unsigned int nqueues);
void driver_reset(struct driver *d);

/* A chain of @n buffers into the avail ring. -> its head. driver_kick() to be heard. */
uint16_t driver_add(struct driver *d, unsigned int q, const struct buf *bufs, unsigned int n);
/* The same as one indirect descriptor. */
uint16_t driver_add_indirect(struct driver *d, unsigned int q, const struct buf *bufs,
			     unsigned int n);
/* Any head into the avail ring. */
void driver_offer(struct driver *d, unsigned int q, uint16_t head);
void driver_kick(struct driver *d, unsigned int q);
/* Would a kernel kick now? By avail_event, or the flag. @old: avail.idx at the last question. */
bool driver_should_kick(struct driver *d, unsigned int q, uint16_t old);
struct vring_desc *driver_desc(struct driver *d, unsigned int q, unsigned int i);
uint16_t *driver_avail(struct driver *d, unsigned int q);
/* The next used element. -> false: none. */
bool driver_used(struct driver *d, unsigned int q, uint32_t *id, uint32_t *len);
/* A one-queue-at-a-time shorthand: add, kick, run, take. -> false: nothing came back. */
bool driver_do(struct driver *d, unsigned int q, const struct buf *bufs, unsigned int n,
	       uint32_t *len);

/* The device's state as the machine would keep it; free() it. */
void *device_state(struct device *dev, size_t *len_bytes);

#endif
