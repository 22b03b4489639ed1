/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X of a PCI function (PCI 3.0, 6.8.2): vector table and pending bits in a BAR of the owner's,
 * masks, and the way to the interrupt chip. All functions: the lock of the function's device held.
 */
#ifndef PCI_MSIX_H
#define PCI_MSIX_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/pci/pci.h"
#include "vmm/core/irq.h"

enum { MSIX_ENTRY_BYTES = 16, MSIX_VECTORS_MAX = 256 };

struct msix_vector {
	uint64_t addr;
	uint32_t data;
	bool masked;
	bool pending;
	bool routed; /* msi goes to addr and data */
	struct irq_msi msi;
};

struct msix {
	struct pci_function *f;
	struct irqchip *chip;
	uint8_t cap;
	uint16_t nvectors;
	struct msix_vector *vectors;
};

/*
 * Adds the capability to a function that is not ready yet; table and pending bits at @table_off and
 * @pba_off of BAR @bar. -> 0 or -ENOMEM.
 */
int msix_init(struct msix *m, struct pci_function *f, struct irqchip *chip, uint16_t nvectors,
	      unsigned int bar, uint32_t table_off, uint32_t pba_off);
/* Fine on one that is all zero. */
void msix_fini(struct msix *m);

/* The owner's BAR, offsets relative to the table and the pending bits. */
uint64_t msix_table_read(const struct msix *m, uint64_t off, unsigned int size);
void msix_table_write(struct msix *m, uint64_t off, unsigned int size, uint64_t value);
uint64_t msix_pba_read(const struct msix *m, uint64_t off, unsigned int size);

/* From the owner's config_written, for any register. */
void msix_config_written(struct msix *m, unsigned int off, unsigned int size);

/* Raises a vector, or remembers that while it is masked; nothing when there is none or MSI-X is
 * off. */
void msix_raise(struct msix *m, uint16_t vector);

/* All masked, nothing pending. */
void msix_reset(struct msix *m);
/* Child "msix" of the device's node. Restore: after pci_function_ready(). -> 0, -EINVAL, -ENOTSUP.
 */
void msix_save(const struct msix *m, struct state_writer *w);
int msix_restore(struct msix *m, struct state_node dev);

#endif
