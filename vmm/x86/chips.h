/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chips that KVM keeps in the kernel: PICs, I/O APIC, PIT and the guest's clock; made with the machine,
 * saved and loaded while the vCPUs are paused. A reset is a load of what was saved before the
 * first run.
 */
#ifndef X86_CHIPS_H
#define X86_CHIPS_H

#include "vmm/core/state.h"
#include "vmm/kvm/kvm.h"

/* Before the first vCPU. *out: interrupt routes and doorbells. -> 0 or -errno, logged. */
int x86_chips_create(struct kvm *kvm, struct kvm_irqs **out);

extern const char x86_chips_compatible[];

/* Properties of the node that the caller has begun: "pic0", "pic1", "ioapic" as KVM's images of the
 * chips' registers, "pit" {the three channels}, "clock-ns" (kvm-clock). -> 0 or -errno, logged. */
int x86_chips_save(const struct kvm *kvm, struct state_writer *w);
int x86_chips_load(const struct kvm *kvm, struct state_node n);

#endif
