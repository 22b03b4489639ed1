/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm and one virtual machine on it: memory slots, interrupts and doorbells. vCPUs are in vcpu.h.
 * What is the same on every architecture is here; registers, CPUID and chips are vmm/x86's.
 * (Linux Documentation/virt/kvm/api.rst.)
 */
#ifndef KVM_KVM_H
#define KVM_KVM_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/guestmem.h"
#include "vmm/core/irq.h"
#include "vmm/core/notify.h"

struct kvm {
	int dev_fd;	   /* /dev/kvm */
	int vm_fd;	   /* the machine */
	int run_len_bytes; /* of the struct kvm_run of each vCPU */
	const void *rom;   /* what kvm_map_rom() shows, or NULL */
};

/*
 * Opens /dev/kvm, checks what this program needs of it and makes an empty machine. Each failure is
 * one line that says what to do. -> 0, -ENOENT (no KVM), -EACCES (forbidden), -ENOTSUP (too old), -errno.
 */
int kvm_open(struct kvm *kvm);
/* The vCPUs are gone. Fine on one that failed to open. */
void kvm_close(struct kvm *kvm);

/* Every region of @gm becomes a memory slot, in its order. -> 0 or -errno, logged. */
int kvm_map_ram(struct kvm *kvm, const struct guestmem *gm);

/*
 * Shows [hva, hva+len) at @gpa for reading, without an exit; writes there come as MMIO. @on false takes
 * it away, and all that the guest has mapped with it: KVM forgets every page of the machine then. There is one such
 * place in a machine; showing what is shown does nothing. -> 0 or -errno (not logged: reads can be served as MMIO).
 */
int kvm_map_rom(struct kvm *kvm, uint64_t gpa, void *hva, uint64_t len_bytes, bool on);

/* ---- interrupts and doorbells (kvm_irq.c) ---- */

struct kvm_irqs;

/*
 * The machine has its in-kernel interrupt controllers. @pins inputs of the I/O APIC come first in the
 * routing table, @first_routes and @nfirst describe them (struct kvm_irq_routing_entry[]); message
 * routes follow. -> 0 or -errno, logged.
 */
struct kvm_irq_routing_entry;
int kvm_irqs_create(struct kvm *kvm, unsigned int pins,
		    const struct kvm_irq_routing_entry *first_routes, unsigned int nfirst,
		    struct kvm_irqs **out);
/* Every device has freed its routes. NULL is fine. */
void kvm_irqs_destroy(struct kvm_irqs *k);

/* What devices are given; valid until kvm_irqs_destroy(). */
struct irqchip *kvm_irqs_chip(struct kvm_irqs *k);
struct notifier *kvm_irqs_notifier(struct kvm_irqs *k);

#endif
