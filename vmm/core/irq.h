/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts as devices see them: message-signalled routes and level lines, real (vmm/kvm/kvm_irq.c)
 * or fake (unit tests). An interrupt is an eventfd that is written; with KVM it is an irqfd and the
 * write goes into the guest without another step.
 */
#ifndef CORE_IRQ_H
#define CORE_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct irqchip;

struct irqchip_ops {
	/*
	 * A message route: *out_fd (owned by the chip) raises it, *out_id names it. Before it is raised, msi_set() and
	 * msi_mask() say where it goes: it may be one that was given back, as it was.
	 */
	int (*msi_alloc)(struct irqchip *c, int *out_fd, uint32_t *out_id);
	/* Where it goes; nothing is changed and nothing is called when it already goes there. */
	int (*msi_set)(struct irqchip *c, uint32_t id, uint64_t addr, uint32_t data);
	/* Unmasked: writes to the fd reach the guest. Masked: they are kept in the eventfd. */
	int (*msi_mask)(struct irqchip *c, uint32_t id, bool masked);
	void (*msi_free)(struct irqchip *c, uint32_t id);
	/* The level of input @gsi of the I/O interrupt controller. */
	int (*set_line)(struct irqchip *c, uint32_t gsi, bool level);
};

struct irqchip {
	const struct irqchip_ops *ops;
};

/*
 * One MSI(-X) vector of a function. All calls: the device's lock held (bus or loop entrance).
 * Pending bits are the vector's owner's business (devices/pci/msix.c).
 */
struct irq_msi {
	struct irqchip *chip;
	uint32_t id;
	int fd; /* write to raise */
	bool allocated;
};

/* -> 0, -ENOSPC (no routes left) or -errno. */
int irq_msi_alloc(struct irq_msi *m, struct irqchip *chip);
int irq_msi_set(struct irq_msi *m, uint64_t addr, uint32_t data, bool masked);
/* Raises it: one write(2) of 8 bytes. Any thread. */
void irq_msi_raise(struct irq_msi *m);
/* Fine on one that was never allocated. */
void irq_msi_free(struct irq_msi *m);

/* A level line. Owner's lock held. Setting the level that it already has costs nothing. */
struct irq_line {
	struct irqchip *chip;
	uint32_t gsi;
	bool level;
};

void irq_line_set(struct irq_line *line, bool level);

#endif
