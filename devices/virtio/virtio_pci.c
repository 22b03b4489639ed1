/* SPDX-License-Identifier: Apache-2.0 */
/* virtio over PCI: registers, doorbells, interrupts. */
/*
 * How it works
 *
 * One 32-bit BAR holds everything (virtio_pci.h), found by vendor capabilities (4.1.4). They are
 * ordered by how Linux looks for them, MSI-X first, since each step along the list is an access of
 * its own where configuration space is not memory (devices/pci/pci_host.c).
 *
 * Doorbells: queue q rings at NOTIFY_OFF + 4 q. While the BAR is on the bus and the queue is
 * enabled, the notifier turns writes there into its eventfd without us; where the notifier cannot,
 * the write comes here and signals the same eventfd.
 *
 * Interrupts: one MSI-X vector for the configuration and one for each queue; the driver says which
 * is which. There is no INTx, so without MSI-X a driver polls the ISR register.
 *
 * The registers of the common configuration are in virtio_pci_common.c, capabilities in virtio_pci_caps.c.
 */
#include "devices/virtio/virtio_pci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "devices/virtio/virtio_pci_int.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/core/notify.h"

static const char state_compatible[] = "charmvm,virtio-pci-1";

enum {
	VIRTIO_PCI_VENDOR = 0x1af4,
	VIRTIO_PCI_DEVICE_BASE = 0x1040,    /* + the device id of virtio (4.1.2) */
	VIRTIO_PCI_SUBSYSTEM_BASE = 0x0040, /* what tells modern from transitional devices */
	ISR_QUEUE = 1,
};

static struct virtio_pci *pci_of(struct virtio_device *v)
{
	return container_of(v->transport, struct virtio_pci, base);
}

/* ---- the BAR ---- */

static uint64_t device_read(struct virtio_pci *p, uint64_t off, unsigned int size)
{
	uint8_t buf[8] = { 0 };
	if (!ck_range(off, size, p->v->config_len))
		return 0;
	memcpy(buf, p->v->config + off, size);
	return get_le64(buf);
}

static void device_write(struct virtio_pci *p, uint64_t off, unsigned int size, uint64_t value)
{
	uint8_t buf[8];
	put_le64(buf, value);
	if (ck_range(off, size, p->v->config_len) && p->v->ops->config_write)
		p->v->ops->config_write(p->v, (unsigned int)off, buf, size);
}

/* Which part of the BAR an offset is in, and the offset there. */
enum bar_part { PART_COMMON, PART_ISR, PART_DEVICE, PART_NOTIFY, PART_TABLE, PART_PBA };

static unsigned int bar_part(uint64_t *off)
{
	unsigned int part = (unsigned int)(*off >> 12);
	*off &= 0xfff;
	return part;
}

uint64_t vpci_bar_read(void *opaque, uint64_t off, unsigned int size)
{
	struct virtio_pci *p = opaque;
	uint64_t isr;
	switch (bar_part(&off)) {
	case PART_COMMON: return vpci_common_read(p, off, size);
	case PART_ISR:
		if (off)
			return 0;
		isr = p->isr;
		p->isr = 0; /* reading acknowledges (4.1.4.5) */
		return isr;
	case PART_DEVICE: return device_read(p, off, size);
	case PART_TABLE: return msix_table_read(&p->msix, off, size);
	case PART_PBA: return msix_pba_read(&p->msix, off, size);
	default: return 0;
	}
}

void vpci_bar_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct virtio_pci *p = opaque;
	switch (bar_part(&off)) {
	case PART_COMMON: vpci_common_write(p, off, size, (uint32_t)value); break;
	case PART_DEVICE: device_write(p, off, size, value); break;
	case PART_NOTIFY:
		virtio_ring_doorbell(p->v, (unsigned int)(off / VIRTIO_PCI_NOTIFY_MULTIPLIER));
		break;
	case PART_TABLE: msix_table_write(&p->msix, off, size, value); break;
	default: break; /* read-only, or nothing there */
	}
}

/* ---- doorbells and interrupts ---- */

static void doorbell_wire(struct virtio_pci *p, unsigned int q, bool on)
{
	struct notifier *n = p->v->dev.env->notify;
	uint64_t gpa = p->f.bars[VIRTIO_PCI_BAR].range.base + VIRTIO_PCI_NOTIFY_OFF +
		       (uint64_t)q * VIRTIO_PCI_NOTIFY_MULTIPLIER;
	/* Where this fails, writes come to vpci_bar_write(). */
	n->assign(n, gpa, 0, NULL, p->v->queues[q].kick.fd, on);
}

static void vpci_doorbell(struct virtio_device *v, unsigned int q, bool on)
{
	struct virtio_pci *p = pci_of(v);
	if (p->bar_on)
		doorbell_wire(p, q, on);
}

static void vpci_bar_mapped(struct pci_function *f, unsigned int bar, bool on)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, f);
	(void)bar;
	p->bar_on = on;
	for (unsigned int q = 0; q < p->v->nqueues; q++)
		if (p->v->queues[q].vq.enabled)
			doorbell_wire(p, q, on);
}

static void vpci_queue_signal(struct virtio_device *v, unsigned int q)
{
	struct virtio_pci *p = pci_of(v);
	p->isr |= ISR_QUEUE;
	msix_raise(&p->msix, p->queue_vectors[q]);
}

static void vpci_config_signal(struct virtio_device *v)
{
	struct virtio_pci *p = pci_of(v);
	p->isr |= VIRTIO_PCI_ISR_CONFIG;
	msix_raise(&p->msix, p->config_vector);
}

/* ---- life cycle ---- */

static void vpci_driver_reset(struct virtio_device *v)
{
	struct virtio_pci *p = pci_of(v);
	p->device_feature_select = p->driver_feature_select = 0;
	p->queue_select = 0;
	p->config_vector = VIRTIO_MSI_NO_VECTOR;
	for (unsigned int q = 0; q < VIRTIO_QUEUES_MAX; q++)
		p->queue_vectors[q] = VIRTIO_MSI_NO_VECTOR;
	p->isr = 0;
}

static void vpci_reset(struct virtio_device *v)
{
	struct virtio_pci *p = pci_of(v);
	pci_function_reset(&p->f);
	msix_reset(&p->msix);
	p->logged_strange = false;
	v->dma = false;
}

static void vpci_save(struct virtio_device *v, struct state_writer *w)
{
	struct virtio_pci *p = pci_of(v);
	state_begin(w, "virtio-pci", state_compatible);
	state_put_u32(w, "device-feature-select", p->device_feature_select);
	state_put_u32(w, "driver-feature-select", p->driver_feature_select);
	state_put_u32(w, "queue-select", p->queue_select);
	state_put_u32(w, "isr", p->isr);
	state_put_u32(w, "config-vector", p->config_vector);
	for (unsigned int q = 0; q < v->nqueues; q++) {
		char name[24];
		snprintf(name, sizeof(name), "queue%u-vector", q);
		state_put_u32(w, name, p->queue_vectors[q]);
	}
	state_end(w);
	pci_function_save(&p->f, w);
	msix_save(&p->msix, w);
}

static int restore_registers(struct virtio_pci *p, struct state_node dev)
{
	struct state_node n;
	uint32_t queue_select, isr, config_vector, vector;
	int err = state_child(dev, "virtio-pci", &n);
	if (!err)
		err = state_check(n, state_compatible);
	if (err)
		return err;
	if (state_get_u32(n, "device-feature-select", &p->device_feature_select) ||
	    state_get_u32(n, "driver-feature-select", &p->driver_feature_select) ||
	    state_get_u32(n, "queue-select", &queue_select) || state_get_u32(n, "isr", &isr) ||
	    state_get_u32(n, "config-vector", &config_vector))
		return -EINVAL;
	p->queue_select = (uint16_t)queue_select;
	p->isr = isr & (ISR_QUEUE | VIRTIO_PCI_ISR_CONFIG);
	p->config_vector = vpci_vector(p, config_vector);
	for (unsigned int q = 0; q < p->v->nqueues; q++) {
		char name[24];
		snprintf(name, sizeof(name), "queue%u-vector", q);
		if (state_get_u32(n, name, &vector))
			return -EINVAL;
		p->queue_vectors[q] = vpci_vector(p, vector);
	}
	return 0;
}

static int vpci_ready(struct virtio_device *v, const struct state_node *from)
{
	struct virtio_pci *p = pci_of(v);
	int err = from ? restore_registers(p, *from) : 0;
	if (err) {
		log_error("%s: the snapshot's virtio-pci registers are damaged or of another "
			  "version; use another snapshot",
			  v->dev.name);
		return err == -ENOTSUP ? err : -EINVAL;
	}
	err = pci_function_ready(&p->f, from);
	if (!err && from)
		err = msix_restore(&p->msix, *from);
	v->dma = p->f.config[PCI_COMMAND] & PCI_COMMAND_MASTER;
	return err;
}

static void vpci_destroy(struct virtio_device *v)
{
	struct virtio_pci *p = pci_of(v);
	pci_function_fini(&p->f);
	msix_fini(&p->msix);
	free(p);
	v->transport = NULL;
}

static const struct virtio_transport_ops transport_ops = {
	.queue_signal = vpci_queue_signal,
	.config_signal = vpci_config_signal,
	.doorbell = vpci_doorbell,
	.driver_reset = vpci_driver_reset,
	.reset = vpci_reset,
	.save = vpci_save,
	.ready = vpci_ready,
	.destroy = vpci_destroy,
};

static const struct pci_function_ops function_ops = {
	.config_reading = vpci_config_reading,
	.config_written = vpci_config_written,
	.bar_mapped = vpci_bar_mapped,
};

int virtio_pci_create(struct virtio_device *v, const struct virtio_params *params)
{
	struct virtio_pci *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->base.ops = &transport_ops;
	p->v = v;
	v->transport = &p->base;
	vpci_driver_reset(v);
	const struct pci_ids ids = {
		.vendor = VIRTIO_PCI_VENDOR,
		.device = (uint16_t)(VIRTIO_PCI_DEVICE_BASE + v->device_id),
		.subsystem_vendor = VIRTIO_PCI_VENDOR,
		.subsystem = (uint16_t)(VIRTIO_PCI_SUBSYSTEM_BASE + v->device_id),
		.class_code = params->pci_class,
		.revision = 1,
	};
	int err = pci_function_init(&p->f, v->dev.env->pci, params->pci_slot, &v->dev,
				    &function_ops, &ids);
	if (err)
		return err;
	pci_add_bar(&p->f, VIRTIO_PCI_BAR, VIRTIO_PCI_BAR_BYTES, vpci_bar_read, vpci_bar_write, p);
	err = msix_init(&p->msix, &p->f, v->dev.env->irq, (uint16_t)(v->nqueues + 1),
			VIRTIO_PCI_BAR, VIRTIO_PCI_MSIX_TABLE_OFF, VIRTIO_PCI_MSIX_PBA_OFF);
	if (err) {
		log_error("%s: no memory for %u interrupt vectors", v->dev.name, v->nqueues + 1);
		return err;
	}
	vpci_add_caps(p);
	return 0;
}
