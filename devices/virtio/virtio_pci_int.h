/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the PCI transport share: virtio_pci.c, virtio_pci_common.c, virtio_pci_caps.c. */
#ifndef DEVICES_VIRTIO_VIRTIO_PCI_INT_H
#define DEVICES_VIRTIO_VIRTIO_PCI_INT_H

#include <linux/virtio_pci.h>

#include "devices/pci/msix.h"
#include "devices/pci/pci.h"
#include "devices/virtio/virtio_pci.h"

struct virtio_pci {
	struct virtio_transport base;
	struct virtio_device *v;
	struct pci_function f;
	struct msix msix;
	uint8_t pci_cfg_cap;
	bool bar_on;
	bool logged_strange;

	/* Registers. */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector;
	uint16_t queue_vectors[VIRTIO_QUEUES_MAX];
	uint8_t isr;
};

/* The vector that the driver chose, if there is one. */
static inline uint16_t vpci_vector(const struct virtio_pci *p, uint32_t vector)
{
	return vector < p->msix.nvectors ? (uint16_t)vector : VIRTIO_MSI_NO_VECTOR;
}

/* All with the device's lock held. */

/* ---- virtio_pci.c ---- */

/* @size bytes at @off in the BAR, as a guest's access to memory or through the PCI_CFG capability. */
uint64_t vpci_bar_read(void *opaque, uint64_t off, unsigned int size);
void vpci_bar_write(void *opaque, uint64_t off, unsigned int size, uint64_t value);

/* ---- virtio_pci_common.c ---- */

/* Registers of the common configuration (4.1.4.3). An access of another width than the register's does nothing. */
uint32_t vpci_common_read(struct virtio_pci *p, uint64_t off, unsigned int size);
void vpci_common_write(struct virtio_pci *p, uint64_t off, unsigned int size, uint32_t value);

/* ---- virtio_pci_caps.c ---- */

/* Puts the vendor capabilities (4.1.4) into configuration space; the BAR and MSI-X are there. */
void vpci_add_caps(struct virtio_pci *p);
/* Of struct pci_function_ops: the PCI_CFG capability (4.1.4.9) and the command register. */
void vpci_config_reading(struct pci_function *f, unsigned int off, unsigned int size);
void vpci_config_written(struct pci_function *f, unsigned int off, unsigned int size);

#endif
