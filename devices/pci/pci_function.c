/* SPDX-License-Identifier: Apache-2.0 */
/* One PCI function: its configuration space, capability list and BARs. */
/*
 * How it works
 *
 * config[] is what the guest reads; writable[] has a one for each bit that it may change. Sizing a
 * BAR needs no code: the low bits of its address are not writable, so all ones come back as the
 * size mask (PCI 3.0, 6.2.5.1). After each write that touches the command register or a BAR,
 * bar_sync() compares what config[] says with what is on the bus and puts that right.
 *
 * Saved are all 256 bytes. A restore takes the writable bits from the snapshot and insists that the
 * others are the same, so a snapshot can neither invent a capability nor be restored onto another
 * layout.
 */
#include "devices/pci/pci.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

static const char state_compatible[] = "charmvm,pci-function-1";

enum {
	BAR_ADDRESS_MASK = ~0xf,
	COMMAND_WRITABLE = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE,
};

static unsigned int bar_reg(unsigned int bar)
{
	return PCI_BASE_ADDRESS_0 + 4 * bar;
}

int pci_function_init(struct pci_function *f, struct pci_host *host, unsigned int slot,
		      struct device *dev, const struct pci_function_ops *ops,
		      const struct pci_ids *ids)
{
	memset(f, 0, sizeof(*f));
	if (slot >= PCI_SLOTS) {
		log_error("%s: there is no PCI slot %u, only 0 to %u", dev->name, slot,
			  PCI_SLOTS - 1);
		return -EINVAL;
	}
	f->host = host;
	f->dev = dev;
	f->ops = ops;
	f->slot = (uint8_t)slot;
	f->cap_end = PCI_STD_HEADER_SIZEOF;
	int err = pci_host_attach(host, f);
	if (err) {
		f->host = NULL;
		log_error("%s: PCI slot %u is taken; give the device another one", dev->name, slot);
		return err;
	}
	put_le16(f->config + PCI_VENDOR_ID, ids->vendor);
	put_le16(f->config + PCI_DEVICE_ID, ids->device);
	put_le32(f->config + PCI_CLASS_REVISION, ids->class_code << 8 | ids->revision);
	put_le16(f->config + PCI_SUBSYSTEM_VENDOR_ID, ids->subsystem_vendor);
	put_le16(f->config + PCI_SUBSYSTEM_ID, ids->subsystem);
	put_le16(f->writable + PCI_COMMAND, COMMAND_WRITABLE);
	f->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	f->writable[PCI_INTERRUPT_LINE] = 0xff;
	return 0;
}

uint8_t pci_add_capability(struct pci_function *f, uint8_t id, uint8_t len_bytes)
{
	uint8_t off = f->cap_end;
	assert(off + len_bytes <= PCI_CONFIG_BYTES && len_bytes >= 2);
	f->config[off] = id;
	f->config[f->cap_last ? f->cap_last + 1 : PCI_CAPABILITY_LIST] = off;
	f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->cap_last = off;
	f->cap_end = (uint8_t)align_up(off + len_bytes, 4);
	return off;
}

void pci_add_bar(struct pci_function *f, unsigned int index, uint32_t len_bytes,
		 uint64_t (*read)(void *opaque, uint64_t off, unsigned int size),
		 void (*write)(void *opaque, uint64_t off, unsigned int size, uint64_t value),
		 void *opaque)
{
	assert(index < PCI_BARS && is_pow2(len_bytes) && len_bytes >= 16);
	uint32_t off = (uint32_t)align_up(f->bar_next, len_bytes);
	f->bar_next = off + len_bytes;
	assert(f->bar_next <= PCI_SLOT_WINDOW_BYTES);

	struct pci_bar *bar = &f->bars[index];
	bar->len_bytes = len_bytes;
	bar->range = (struct bus_range){
		.len_bytes = len_bytes,
		.lock = &f->dev->lock,
		.read = read,
		.write = write,
		.opaque = opaque,
		.name = f->dev->name,
	};
	uint64_t gpa = pci_host_slot_window(f->host, f->slot) + off;
	put_le32(f->config + bar_reg(index), (uint32_t)gpa | PCI_BASE_ADDRESS_SPACE_MEMORY);
	put_le32(f->writable + bar_reg(index), ~(len_bytes - 1) & (uint32_t)BAR_ADDRESS_MASK);
}

static void bar_unmap(struct pci_function *f, unsigned int index)
{
	struct bus_range *r = &f->bars[index].range;
	if (!r->mapped)
		return;
	if (f->ops->bar_mapped)
		f->ops->bar_mapped(f, index, false);
	bus_unmap(f->dev->env->mmio, r);
}

/* The bus as config[] wants it. */
static void bar_sync(struct pci_function *f, unsigned int index)
{
	struct pci_bar *bar = &f->bars[index];
	if (!bar->len_bytes)
		return;
	uint64_t gpa = get_le32(f->config + bar_reg(index)) & (uint32_t)BAR_ADDRESS_MASK;
	/* Address 0 is what an unassigned BAR holds; low RAM is there, never a device. */
	bool on = gpa && get_le16(f->config + PCI_COMMAND) & PCI_COMMAND_MEMORY;
	if (on && bar->range.mapped && bar->range.base == gpa)
		return;
	bar_unmap(f, index);
	if (!on)
		return;
	bar->range.base = gpa;
	int err = bus_map(f->dev->env->mmio, &bar->range);
	if (err) {
		log_guest(&f->limit, "%s: the guest put BAR %u at 0x%llx, which is in use",
			  f->dev->name, index, (unsigned long long)gpa);
		return;
	}
	if (f->ops->bar_mapped)
		f->ops->bar_mapped(f, index, true);
}

static bool touches(unsigned int off, unsigned int size, unsigned int reg, unsigned int reg_bytes)
{
	return off < reg + reg_bytes && reg < off + size;
}

uint32_t pci_config_read(struct pci_function *f, unsigned int off, unsigned int size)
{
	assert(ck_range(off, size, PCI_CONFIG_BYTES) && size <= 4);
	if (f->ops->config_reading)
		f->ops->config_reading(f, off, size);
	uint8_t v[4] = { 0 };
	memcpy(v, f->config + off, size);
	return get_le32(v);
}

void pci_config_write(struct pci_function *f, unsigned int off, unsigned int size, uint32_t value)
{
	assert(ck_range(off, size, PCI_CONFIG_BYTES) && size <= 4);
	uint8_t v[4];
	put_le32(v, value);
	for (unsigned int i = 0; i < size; i++) {
		uint8_t mask = f->writable[off + i];
		f->config[off + i] = (uint8_t)((f->config[off + i] & ~mask) | (v[i] & mask));
	}
	if (touches(off, size, PCI_COMMAND, 2))
		for (unsigned int i = 0; i < PCI_BARS; i++)
			bar_sync(f, i);
	else if (touches(off, size, PCI_BASE_ADDRESS_0, 4 * PCI_BARS))
		bar_sync(f, (off - PCI_BASE_ADDRESS_0) / 4);
	if (f->ops->config_written)
		f->ops->config_written(f, off, size);
}

void pci_function_trap_reads(struct pci_function *f)
{
	pci_host_trap_reads(f->host);
}

static int restore(struct pci_function *f, struct state_node dev)
{
	struct state_node n;
	uint8_t saved[PCI_CONFIG_BYTES];
	int err = state_child(dev, "pci", &n);
	if (!err)
		err = state_check(n, state_compatible);
	if (!err)
		err = state_get_bytes(n, "config", saved, sizeof(saved));
	if (err) {
		log_error("%s: the snapshot has no usable PCI configuration; it is damaged, use "
			  "another one",
			  f->dev->name);
		return err == -ENOTSUP ? err : -EINVAL;
	}
	for (unsigned int i = 0; i < PCI_CONFIG_BYTES; i++) {
		if ((saved[i] ^ f->cold[i]) & ~f->writable[i]) {
			log_error("%s: PCI configuration byte 0x%02x is 0x%02x in the snapshot and "
				  "0x%02x here; it was saved with other options or is damaged",
				  f->dev->name, i, saved[i], f->cold[i]);
			return -EINVAL;
		}
	}
	memcpy(f->config, saved, sizeof(saved));
	return 0;
}

int pci_function_ready(struct pci_function *f, const struct state_node *from)
{
	memcpy(f->cold, f->config, PCI_CONFIG_BYTES);
	if (!from)
		return 0;
	int err = restore(f, *from);
	if (err)
		return err;
	for (unsigned int i = 0; i < PCI_BARS; i++)
		bar_sync(f, i);
	return 0;
}

void pci_function_reset(struct pci_function *f)
{
	for (unsigned int i = 0; i < PCI_BARS; i++)
		bar_unmap(f, i);
	memcpy(f->config, f->cold, PCI_CONFIG_BYTES);
}

void pci_function_save(struct pci_function *f, struct state_writer *w)
{
	state_begin(w, "pci", state_compatible);
	state_put_bytes(w, "config", f->config, PCI_CONFIG_BYTES);
	state_end(w);
}

void pci_function_fini(struct pci_function *f)
{
	if (!f->host)
		return;
	for (unsigned int i = 0; i < PCI_BARS; i++)
		bar_unmap(f, i);
	pci_host_detach(f->host, f);
	f->host = NULL;
}
