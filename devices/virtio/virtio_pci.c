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
 */
#include "devices/virtio/virtio_pci.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "devices/pci/msix.h"
#include "devices/pci/pci.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/core/notify.h"

static const char state_compatible[] = "charmvm,virtio-pci-1";

enum {
	VIRTIO_PCI_VENDOR = 0x1af4,
	VIRTIO_PCI_DEVICE_BASE = 0x1040,    /* + the device id of virtio (4.1.2) */
	VIRTIO_PCI_SUBSYSTEM_BASE = 0x0040, /* what tells modern from transitional devices */
	COMMON_BYTES = VIRTIO_PCI_COMMON_Q_NDATA,
	ISR_QUEUE = 1,
	PCI_CFG_DATA = sizeof(struct virtio_pci_cap), /* in the PCI_CFG capability (4.1.4.9) */
};

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

static struct virtio_pci *pci_of(struct virtio_device *v)
{
	return container_of(v->transport, struct virtio_pci, base);
}

/* ---- common configuration (4.1.4.3) ---- */

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

static uint32_t common_read(struct virtio_pci *p, uint64_t off, unsigned int size)
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

static uint16_t vector_or_none(const struct virtio_pci *p, uint32_t vector)
{
	return vector < p->msix.nvectors ? (uint16_t)vector : VIRTIO_MSI_NO_VECTOR;
}

static void queue_write(struct virtio_pci *p, uint64_t off, uint32_t value)
{
	struct virtqueue *vq = selected(p);
	if (!vq)
		return;
	if (off == VIRTIO_PCI_COMMON_Q_MSIX) {
		p->queue_vectors[p->queue_select] = vector_or_none(p, value);
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

static void common_write(struct virtio_pci *p, uint64_t off, unsigned int size, uint32_t value)
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
	case VIRTIO_PCI_COMMON_MSIX: p->config_vector = vector_or_none(p, value); break;
	case VIRTIO_PCI_COMMON_STATUS: virtio_set_status(v, (uint8_t)value); break;
	case VIRTIO_PCI_COMMON_Q_SELECT: p->queue_select = (uint16_t)value; break;
	default: queue_write(p, off, value);
	}
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

static uint64_t bar_read(void *opaque, uint64_t off, unsigned int size)
{
	struct virtio_pci *p = opaque;
	uint64_t isr;
	switch (bar_part(&off)) {
	case PART_COMMON: return common_read(p, off, size);
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

static void bar_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct virtio_pci *p = opaque;
	switch (bar_part(&off)) {
	case PART_COMMON: common_write(p, off, size, (uint32_t)value); break;
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
	/* Where this fails, writes come to bar_write(). */
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

/* ---- configuration space ---- */

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

static void vpci_config_reading(struct pci_function *f, unsigned int off, unsigned int size)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, f);
	uint32_t bar_off, bar_size;
	(void)size;
	if (in_pci_cfg(p, off, PCI_CFG_DATA) && pci_cfg_access(p, &bar_off, &bar_size))
		put_le32(f->config + p->pci_cfg_cap + PCI_CFG_DATA,
			 (uint32_t)bar_read(p, bar_off, bar_size));
}

static void vpci_config_written(struct pci_function *f, unsigned int off, unsigned int size)
{
	struct virtio_pci *p = container_of(f, struct virtio_pci, f);
	uint32_t bar_off, bar_size;
	if (in_pci_cfg(p, off, VIRTIO_PCI_CAP_BAR)) {
		pci_function_trap_reads(f);
		if (in_pci_cfg(p, off, PCI_CFG_DATA) && pci_cfg_access(p, &bar_off, &bar_size))
			bar_write(p, bar_off, bar_size,
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

static void add_caps(struct virtio_pci *p)
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
	p->config_vector = vector_or_none(p, config_vector);
	for (unsigned int q = 0; q < p->v->nqueues; q++) {
		char name[24];
		snprintf(name, sizeof(name), "queue%u-vector", q);
		if (state_get_u32(n, name, &vector))
			return -EINVAL;
		p->queue_vectors[q] = vector_or_none(p, vector);
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
	pci_add_bar(&p->f, VIRTIO_PCI_BAR, VIRTIO_PCI_BAR_BYTES, bar_read, bar_write, p);
	err = msix_init(&p->msix, &p->f, v->dev.env->irq, (uint16_t)(v->nqueues + 1),
			VIRTIO_PCI_BAR, VIRTIO_PCI_MSIX_TABLE_OFF, VIRTIO_PCI_MSIX_PBA_OFF);
	if (err) {
		log_error("%s: no memory for %u interrupt vectors", v->dev.name, v->nqueues + 1);
		return err;
	}
	add_caps(p);
	return 0;
}
