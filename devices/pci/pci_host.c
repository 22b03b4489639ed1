/* SPDX-License-Identifier: Apache-2.0 */
/* The host bridge: from an address in ECAM, or a pair of port accesses, to a function's register.
 */
/*
 * How it works
 *
 * `ecam` is one mebibyte of lazily populated memory, laid out as the guest sees it: slot << 15 is
 * the page of the slot's function 0. A slot without a function is all ones, the answer of an empty
 * slot. With map_rom() the guest reads that memory itself, and only its writes arrive here; without
 * it, or after pci_host_trap_reads(), reads arrive too and mean the same. (Functions 1 to 7 exist
 * nowhere; they read as ones through a trap and as zeroes from memory, and both mean "nobody" to a
 * guest.)
 *
 * The bridge is itself function 0 of slot 0 and has nothing but a name: no capability and no BAR,
 * so that a kernel is done with it at once. Bytes beyond 256 read as ones: no extended
 * capabilities.
 */
#include "devices/pci/pci.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/base/checked.h"

static const char state_compatible[] = "charmvm,pci-host-1";

enum {
	/* Configuration mechanism #1 (PCI 3.0, 3.2.2.3.2). */
	PORT_ADDRESS = 0,
	PORT_RESET = 1, /* one byte, as chipsets have it between the two */
	PORT_DATA = 4,
	PORTS = 8,
	RESET_CPU = 1 << 2,

	FUNCTION_BYTES = 4096,
};
#define ADDRESS_ENABLE	 UINT32_C(0x80000000)
#define ADDRESS_WRITABLE UINT32_C(0x80fffffc)

/* The generic bridge of the Red Hat range, as other virtual machines present it; no driver binds to
 * it. */
static const struct pci_ids bridge_ids = {
	.vendor = 0x1b36,
	.device = 0x0008,
	.subsystem_vendor = 0x1af4,
	.subsystem = 0x1100,
	.class_code = 0x060000,
};

struct pci_host {
	struct device dev; /* its lock guards everything here, and is taken before a function's */
	struct pci_host_config cfg;
	struct pci_function bridge;
	struct pci_function *slots[PCI_SLOTS];
	uint8_t *ecam;
	bool rom_mapped;
	uint32_t address; /* of the ports */
	struct bus_range ecam_range;
	struct bus_range port_range;
};

static uint8_t *slot_page(const struct pci_host *h, unsigned int slot)
{
	return h->ecam + ((size_t)slot << PCI_ECAM_SLOT_SHIFT);
}

int pci_host_attach(struct pci_host *h, struct pci_function *f)
{
	if (h->slots[f->slot])
		return -EEXIST;
	h->slots[f->slot] = f;
	f->config = slot_page(h, f->slot);
	memset(f->config, 0, PCI_CONFIG_BYTES);
	/* What no function implements. */
	memset(f->config + PCI_CONFIG_BYTES, 0xff, FUNCTION_BYTES - PCI_CONFIG_BYTES);
	return 0;
}

void pci_host_detach(struct pci_host *h, struct pci_function *f)
{
	memset(f->config, 0xff, PCI_CONFIG_BYTES);
	f->config = NULL;
	h->slots[f->slot] = NULL;
}

uint64_t pci_host_slot_window(const struct pci_host *h, unsigned int slot)
{
	return h->cfg.mmio_base + (uint64_t)slot * PCI_SLOT_WINDOW_BYTES;
}

void pci_host_trap_reads(struct pci_host *h)
{
	if (h->rom_mapped)
		h->cfg.map_rom(h->cfg.map_opaque, h->cfg.ecam_base, h->ecam, PCI_ECAM_BYTES, false);
	h->rom_mapped = false;
}

/* ---- one access ---- */

/* The function behind the bits that ECAM and the address port share, or NULL. */
static struct pci_function *function_at(struct pci_host *h, uint32_t bdf, unsigned int reg,
					unsigned int size)
{
	bool aligned = size <= 4 && !(reg & (size - 1));
	if (!aligned || bdf >= PCI_SLOTS << 3 || bdf & 7 || reg >= PCI_CONFIG_BYTES)
		return NULL;
	return h->slots[bdf >> 3];
}

static uint32_t config_read(struct pci_host *h, uint32_t bdf, unsigned int reg, unsigned int size)
{
	struct pci_function *f = function_at(h, bdf, reg, size);
	if (!f)
		return UINT32_MAX;
	if (f->dev == &h->dev)
		return pci_config_read(f, reg, size);
	pthread_mutex_lock(&f->dev->lock);
	uint32_t v = pci_config_read(f, reg, size);
	pthread_mutex_unlock(&f->dev->lock);
	return v;
}

static void config_write(struct pci_host *h, uint32_t bdf, unsigned int reg, unsigned int size,
			 uint32_t value)
{
	struct pci_function *f = function_at(h, bdf, reg, size);
	if (!f)
		return;
	if (f->dev == &h->dev) {
		pci_config_write(f, reg, size, value);
		return;
	}
	pthread_mutex_lock(&f->dev->lock);
	pci_config_write(f, reg, size, value);
	pthread_mutex_unlock(&f->dev->lock);
}

static uint64_t ecam_read(void *opaque, uint64_t off, unsigned int size)
{
	if (size > 4)
		return UINT64_MAX;
	return config_read(opaque, (uint32_t)(off >> 12), off & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	config_write(opaque, (uint32_t)(off >> 12), off & 0xfff, size, (uint32_t)value);
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned int size)
{
	struct pci_host *h = opaque;
	if (off == PORT_ADDRESS && size == 4)
		return h->address;
	if (off < PORT_DATA || !(h->address & ADDRESS_ENABLE))
		return UINT64_MAX;
	return config_read(h, (h->address & ~ADDRESS_ENABLE) >> 8,
			   (h->address & 0xfc) + (unsigned int)(off - PORT_DATA), size);
}

static void port_write(void *opaque, uint64_t off, unsigned int size, uint64_t value)
{
	struct pci_host *h = opaque;
	if (off == PORT_ADDRESS && size == 4)
		h->address = (uint32_t)value & ADDRESS_WRITABLE;
	else if (off == PORT_RESET && size == 1 && value & RESET_CPU)
		h->dev.env->reset(h->dev.env->power_opaque);
	else if (off >= PORT_DATA && h->address & ADDRESS_ENABLE)
		config_write(h, (h->address & ~ADDRESS_ENABLE) >> 8,
			     (h->address & 0xfc) + (unsigned int)(off - PORT_DATA), size,
			     (uint32_t)value);
}

/* ---- life cycle ---- */

static struct pci_host *host_of(struct device *d)
{
	return container_of(d, struct pci_host, dev);
}

struct pci_host *pci_host_of(struct device *d)
{
	return host_of(d);
}

static void host_destroy(struct device *d)
{
	struct pci_host *h = host_of(d);
	bus_unmap(d->env->pio, &h->port_range);
	bus_unmap(d->env->mmio, &h->ecam_range);
	if (!h->cfg.ecam)
		pci_host_trap_reads(h);
	pci_function_fini(&h->bridge);
	if (h->ecam && !h->cfg.ecam)
		munmap(h->ecam, PCI_ECAM_BYTES);
	device_fini(d);
	free(h);
}

static int map_ecam_memory(struct pci_host *h)
{
	h->ecam = h->cfg.ecam;
	if (h->ecam) /* zeroes again */
		return madvise(h->ecam, PCI_ECAM_BYTES, MADV_DONTNEED) < 0 ? -errno : 0;
	void *p = mmap(NULL, PCI_ECAM_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	h->ecam = p;
	return 0;
}

static int map_ranges(struct pci_host *h)
{
	const struct device_env *env = h->dev.env;
	h->ecam_range = (struct bus_range){
		.base = h->cfg.ecam_base,
		.len_bytes = PCI_ECAM_BYTES,
		.lock = &h->dev.lock,
		.read = ecam_read,
		.write = ecam_write,
		.opaque = h,
		.name = h->dev.name,
	};
	int err = bus_map(env->mmio, &h->ecam_range);
	if (err || !h->cfg.config_port)
		return err;
	h->port_range = (struct bus_range){
		.base = h->cfg.config_port,
		.len_bytes = PORTS,
		.lock = &h->dev.lock,
		.read = port_read,
		.write = port_write,
		.opaque = h,
		.name = h->dev.name,
	};
	return bus_map(env->pio, &h->port_range);
}

/* Reads without exits, where the machine can do that; fine where it cannot. */
static void show_rom(struct pci_host *h)
{
	if (!h->cfg.map_rom)
		return;
	for (unsigned int slot = 0; slot < PCI_SLOTS; slot++)
		if (!h->slots[slot])
			memset(slot_page(h, slot), 0xff, FUNCTION_BYTES);
	h->rom_mapped =
		!h->cfg.map_rom(h->cfg.map_opaque, h->cfg.ecam_base, h->ecam, PCI_ECAM_BYTES, true);
}

static int restore(struct pci_host *h, const struct state_node *from)
{
	if (!from)
		return 0;
	int err = state_check(*from, state_compatible);
	if (!err)
		err = state_get_u32(*from, "address", &h->address);
	h->address &= ADDRESS_WRITABLE;
	return err;
}

static int host_create(const struct device_env *env, const char *name, const void *cfg,
		       const struct state_node *from, struct device **out)
{
	struct pci_host *h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	device_init(&h->dev, &pci_host_device, env, name);
	h->cfg = *(const struct pci_host_config *)cfg;
	static const struct pci_function_ops no_ops;
	int err = h->cfg.mmio_len_bytes < (uint64_t)PCI_SLOTS * PCI_SLOT_WINDOW_BYTES ? -EINVAL : 0;
	if (!err)
		err = map_ecam_memory(h);
	if (!err)
		err = map_ranges(h);
	if (!err)
		err = pci_function_init(&h->bridge, h, 0, &h->dev, &no_ops, &bridge_ids);
	if (!err)
		err = pci_function_ready(&h->bridge, from);
	if (!err)
		err = restore(h, from);
	if (err) {
		log_error("%s: the PCI host bridge cannot be set up: %s", name, strerror(-err));
		host_destroy(&h->dev);
		return err;
	}
	show_rom(h);
	*out = &h->dev;
	return 0;
}

static void host_reset(struct device *d)
{
	struct pci_host *h = host_of(d);
	h->address = 0;
	pci_function_reset(&h->bridge);
}

static int host_quiesce(struct device *d)
{
	(void)d;
	return 0;
}

static void host_save(struct device *d, struct state_writer *w)
{
	struct pci_host *h = host_of(d);
	state_put_u32(w, "address", h->address);
	pci_function_save(&h->bridge, w);
}

static void host_resume(struct device *d)
{
	(void)d;
}

const struct device_ops pci_host_device = {
	.compatible = state_compatible,
	.create = host_create,
	.reset = host_reset,
	.quiesce = host_quiesce,
	.save = host_save,
	.resume = host_resume,
	.destroy = host_destroy,
};
