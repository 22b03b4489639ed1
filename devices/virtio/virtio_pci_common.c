/* SPDX-License-Identifier: Apache-2.0 */
/* The common configuration registers of virtio over PCI (virtio 1.2, 4.1.4.3). */
#include "devices/virtio/virtio.h"
#include "devices/virtio/virtio_pci_int.h"
#include "vmm/base/checked.h"

/* The width of the field at @off, 0 for none. 64-bit fields are pairs. */
static unsigned int common_width(uint64_t off)
{
	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT:
	case VIRTIO_PCI_COMMON_DF:
	case VIRTIO_PCI_COMMON_GFSELECT:
	case VIRTIO_PCI_COMMON_GF:
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI: return 4;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_NUMQ:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
	case VIRTIO_PCI_COMMON_Q_NOFF: return 2;
	case VIRTIO_PCI_COMMON_STATUS:
	case VIRTIO_PCI_COMMON_CFGGENERATION: return 1;
	default: return 0;
	}
}

static void strange_access(struct virtio_pci *p, const char *what, uint64_t off, unsigned int size)
{
	if (!p->logged_strange)
		log_guest(&p->v->limit,
			  "%s: the guest makes a %u-byte access to %s register 0x%llx",
			  p->v->dev.name, size, what, (unsigned long long)off);
	p->logged_strange = true;
}

/* The selected queue: the select register is the guest's, so it is checked at each use. */
static struct virtqueue *selected(struct virtio_pci *p)
{
	return p->queue_select < p->v->nqueues ? virtio_vq(p->v, p->queue_select) : NULL;
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
	return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

static uint32_t queue_read(struct virtio_pci *p, uint64_t off)
{
	const struct virtqueue *vq = selected(p);
	if (!vq)
		return off == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0;
	switch (off) {
	case VIRTIO_PCI_COMMON_Q_SIZE: return vq->size;
	case VIRTIO_PCI_COMMON_Q_MSIX: return p->queue_vectors[p->queue_select];
	case VIRTIO_PCI_COMMON_Q_ENABLE: return vq->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF: return p->queue_select;
	case VIRTIO_PCI_COMMON_Q_DESCLO: return (uint32_t)vq->desc_gpa;
	case VIRTIO_PCI_COMMON_Q_DESCHI: return (uint32_t)(vq->desc_gpa >> 32);
	case VIRTIO_PCI_COMMON_Q_AVAILLO: return (uint32_t)vq->avail_gpa;
	case VIRTIO_PCI_COMMON_Q_AVAILHI: return (uint32_t)(vq->avail_gpa >> 32);
	case VIRTIO_PCI_COMMON_Q_USEDLO: return (uint32_t)vq->used_gpa;
	case VIRTIO_PCI_COMMON_Q_USEDHI: return (uint32_t)(vq->used_gpa >> 32);
	default: return 0;
	}
}

uint32_t vpci_common_read(struct virtio_pci *p, uint64_t off, unsigned int size)
{
	const struct virtio_device *v = p->v;
	if (common_width(off) != size) {
		strange_access(p, "common", off, size);
		return 0;
	}
	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT: return p->device_feature_select;
	case VIRTIO_PCI_COMMON_DF: return feature_word(v->offered, p->device_feature_select);
	case VIRTIO_PCI_COMMON_GFSELECT: return p->driver_feature_select;
	case VIRTIO_PCI_COMMON_GF: return feature_word(v->features, p->driver_feature_select);
	case VIRTIO_PCI_COMMON_MSIX: return p->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ: return v->nqueues;
	case VIRTIO_PCI_COMMON_STATUS: return virtio_status(v);
	case VIRTIO_PCI_COMMON_CFGGENERATION: return v->config_generation;
	case VIRTIO_PCI_COMMON_Q_SELECT: return p->queue_select;
	default: return queue_read(p, off);
	}
}

static void set_low(uint64_t *v, uint32_t word)
{
	*v = (*v & ~(uint64_t)UINT32_MAX) | word;
}

static void set_high(uint64_t *v, uint32_t word)
{
	*v = (*v & UINT32_MAX) | (uint64_t)word << 32;
}

static void queue_write(struct virtio_pci *p, uint64_t off, uint32_t value)
{
	struct virtqueue *vq = selected(p);
	if (!vq)
		return;
	if (off == VIRTIO_PCI_COMMON_Q_MSIX) {
		p->queue_vectors[p->queue_select] = vpci_vector(p, value);
		return;
	}
	/* The rings of a queue in use stay where they are. */
	if (vq->enabled || p->v->resetting)
		return;
	switch (off) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		if (is_pow2(value) && value <= vq->size_max)
			vq->size = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		if (value == 1)
			virtio_queue_enable(p->v, p->queue_select);
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO: set_low(&vq->desc_gpa, value); break;
	case VIRTIO_PCI_COMMON_Q_DESCHI: set_high(&vq->desc_gpa, value); break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO: set_low(&vq->avail_gpa, value); break;
	case VIRTIO_PCI_COMMON_Q_AVAILHI: set_high(&vq->avail_gpa, value); break;
	case VIRTIO_PCI_COMMON_Q_USEDLO: set_low(&vq->used_gpa, value); break;
	case VIRTIO_PCI_COMMON_Q_USEDHI: set_high(&vq->used_gpa, value); break;
	default: break; /* read-only */
	}
}

void vpci_common_write(struct virtio_pci *p, uint64_t off, unsigned int size, uint32_t value)
{
	struct virtio_device *v = p->v;
	if (common_width(off) != size) {
		strange_access(p, "common", off, size);
		return;
	}
	switch (off) {
	case VIRTIO_PCI_COMMON_DFSELECT: p->device_feature_select = value; break;
	case VIRTIO_PCI_COMMON_GFSELECT: p->driver_feature_select = value; break;
	case VIRTIO_PCI_COMMON_GF: virtio_set_features(v, p->driver_feature_select, value); break;
	case VIRTIO_PCI_COMMON_MSIX: p->config_vector = vpci_vector(p, value); break;
	case VIRTIO_PCI_COMMON_STATUS: virtio_set_status(v, (uint8_t)value); break;
	case VIRTIO_PCI_COMMON_Q_SELECT: p->queue_select = (uint16_t)value; break;
	default: queue_write(p, off, value);
	}
}
