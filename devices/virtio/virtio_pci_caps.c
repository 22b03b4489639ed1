/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration space of virtio over PCI: the vendor capabilities (virtio 1.2, 4.1.4). */
#include <string.h>

#include <linux/pci_regs.h>

#include "devices/virtio/virtio.h"
#include "devices/virtio/virtio_pci_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	COMMON_BYTES = VIRTIO_PCI_COMMON_Q_NDATA,
	PCI_CFG_DATA = sizeof(struct virtio_pci_cap), /* in the PCI_CFG capability (4.1.4.9) */
};

/* The access that the PCI_CFG capability asks for, or false: not one that we serve. */
static bool pci_cfg_access(struct virtio_pci *p, uint32_t *off, uint32_t *size)
{
	const uint8_t *cap = p->f.config + p->pci_cfg_cap;
	*off = get_le32(cap + VIRTIO_PCI_CAP_OFFSET);
	*size = get_le32(cap + VIRTIO_PCI_CAP_LENGTH);
	return cap[VIRTIO_PCI_CAP_BAR] == VIRTIO_PCI_BAR &&
	       (*size == 1 || *size == 2 || *size == 4) && !(*off & (*size - 1)) &&
	       ck_range(*off, *size, VIRTIO_PCI_BAR_BYTES);
}

static bool in_pci_cfg(const struct virtio_pci *p, unsigned int off, unsigned int from)
{
	return off >= p->pci_cfg_cap + from &&
	       off < p->pci_cfg_cap + sizeof(struct virtio_pci_cfg_cap);
}

void vpci_config_reading(struct pci_function *f, unsigned int off, unsigned int size)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, f);
	uint32_t bar_off, bar_size;
	(void)size;
	if (in_pci_cfg(p, off, PCI_CFG_DATA) && pci_cfg_access(p, &bar_off, &bar_size))
		put_le32(f->config + p->pci_cfg_cap + PCI_CFG_DATA,
			 (uint32_t)vpci_bar_read(p, bar_off, bar_size));
}

void vpci_config_written(struct pci_function *f, unsigned int off, unsigned int size)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, f);
	uint32_t bar_off, bar_size;
	if (in_pci_cfg(p, off, VIRTIO_PCI_CAP_BAR)) {
		pci_function_trap_reads(f);
		if (in_pci_cfg(p, off, PCI_CFG_DATA) && pci_cfg_access(p, &bar_off, &bar_size))
			vpci_bar_write(p, bar_off, bar_size,
				       get_le32(f->config + p->pci_cfg_cap + PCI_CFG_DATA));
	}
	msix_config_written(&p->msix, off, size);
	virtio_set_dma(p->v, f->config[PCI_COMMAND] & PCI_COMMAND_MASTER);
}

static uint8_t add_cap(struct virtio_pci *p, uint8_t type, uint32_t off, uint32_t len_bytes,
		       uint8_t cap_bytes)
{
	uint8_t at = pci_add_capability(&p->f, PCI_CAP_ID_VNDR, cap_bytes);
	uint8_t *cap = p->f.config + at;
	cap[VIRTIO_PCI_CAP_LEN] = cap_bytes;
	cap[VIRTIO_PCI_CAP_CFG_TYPE] = type;
	cap[VIRTIO_PCI_CAP_BAR] = VIRTIO_PCI_BAR;
	put_le32(cap + VIRTIO_PCI_CAP_OFFSET, off);
	put_le32(cap + VIRTIO_PCI_CAP_LENGTH, len_bytes);
	return at;
}

void vpci_add_caps(struct virtio_pci *p)
{
	const uint8_t plain = sizeof(struct virtio_pci_cap);
	add_cap(p, VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_COMMON_OFF, COMMON_BYTES, plain);
	add_cap(p, VIRTIO_PCI_CAP_ISR_CFG, VIRTIO_PCI_ISR_OFF, 1, plain);
	uint8_t notify = add_cap(p, VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_NOTIFY_OFF,
				 p->v->nqueues * VIRTIO_PCI_NOTIFY_MULTIPLIER,
				 sizeof(struct virtio_pci_notify_cap));
	put_le32(p->f.config + notify + VIRTIO_PCI_NOTIFY_CAP_MULT, VIRTIO_PCI_NOTIFY_MULTIPLIER);
	if (p->v->config_len)
		add_cap(p, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_DEVICE_OFF, p->v->config_len,
			plain);
	p->pci_cfg_cap =
		add_cap(p, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, sizeof(struct virtio_pci_cfg_cap));
	uint8_t *writable = p->f.writable + p->pci_cfg_cap;
	writable[VIRTIO_PCI_CAP_BAR] = 0xff;
	memset(writable + VIRTIO_PCI_CAP_OFFSET, 0xff,
	       sizeof(struct virtio_pci_cfg_cap) - VIRTIO_PCI_CAP_OFFSET);
}
