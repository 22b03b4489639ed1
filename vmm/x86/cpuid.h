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
#include "vmm/x86/cpu_model.h"

struct kvm_cpuid2;

/*
 * Gives every vCPU its CPUID table. Paused, before the first run. -> 0; -ENOTSUP: this host's processor lacks what
 * @model has, which one log line names; -errno, logged.
 */
int x86_cpuid_apply(const struct kvm *kvm, const struct vcpus *vcpus, enum x86_cpu_model model);

/* ---- to and from the state tree (cpuid_state.c) ---- */

extern const char x86_processor_compatible[]; /* "charmvm,x86-processor-1" */

/* Property "cpuid" of the node that the caller has begun: vCPU 0's table, seven cells an entry: function, index,
 * flags, eax, ebx, ecx, edx. -> 0 or -errno, logged. */
int x86_cpuid_save(const struct vcpus *vcpus, struct state_writer *w);
struct x86_cpuid_load {
	const struct kvm *kvm;
	const struct vcpus *vcpus;
	enum x86_cpu_model model; /* what it may be at most; X86_CPU_HOST: as much as it likes */
	bool running; /* they have run, so it can only be compared: any difference is refused */
};

/*
 * The processor becomes the saved one. -> 0; -ENOTSUP: this host's lacks features of it, by name in @why (of @bytes), or it is
 * more than the model; -EINVAL, -errno, with one line in @why, too. Nothing is logged.
 */
int x86_cpuid_load(const struct x86_cpuid_load *l, struct state_node n, char *why, size_t bytes);
/* The features that @want has and @have has not, by name, separated by commas; "" if there is none. */
void x86_cpuid_list_missing(const struct kvm_cpuid2 *want, const struct kvm_cpuid2 *have, char *out,
			    size_t bytes);

/* ---- what cpuid.c and cpuid_state.c share ---- */

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
