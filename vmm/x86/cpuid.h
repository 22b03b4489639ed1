/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processor the guest sees: the host's as KVM can offer it, less what would make a snapshot
 * unportable or a boot slow (performance counters, nested virtualisation), plus a topology of
 * one socket with @count cores of one thread.
 */
#ifndef X86_CPUID_H
#define X86_CPUID_H

#include <stdbool.h>

#include "vmm/core/state.h"
#include "vmm/kvm/vcpu.h"

struct kvm_cpuid2;

/* Gives every vCPU its CPUID table. Paused, before the first run. -> 0 or -errno, logged. */
int x86_cpuid_apply(const struct kvm *kvm, const struct vcpus *vcpus);

/* ---- to and from the state tree (cpuid_state.c) ---- */

extern const char x86_processor_compatible[]; /* "charmvm,x86-processor-1" */

/* Property "cpuid" of the node that the caller has begun: vCPU 0's table, seven cells an entry: function, index,
 * flags, eax, ebx, ecx, edx. -> 0 or -errno, logged. */
int x86_cpuid_save(const struct vcpus *vcpus, struct state_writer *w);
/*
 * The processor becomes the saved one. -> 0; -ENOTSUP: this host's lacks features of it, which one log line
 * names; -EINVAL, -errno. @running: they have run, so it can only be compared: any difference is refused.
 */
int x86_cpuid_load(const struct kvm *kvm, const struct vcpus *vcpus, struct state_node n,
		   bool running);

/* ---- for cpuid_state.c ---- */

enum { X86_CPUID_ENTRIES_MAX = 256 };

/* Zeroed, with room for X86_CPUID_ENTRIES_MAX; to free(). NULL: out of memory. */
struct kvm_cpuid2 *x86_cpuid_alloc(void);
/* What KVM offers on this host; *out to free(). -> 0 or -errno. */
int x86_cpuid_offer(const struct kvm *kvm, struct kvm_cpuid2 **out);
/* Makes the table that of vCPU @index of @count. */
void x86_cpuid_fix(struct kvm_cpuid2 *table, unsigned int index, unsigned int count);
/* Gives every vCPU the table, fixed for it. -> 0 or -errno, logged. */
int x86_cpuid_set(const struct kvm *kvm, const struct vcpus *vcpus, struct kvm_cpuid2 *table);

#endif
