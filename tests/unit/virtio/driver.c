/* SPDX-License-Identifier: Apache-2.0 */
/* A guest and its driver, for unit tests. Everything about them is asserted: they are the tests'
 * own code. */
#include "tests/unit/virtio/driver.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "devices/pci/pci.h"
#include "vmm/base/checked.h"

enum { DATA0 = 0x40, MSI_ADDR = 0xfee00000u };

/* ---- fakes ---- */

static struct guest *of_chip(struct irqchip *c)
{
	return container_of(c, struct guest, chip);
}

static int fake_msi_alloc(struct irqchip *c, int *out_fd, uint32_t *out_id)
{
	struct guest *g = of_chip(c);
	for (uint32_t i = 0; i < GUEST_ROUTES; i++) {
		if (g->routes[i].used)
			continue;
		g->routes[i] = (struct fake_route){ .used = true };
		g->routes[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		assert(g->routes[i].fd >= 0);
		*out_fd = g->routes[i].fd;
		*out_id = i;
		return 0;
	}
	return -ENOSPC;
}

static int fake_msi_set(struct irqchip *c, uint32_t id, uint64_t addr, uint32_t data)
{
	struct guest *g = of_chip(c);
	g->msi_sets++;
	g->routes[id].addr = addr;
	g->routes[id].data = data;
	return 0;
}

static int fake_msi_mask(struct irqchip *c, uint32_t id, bool masked)
{
	of_chip(c)->routes[id].unmasked = !masked;
	return 0;
}

static void fake_msi_free(struct irqchip *c, uint32_t id)
{
	struct guest *g = of_chip(c);
	assert(g->routes[id].used);
	close(g->routes[id].fd);
	g->routes[id].used = false;
}

static const struct irqchip_ops fake_chip_ops = {
	.msi_alloc = fake_msi_alloc,
	.msi_set = fake_msi_set,
	.msi_mask = fake_msi_mask,
	.msi_free = fake_msi_free,
};

static int fake_assign(struct notifier *n, uint64_t gpa, unsigned int size, const uint64_t *match,
		       int fd, bool on)
{
	struct guest *g = container_of(n, struct guest, notifier);
	assert(!size && !match);
	if (g->no_doorbells)
		return -ENOSPC;
	for (unsigned int i = 0; i < g->ndoorbells; i++) {
		if (g->doorbells[i].gpa != gpa)
			continue;
		assert(!on && g->doorbells[i].fd == fd);
		g->doorbells[i] = g->doorbells[--g->ndoorbells];
		return 0;
	}
	assert(on && g->ndoorbells < GUEST_DOORBELLS);
	g->doorbells[g->ndoorbells++] = (struct fake_doorbell){ gpa, fd };
	return 0;
}

static void fake_reset(void *opaque)
{
	((struct guest *)opaque)->resets++;
}

static void fake_quiet(void *opaque, struct device *d)
{
	(void)d;
	((struct guest *)opaque)->quiet_calls++;
}

static int fake_map_rom(void *opaque, uint64_t gpa, void *hva, uint64_t len_bytes, bool on)
{
	struct guest *g = opaque;
	assert(gpa == GUEST_ECAM && hva && len_bytes == PCI_ECAM_BYTES &&
	       g->config_is_memory != on);
	g->config_is_memory = on;
	return 0;
}

/* ---- the guest ---- */

void guest_init(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	g->ram = mmap(NULL, GUEST_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	assert(g->ram != MAP_FAILED);
	g->brk = 4096;
	g->chip.ops = &fake_chip_ops;
	g->notifier.assign = fake_assign;
	int err = loop_create(&g->loop);
	err = err ? err : guestmem_add(&g->mem, 0, GUEST_RAM_BYTES, g->ram);
	g->env = (struct device_env){
		.loop = g->loop,
		.mem = &g->mem,
		.irq = &g->chip,
		.notify = &g->notifier,
		.reset = fake_reset,
		.power_opaque = g,
		.quiet = fake_quiet,
		.quiet_opaque = g,
	};
	err = err ? err : bus_create(&g->env.pio);
	err = err ? err : bus_create(&g->env.mmio);
	const struct pci_host_config cfg = {
		.ecam_base = GUEST_ECAM,
		.mmio_base = GUEST_MMIO,
		.mmio_len_bytes = UINT64_C(0x20000000),
		.config_port = 0xcf8,
		.map_rom = fake_map_rom,
		.map_opaque = g,
	};
	err = err ? err : pci_host_device.create(&g->env, "pci", &cfg, NULL, &g->host);
	assert(!err);
	g->env.pci = pci_host_of(g->host);
}

void guest_fini(struct guest *g)
{
	pci_host_device.destroy(g->host);
	assert(!g->ndoorbells);
	for (unsigned int i = 0; i < GUEST_ROUTES; i++)
		assert(!g->routes[i].used);
	bus_destroy(g->env.mmio);
	bus_destroy(g->env.pio);
	loop_destroy(g->loop);
	munmap(g->ram, GUEST_RAM_BYTES);
}

uint64_t guest_alloc(struct guest *g, uint64_t len_bytes, uint64_t align)
{
	uint64_t gpa = align_up(g->brk, align);
	g->brk = gpa + len_bytes;
	assert(g->brk <= GUEST_RAM_BYTES);
	memset(g->ram + gpa, 0, len_bytes);
	return gpa;
}

void *guest_ptr(struct guest *g, uint64_t gpa)
{
	assert(gpa < GUEST_RAM_BYTES);
	return g->ram + gpa;
}

static void turn_over(void *opaque)
{
	*(bool *)opaque = true;
}

void guest_run(struct guest *g)
{
	/* A turn serves what is ready, then all tasks; what they lead to is ready for the next one.
	 */
	for (unsigned int i = 0; i < 3; i++) {
		bool done = false;
		struct loop_task end = { .fn = turn_over, .opaque = &done };
		loop_task_post(g->loop, &end);
		int err = loop_run_until(g->loop, &done);
		assert(!err);
	}
}

uint64_t mmio_read(struct guest *g, uint64_t gpa, unsigned int size)
{
	uint64_t v;
	bus_read(g->env.mmio, gpa, size, &v);
	return v;
}

void mmio_write(struct guest *g, uint64_t gpa, unsigned int size, uint64_t value)
{
	for (unsigned int i = 0; i < g->ndoorbells; i++) {
		uint64_t one = 1;
		if (g->doorbells[i].gpa == gpa) {
			ssize_t n = write(g->doorbells[i].fd, &one, sizeof(one));
			assert(n == sizeof(one));
			return;
		}
	}
	bus_write(g->env.mmio, gpa, size, value);
}

uint32_t config_read(struct guest *g, unsigned int slot, unsigned int off, unsigned int size)
{
	return (uint32_t)mmio_read(g, GUEST_ECAM + ((uint64_t)slot << 15) + off, size);
}

void config_write(struct guest *g, unsigned int slot, unsigned int off, unsigned int size,
		  uint32_t value)
{
	mmio_write(g, GUEST_ECAM + ((uint64_t)slot << 15) + off, size, value);
}

unsigned int guest_irqs(struct guest *g, unsigned int n)
{
	unsigned int sum = 0;
	for (unsigned int i = 0; i < GUEST_ROUTES; i++) {
		uint64_t count;
		struct fake_route *r = &g->routes[i];
		if (!r->used || !r->unmasked || r->addr != MSI_ADDR || r->data != DATA0 + n)
			continue;
		if (read(r->fd, &count, sizeof(count)) == sizeof(count))
			sum += (unsigned int)count;
	}
	return sum;
}

/* ---- finding the device ---- */

static void probe_virtio_cap(struct driver *d, uint8_t cap)
{
	struct guest *g = d->g;
	uint64_t at = d->bar + config_read(g, d->slot, cap + VIRTIO_PCI_CAP_OFFSET, 4);
	switch (config_read(g, d->slot, cap + VIRTIO_PCI_CAP_CFG_TYPE, 1)) {
	case VIRTIO_PCI_CAP_COMMON_CFG: d->common = at; break;
	case VIRTIO_PCI_CAP_ISR_CFG: d->isr = at; break;
	case VIRTIO_PCI_CAP_DEVICE_CFG: d->device = at; break;
	case VIRTIO_PCI_CAP_NOTIFY_CFG:
		d->notify = at;
		d->notify_multiplier = config_read(g, d->slot, cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
		break;
	case VIRTIO_PCI_CAP_PCI_CFG: d->pci_cfg_cap = cap; break;
	default: assert(false);
	}
}

static void probe_msix(struct driver *d, uint8_t cap)
{
	struct guest *g = d->g;
	uint16_t flags = (uint16_t)config_read(g, d->slot, cap + PCI_MSIX_FLAGS, 2);
	d->msix_cap = cap;
	d->nvectors = (flags & PCI_MSIX_FLAGS_QSIZE) + 1;
	d->msix_table = d->bar + (config_read(g, d->slot, cap + PCI_MSIX_TABLE, 4) & ~7u);
	config_write(g, d->slot, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	for (unsigned int n = 0; n < d->nvectors; n++) {
		uint64_t entry = d->msix_table + n * PCI_MSIX_ENTRY_SIZE;
		mmio_write(g, entry + PCI_MSIX_ENTRY_LOWER_ADDR, 4, MSI_ADDR);
		mmio_write(g, entry + PCI_MSIX_ENTRY_DATA, 4, DATA0 + n);
		mmio_write(g, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
	}
}

void driver_probe(struct driver *d, struct guest *g, unsigned int slot)
{
	*d = (struct driver){ .g = g, .slot = slot };
	assert(config_read(g, slot, PCI_VENDOR_ID, 2) == 0x1af4);
	d->bar = config_read(g, slot, PCI_BASE_ADDRESS_0, 4) & ~0xfu;
	config_write(g, slot, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	uint8_t cap = (uint8_t)config_read(g, slot, PCI_CAPABILITY_LIST, 1);
	for (; cap; cap = (uint8_t)config_read(g, slot, cap + 1, 1)) {
		if (config_read(g, slot, cap, 1) == PCI_CAP_ID_VNDR)
			probe_virtio_cap(d, cap);
		else if (config_read(g, slot, cap, 1) == PCI_CAP_ID_MSIX)
			probe_msix(d, cap);
	}
	assert(d->common && d->notify && d->isr && d->msix_cap);
	mmio_write(g, d->common + VIRTIO_PCI_COMMON_MSIX, 2, 0);
}

uint8_t driver_status(struct driver *d)
{
	return (uint8_t)mmio_read(d->g, d->common + VIRTIO_PCI_COMMON_STATUS, 1);
}

void driver_set_status(struct driver *d, uint8_t value)
{
	mmio_write(d->g, d->common + VIRTIO_PCI_COMMON_STATUS, 1, value);
}

uint64_t driver_offered(struct driver *d)
{
	uint64_t f = 0;
	for (uint32_t w = 0; w < 2; w++) {
		mmio_write(d->g, d->common + VIRTIO_PCI_COMMON_DFSELECT, 4, w);
		f |= mmio_read(d->g, d->common + VIRTIO_PCI_COMMON_DF, 4) << (32 * w);
	}
	return f;
}

uint8_t driver_negotiate(struct driver *d, uint64_t want)
{
	driver_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	d->features = want & driver_offered(d);
	for (uint32_t w = 0; w < 2; w++) {
		mmio_write(d->g, d->common + VIRTIO_PCI_COMMON_GFSELECT, 4, w);
		mmio_write(d->g, d->common + VIRTIO_PCI_COMMON_GF, 4,
			   (uint32_t)(d->features >> (32 * w)));
	}
	driver_set_status(d, driver_status(d) | VIRTIO_CONFIG_S_FEATURES_OK);
	return driver_status(d);
}

void driver_queue(struct driver *d, unsigned int q, uint16_t size)
{
	struct guest *g = d->g;
	mmio_write(g, d->common + VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
	if (!size)
		size = (uint16_t)mmio_read(g, d->common + VIRTIO_PCI_COMMON_Q_SIZE, 2);
	assert(size && q < DRIVER_QUEUES);
	d->q[q] = (struct driver_queue){
		.size = size,
		.desc = guest_alloc(g, 16u * size, 16),
		.avail = guest_alloc(g, 6u + 2u * size, 2),
		.used = guest_alloc(g, 6u + 8u * size, 4),
	};
	mmio_write(g, d->common + VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	mmio_write(g, d->common + VIRTIO_PCI_COMMON_Q_MSIX, 2, 1 + q);
	mmio_write(g, d->common + VIRTIO_PCI_COMMON_Q_DESCLO, 4, d->q[q].desc);
	mmio_write(g, d->common + VIRTIO_PCI_COMMON_Q_AVAILLO, 4, d->q[q].avail);
	mmio_write(g, d->common + VIRTIO_PCI_COMMON_Q_USEDLO, 4, d->q[q].used);
	mmio_write(g, d->common + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void driver_start(struct driver *d, struct guest *g, unsigned int slot, uint64_t want,
		  unsigned int nqueues)
{
	driver_probe(d, g, slot);
	uint8_t status = driver_negotiate(d, want);
	assert(status & VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned int q = 0; q < nqueues; q++)
		driver_queue(d, q, 0);
	driver_set_status(d, status | VIRTIO_CONFIG_S_DRIVER_OK);
}

void driver_reset(struct driver *d)
{
	driver_set_status(d, 0);
}

/* ---- rings ---- */

struct vring_desc *driver_desc(struct driver *d, unsigned int q, unsigned int i)
{
	return (struct vring_desc *)guest_ptr(d->g, d->q[q].desc) + i;
}

uint16_t *driver_avail(struct driver *d, unsigned int q)
{
	return guest_ptr(d->g, d->q[q].avail);
}

static uint16_t *used_ring(struct driver *d, unsigned int q)
{
	return guest_ptr(d->g, d->q[q].used);
}

void driver_offer(struct driver *d, unsigned int q, uint16_t head)
{
	struct driver_queue *dq = &d->q[q];
	uint16_t *avail = driver_avail(d, q);
	avail[2 + dq->next_avail % dq->size] = head;
	dq->next_avail++;
	__atomic_store_n(&avail[1], dq->next_avail, __ATOMIC_RELEASE);
}

static void fill_chain(struct vring_desc *table, unsigned int first, unsigned int table_len,
		       const struct buf *bufs, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		unsigned int at = (first + i) % table_len;
		table[at] = (struct vring_desc){
			.addr = bufs[i].gpa,
			.len = bufs[i].len,
			.flags = (uint16_t)((bufs[i].write ? VRING_DESC_F_WRITE : 0) |
					    (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
			.next = (uint16_t)((at + 1) % table_len),
		};
	}
}

uint16_t driver_add(struct driver *d, unsigned int q, const struct buf *bufs, unsigned int n)
{
	struct driver_queue *dq = &d->q[q];
	uint16_t head = dq->next_desc;
	fill_chain(driver_desc(d, q, 0), head, dq->size, bufs, n);
	dq->next_desc = (uint16_t)((head + n) % dq->size);
	driver_offer(d, q, head);
	return head;
}

uint16_t driver_add_indirect(struct driver *d, unsigned int q, const struct buf *bufs,
			     unsigned int n)
{
	struct driver_queue *dq = &d->q[q];
	uint64_t table = guest_alloc(d->g, 16u * n, 16);
	uint16_t head = dq->next_desc;
	fill_chain(guest_ptr(d->g, table), 0, n, bufs, n);
	*driver_desc(d, q, head) = (struct vring_desc){
		.addr = table,
		.len = 16 * n,
		.flags = VRING_DESC_F_INDIRECT,
	};
	dq->next_desc = (uint16_t)((head + 1) % dq->size);
	driver_offer(d, q, head);
	return head;
}

void driver_kick(struct driver *d, unsigned int q)
{
	mmio_write(d->g, d->notify + (uint64_t)q * d->notify_multiplier, 2, q);
}

bool driver_should_kick(struct driver *d, unsigned int q, uint16_t old)
{
	const struct driver_queue *dq = &d->q[q];
	if (!(d->features >> VIRTIO_RING_F_EVENT_IDX & 1))
		return !(used_ring(d, q)[0] & VRING_USED_F_NO_NOTIFY);
	uint16_t event = used_ring(d, q)[2 + 4 * dq->size];
	return vring_need_event(event, dq->next_avail, old);
}

bool driver_used(struct driver *d, unsigned int q, uint32_t *id, uint32_t *len)
{
	struct driver_queue *dq = &d->q[q];
	uint16_t *used = used_ring(d, q);
	if (__atomic_load_n(&used[1], __ATOMIC_ACQUIRE) == dq->next_used)
		return false;
	struct vring_used_elem e;
	memcpy(&e, used + 2 + 4 * (dq->next_used % dq->size), sizeof(e));
	dq->next_used++;
	*id = e.id;
	*len = e.len;
	return true;
}

bool driver_do(struct driver *d, unsigned int q, const struct buf *bufs, unsigned int n,
	       uint32_t *len)
{
	uint16_t head = driver_add(d, q, bufs, n);
	uint32_t id;
	driver_kick(d, q);
	guest_run(d->g);
	if (!driver_used(d, q, &id, len))
		return false;
	assert(id == head);
	return true;
}

/* ---- state ---- */

void *device_state(struct device *dev, size_t *len_bytes)
{
	struct state_writer *w;
	const void *blob;
	int err = state_writer_create(&w);
	assert(!err);
	state_begin(w, "", dev->ops->compatible);
	dev->ops->save(dev, w);
	state_end(w);
	err = state_finish(w, &blob, len_bytes);
	assert(!err);
	void *copy = malloc(*len_bytes);
	assert(copy);
	memcpy(copy, blob, *len_bytes);
	state_writer_destroy(w);
	return copy;
}
