/* SPDX-License-Identifier: Apache-2.0 */
/* Interrupts and doorbells on KVM: irqfd, ioeventfd and the table of routes. */
/*
 * How it works. KVM knows an interrupt by a number (GSI); a table says where each goes. The first
 * ones are the pins of the I/O APIC; each message route of a device gets a number behind them and an
 * eventfd that KVM listens to (irqfd) while the route is unmasked. A masked route's eventfd is not
 * listened to: its count waits, and KVM looks at it when the irqfd comes back.
 *
 * KVM replaces the table as a whole and waits for all vCPUs to see it, so it is written only when a
 * route's target really changes. Taking an irqfd down waits for a grace period of the host kernel's, which is
 * milliseconds; so a route that is given back stays as it is for the next who wants one. A revert, which makes all
 * devices anew, then finds each where it was. `lock` guards the table; callers hold their device's lock.
 */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"

enum { MSI_ROUTES_MAX = 1024 };

struct msi_route {
	bool made;     /* it has an fd */
	bool used;     /* somebody has it; else it is kept for the next */
	bool set;      /* addr and data are in KVM's table */
	bool unmasked; /* KVM listens to fd */
	int fd;
	uint64_t addr;
	uint32_t data;
};

struct kvm_irqs {
	struct irqchip chip;
	struct notifier notifier;
	int vm_fd;
	unsigned int pins;
	unsigned int nfirst;

	pthread_mutex_t lock;
	struct msi_route routes[MSI_ROUTES_MAX]; /* the GSI is pins + index */
	uint32_t nroutes;			 /* one behind the last that was ever used */
	struct kvm_irq_routing *table;		 /* room for nfirst + MSI_ROUTES_MAX entries */
};

static struct kvm_irqs *of_chip(struct irqchip *c)
{
	return container_of(c, struct kvm_irqs, chip);
}

static int write_table(struct kvm_irqs *k)
{
	unsigned int n = k->nfirst;
	for (unsigned int i = 0; i < k->nroutes; i++) {
		if (!k->routes[i].set)
			continue;
		k->table->entries[n++] = (struct kvm_irq_routing_entry){
			.gsi = k->pins + i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = (uint32_t)k->routes[i].addr,
				   .address_hi = (uint32_t)(k->routes[i].addr >> 32),
				   .data = k->routes[i].data },
		};
	}
	k->table->nr = n;
	return ioctl(k->vm_fd, KVM_SET_GSI_ROUTING, k->table) < 0 ? -errno : 0;
}

static int listen_to(struct kvm_irqs *k, uint32_t id, bool on)
{
	struct kvm_irqfd arg = {
		.fd = (uint32_t)k->routes[id].fd,
		.gsi = k->pins + id,
		.flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
	};
	if (ioctl(k->vm_fd, KVM_IRQFD, &arg) < 0)
		return -errno;
	k->routes[id].unmasked = on;
	return 0;
}

/* One that was given back may still be listened to: its new owner says at once what it is to be. */
static int take_route(struct msi_route *r)
{
	if (!r->made)
		r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->fd < 0)
		return -errno;
	r->made = r->used = true;
	return 0;
}

static int msi_alloc(struct irqchip *c, int *out_fd, uint32_t *out_id)
{
	struct kvm_irqs *k = of_chip(c);
	uint32_t i = 0;
	pthread_mutex_lock(&k->lock);
	while (i < MSI_ROUTES_MAX && k->routes[i].used)
		i++;
	int err = i < MSI_ROUTES_MAX ? take_route(&k->routes[i]) : -ENOSPC;
	if (!err) {
		*out_fd = k->routes[i].fd;
		*out_id = i;
		k->nroutes = MAX(k->nroutes, i + 1);
	}
	pthread_mutex_unlock(&k->lock);
	return err;
}

static int msi_set(struct irqchip *c, uint32_t id, uint64_t addr, uint32_t data)
{
	struct kvm_irqs *k = of_chip(c);
	struct msi_route *r = &k->routes[id];
	int err = 0;
	pthread_mutex_lock(&k->lock);
	if (!r->set || r->addr != addr || r->data != data) {
		r->addr = addr;
		r->data = data;
		r->set = true;
		err = write_table(k);
	}
	pthread_mutex_unlock(&k->lock);
	return err;
}

static int msi_mask(struct irqchip *c, uint32_t id, bool masked)
{
	struct kvm_irqs *k = of_chip(c);
	int err = 0;
	pthread_mutex_lock(&k->lock);
	if (k->routes[id].unmasked == masked)
		err = listen_to(k, id, !masked);
	pthread_mutex_unlock(&k->lock);
	return err;
}

static void msi_free(struct irqchip *c, uint32_t id)
{
	struct kvm_irqs *k = of_chip(c);
	pthread_mutex_lock(&k->lock);
	k->routes[id].used = false;
	pthread_mutex_unlock(&k->lock);
}

static int set_line(struct irqchip *c, uint32_t gsi, bool level)
{
	struct kvm_irq_level arg = { .irq = gsi, .level = level };
	return ioctl(of_chip(c)->vm_fd, KVM_IRQ_LINE, &arg) < 0 ? -errno : 0;
}

static const struct irqchip_ops kvm_irqchip_ops = {
	.msi_alloc = msi_alloc,
	.msi_set = msi_set,
	.msi_mask = msi_mask,
	.msi_free = msi_free,
	.set_line = set_line,
};

static int assign(struct notifier *n, uint64_t gpa, unsigned int size, const uint64_t *match,
		  int fd, bool on)
{
	struct kvm_irqs *k = container_of(n, struct kvm_irqs, notifier);
	struct kvm_ioeventfd arg = {
		.addr = gpa,
		.len = size,
		.fd = fd,
		.datamatch = match ? *match : 0,
		.flags = (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0U) |
			 (on ? 0U : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};
	return ioctl(k->vm_fd, KVM_IOEVENTFD, &arg) < 0 ? -errno : 0;
}

int kvm_irqs_create(struct kvm *kvm, unsigned int pins,
		    const struct kvm_irq_routing_entry *first_routes, unsigned int nfirst,
		    struct kvm_irqs **out)
{
	struct kvm_irqs *k = calloc(1, sizeof(*k));
	size_t entries = nfirst + MSI_ROUTES_MAX;
	if (k)
		k->table = calloc(1, sizeof(*k->table) + entries * sizeof(k->table->entries[0]));
	if (!k || !k->table) {
		free(k);
		return -ENOMEM;
	}
	k->chip.ops = &kvm_irqchip_ops;
	k->notifier.assign = assign;
	k->vm_fd = kvm->vm_fd;
	k->pins = pins;
	k->nfirst = nfirst;
	memcpy(k->table->entries, first_routes, nfirst * sizeof(*first_routes));
	pthread_mutex_init(&k->lock, NULL);
	int err = write_table(k);
	if (err) {
		log_error("KVM refuses the interrupt routes: %s", strerror(-err));
		kvm_irqs_destroy(k);
		return err;
	}
	*out = k;
	return 0;
}

void kvm_irqs_destroy(struct kvm_irqs *k)
{
	if (!k)
		return;
	for (uint32_t i = 0; i < k->nroutes; i++)
		close(k->routes[i].fd);
	pthread_mutex_destroy(&k->lock);
	free(k->table);
	free(k);
}

struct irqchip *kvm_irqs_chip(struct kvm_irqs *k)
{
	return &k->chip;
}

struct notifier *kvm_irqs_notifier(struct kvm_irqs *k)
{
	return &k->notifier;
}
