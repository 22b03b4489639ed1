/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X: vectors, masks, pending bits. */
/*
 * How it works
 *
 * A route is taken from the chip when its vector is first unmasked and set again only when address
 * or data are others than last time: a kernel masks and unmasks far more often than it moves an
 * interrupt. A masked vector keeps its route; since every raise comes through msix_raise(), the
 * mask is kept here and costs no system call.
 */
#include "devices/pci/msix.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

static const char state_compatible[] = "charmvm,msix-1";

int msix_init(struct msix *m, struct pci_function *f, struct irqchip *chip, uint16_t nvectors,
	      unsigned int bar, uint32_t table_off, uint32_t pba_off)
{
	assert(nvectors && nvectors <= MSIX_VECTORS_MAX);
	m->vectors = calloc(nvectors, sizeof(*m->vectors));
	if (!m->vectors)
		return -ENOMEM;
	m->f = f;
	m->chip = chip;
	m->nvectors = nvectors;
	m->cap = pci_add_capability(f, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
	put_le16(f->config + m->cap + PCI_MSIX_FLAGS, (uint16_t)(nvectors - 1));
	put_le16(f->writable + m->cap + PCI_MSIX_FLAGS,
		 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	put_le32(f->config + m->cap + PCI_MSIX_TABLE, table_off | bar);
	put_le32(f->config + m->cap + PCI_MSIX_PBA, pba_off | bar);
	msix_reset(m);
	return 0;
}

void msix_fini(struct msix *m)
{
	for (unsigned int i = 0; i < m->nvectors; i++)
		irq_msi_free(&m->vectors[i].msi);
	free(m->vectors);
	m->vectors = NULL;
	m->nvectors = 0;
}

static bool enabled(const struct msix *m)
{
	return get_le16(m->f->config + m->cap + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_ENABLE;
}

static bool live(const struct msix *m, const struct msix_vector *v)
{
	uint16_t flags = get_le16(m->f->config + m->cap + PCI_MSIX_FLAGS);
	return (flags & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)) ==
		       PCI_MSIX_FLAGS_ENABLE &&
	       !v->masked;
}

static bool route(struct msix *m, struct msix_vector *v)
{
	if (v->routed)
		return true;
	int err = v->msi.allocated ? 0 : irq_msi_alloc(&v->msi, m->chip);
	if (!err)
		err = irq_msi_set(&v->msi, v->addr, v->data, false);
	if (err)
		log_guest(&m->f->limit, "%s: interrupt vector %u cannot be set up: %s",
			  m->f->dev->name, (unsigned int)(v - m->vectors), strerror(-err));
	v->routed = !err;
	return v->routed;
}

/* After anything that may have unmasked it: the route is there, and what was pending goes out. */
static void vector_update(struct msix *m, struct msix_vector *v)
{
	if (!live(m, v) || !route(m, v) || !v->pending)
		return;
	v->pending = false;
	irq_msi_raise(&v->msi);
}

void msix_raise(struct msix *m, uint16_t vector)
{
	if (vector >= m->nvectors || !enabled(m))
		return;
	struct msix_vector *v = &m->vectors[vector];
	if (live(m, v) && v->routed) {
		irq_msi_raise(&v->msi);
		return;
	}
	v->pending = true;
	vector_update(m, v);
}

/* ---- registers ---- */

/* One of the four words of an entry (PCI 3.0, 6.8.2.6 to .9). */
static uint32_t word_get(const struct msix_vector *v, unsigned int reg)
{
	switch (reg) {
	case PCI_MSIX_ENTRY_LOWER_ADDR: return (uint32_t)v->addr;
	case PCI_MSIX_ENTRY_UPPER_ADDR: return (uint32_t)(v->addr >> 32);
	case PCI_MSIX_ENTRY_DATA: return v->data;
	default: return v->masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0;
	}
}

static void word_set(struct msix_vector *v, unsigned int reg, uint32_t value)
{
	uint64_t addr = v->addr;
	switch (reg) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		addr = (addr & ~(uint64_t)UINT32_MAX) | (value & ~UINT32_C(3));
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR: addr = (addr & UINT32_MAX) | (uint64_t)value << 32; break;
	case PCI_MSIX_ENTRY_DATA:
		v->routed = v->routed && value == v->data;
		v->data = value;
		break;
	default: v->masked = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
	v->routed = v->routed && addr == v->addr;
	v->addr = addr;
}

static bool well_formed(uint64_t off, unsigned int size, uint64_t table_bytes)
{
	return (size == 4 || size == 8) && !(off & (size - 1)) && ck_range(off, size, table_bytes);
}

uint64_t msix_table_read(const struct msix *m, uint64_t off, unsigned int size)
{
	if (!well_formed(off, size, (uint64_t)m->nvectors * MSIX_ENTRY_BYTES))
		return 0;
	const struct msix_vector *v = &m->vectors[off / MSIX_ENTRY_BYTES];
	uint64_t value = word_get(v, off % MSIX_ENTRY_BYTES);
	if (size == 8)
		value |= (uint64_t)word_get(v, off % MSIX_ENTRY_BYTES + 4) << 32;
	return value;
}

void msix_table_write(struct msix *m, uint64_t off, unsigned int size, uint64_t value)
{
	if (!well_formed(off, size, (uint64_t)m->nvectors * MSIX_ENTRY_BYTES))
		return;
	struct msix_vector *v = &m->vectors[off / MSIX_ENTRY_BYTES];
	word_set(v, off % MSIX_ENTRY_BYTES, (uint32_t)value);
	if (size == 8)
		word_set(v, off % MSIX_ENTRY_BYTES + 4, (uint32_t)(value >> 32));
	vector_update(m, v);
}

uint64_t msix_pba_read(const struct msix *m, uint64_t off, unsigned int size)
{
	uint64_t bits = 0;
	for (unsigned int i = 0; i < 8 * size && off * 8 + i < m->nvectors; i++)
		if (m->vectors[off * 8 + i].pending)
			bits |= UINT64_C(1) << i;
	return bits;
}

void msix_config_written(struct msix *m, unsigned int off, unsigned int size)
{
	unsigned int reg = m->cap + PCI_MSIX_FLAGS;
	if (off >= reg + 2 || reg >= off + size)
		return;
	for (unsigned int i = 0; i < m->nvectors; i++) {
		/* A vector that the driver has not set up yet has no address to go to. */
		if (m->vectors[i].pending || m->vectors[i].addr)
			vector_update(m, &m->vectors[i]);
	}
}

/* ---- life cycle ---- */

void msix_reset(struct msix *m)
{
	for (unsigned int i = 0; i < m->nvectors; i++) {
		struct msix_vector *v = &m->vectors[i];
		*v = (struct msix_vector){ .masked = true, .msi = v->msi };
	}
}

void msix_save(const struct msix *m, struct state_writer *w)
{
	uint8_t table[MSIX_VECTORS_MAX * MSIX_ENTRY_BYTES];
	uint8_t pending[MSIX_VECTORS_MAX];
	for (unsigned int i = 0; i < m->nvectors; i++) {
		for (unsigned int reg = 0; reg < MSIX_ENTRY_BYTES; reg += 4)
			put_le32(table + i * MSIX_ENTRY_BYTES + reg, word_get(&m->vectors[i], reg));
		pending[i] = m->vectors[i].pending;
	}
	state_begin(w, "msix", state_compatible);
	state_put_bytes(w, "table", table, (size_t)m->nvectors * MSIX_ENTRY_BYTES);
	state_put_bytes(w, "pending", pending, m->nvectors);
	state_end(w);
}

int msix_restore(struct msix *m, struct state_node dev)
{
	uint8_t table[MSIX_VECTORS_MAX * MSIX_ENTRY_BYTES];
	uint8_t pending[MSIX_VECTORS_MAX];
	struct state_node n;
	int err = state_child(dev, "msix", &n);
	if (!err)
		err = state_check(n, state_compatible);
	if (!err)
		err = state_get_bytes(n, "table", table, (size_t)m->nvectors * MSIX_ENTRY_BYTES);
	if (!err)
		err = state_get_bytes(n, "pending", pending, m->nvectors);
	if (err) {
		log_error("%s: the snapshot has no usable MSI-X table of %u vectors; it is damaged "
			  "or was saved with other options",
			  m->f->dev->name, m->nvectors);
		return err == -ENOTSUP ? err : -EINVAL;
	}
	for (unsigned int i = 0; i < m->nvectors; i++) {
		struct msix_vector *v = &m->vectors[i];
		for (unsigned int reg = 0; reg < MSIX_ENTRY_BYTES; reg += 4)
			word_set(v, reg, get_le32(table + i * MSIX_ENTRY_BYTES + reg));
		v->pending = pending[i];
		vector_update(m, v);
	}
	return 0;
}
