/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of every device.
 *
 * Threads, in one paragraph: a device has two entrances, its home loop (kicks, completions, timers,
 * tasks) and the bus (a vCPU touching its registers). Both take the device's lock for it, once per
 * batch: the loop through the `lock` of a source, the bus through the `lock` of a range. So device code is
 * written single-threaded and never locks. Completions are posted to the home loop, never called
 * from submit. Lock order: machine, device, bus table, loop.
 *
 *                create(env, cfg, from)              quiesce() -> 0, or -EBUSY and device_quiet() later
 *   (nothing) ------------------------> running ---------------------------------------> quiet
 *                                          ^                resume()                        |  save()
 *                                          +------------------------------------------------+
 *   reset() is legal while quiet; destroy() only when quiet or never started. Restore is create with
 *   state: there is no second way to initialise a device.
 */
#ifndef DEVICES_DEVICE_H
#define DEVICES_DEVICE_H

#include <pthread.h>
#include <stdbool.h>

#include "vmm/core/state.h"

struct bus;
struct device;
struct guestmem;
struct irqchip;
struct loop;
struct notifier;
struct pci_host;

/* What the machine lends to its devices; outlives them all. */
struct device_env {
	struct loop *loop;
	struct guestmem *mem;
	struct bus *pio;
	struct bus *mmio;
	struct irqchip *irq;
	struct notifier *notify;
	struct pci_host *pci; /* where PCI functions plug in; NULL for the host bridge itself */
	/* The guest asked for the machine's end, or for a reset: posted, any thread. */
	void (*power_off)(void *opaque);
	void (*reset)(void *opaque);
	void *power_opaque;
	/* A device that answered -EBUSY to quiesce() has become quiet. Loop thread. */
	void (*quiet)(void *opaque, struct device *d);
	void *quiet_opaque;
};

/*
 * The machine calls all of these on the loop's thread while the vCPUs are paused and no event is being
 * served: nobody else is inside the device, and its lock is not taken.
 */
struct device_ops {
	const char *compatible; /* "charmvm,virtio-blk-1": name and version of its state */
	/*
	 * @cfg is the configuration struct of the device's own header, used only during the call; @from
	 * is its saved node, or NULL for a cold start. @name is kept, not copied. -> 0 and *out, or -errno
	 * with one line logged and nothing left behind: no range, source or descriptor.
	 */
	int (*create)(const struct device_env *env, const char *name, const void *cfg,
		      const struct state_node *from, struct device **out);
	/* To the state after a cold create. Quiet, vCPUs stopped. */
	void (*reset)(struct device *d);
	/* Take no new work, finish what is under way. 0: quiet now; -EBUSY: device_quiet() will tell. */
	int (*quiesce)(struct device *d);
	/* Its properties, into the node that the caller has begun. Quiet. */
	void (*save)(struct device *d, struct state_writer *w);
	/* Back to work after create or quiesce: look at what waits in the queues. */
	void (*resume)(struct device *d);
	/* Frees it with all it holds. Quiet. */
	void (*destroy)(struct device *d);
};

/* First member of every device. */
struct device {
	const struct device_ops *ops;
	const struct device_env *env;
	const char *
		name; /* unique in the machine: "disk0", "net0"; the node's name in the state tree */
	pthread_mutex_t lock; /* taken by loop and bus for the device */
};

/* For create(): fills in the base and its lock. / For destroy(): the reverse. */
void device_init(struct device *d, const struct device_ops *ops, const struct device_env *env,
		 const char *name);
void device_fini(struct device *d);

/* From a device that answered -EBUSY to quiesce(), once it is quiet. Loop thread. */
void device_quiet(struct device *d);

#endif
