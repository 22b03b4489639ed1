/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID policy. (AMD64 APM volume 3 appendix E, Intel SDM volume 2 CPUID, Linux virt/kvm/x86/cpuid.rst.) */
#include "vmm/x86/cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/base/log.h"

enum { MCE_BANKS = 1 };

#define MCG_CTL_PRESENT (UINT64_C(1) << 8) /* IA32_MCG_CAP */

enum cpuid_leaf {
	LEAF_FEATURES = 0x1,
	LEAF_CACHES = 0x4,
	LEAF_PERFMON = 0xa,
	LEAF_TOPOLOGY = 0xb,
	LEAF_TOPOLOGY_V2 = 0x1f,
	LEAF_EXT_FEATURES = 0x80000001,
	LEAF_EXT_SIZES = 0x80000008,
	LEAF_AMD_SVM = 0x8000000a,
	LEAF_AMD_CACHES = 0x8000001d,
	LEAF_AMD_TOPOLOGY = 0x8000001e,
	LEAF_AMD_PERFMON = 0x80000022,
};

/* Leaf 1 */
#define ECX1_VMX	  (UINT32_C(1) << 5)
#define ECX1_PDCM	  (UINT32_C(1) << 15)
#define ECX1_X2APIC	  (UINT32_C(1) << 21)
#define ECX1_TSC_DEADLINE (UINT32_C(1) << 24)
#define ECX1_HYPERVISOR	  (UINT32_C(1) << 31)
#define EDX1_HTT	  (UINT32_C(1) << 28)
/* Leaf 0x80000001 */
#define ECX81_CMP_LEGACY   (UINT32_C(1) << 1)
#define ECX81_SVM	   (UINT32_C(1) << 2)
#define ECX81_TOPOEXT	   (UINT32_C(1) << 22)
#define ECX81_PERFCTR_CORE (UINT32_C(1) << 23)
#define ECX81_PERFCTR_NB   (UINT32_C(1) << 24)
#define ECX81_PERFCTR_LLC  (UINT32_C(1) << 28)

enum topology_level { LEVEL_INVALID = 0, LEVEL_SMT = 1, LEVEL_CORE = 2 };

/* Bits of an APIC id that number @count cores. */
static uint32_t id_bits(unsigned int count)
{
	uint32_t bits = 0;
	while ((1U << bits) < count)
		bits++;
	return bits;
}

static void fix_features(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int count)
{
	e->ecx &= ~(ECX1_VMX | ECX1_PDCM);
	/* The in-kernel APIC does both whatever the host's processor has. */
	e->ecx |= ECX1_X2APIC | ECX1_TSC_DEADLINE | ECX1_HYPERVISOR;
	e->ebx = (e->ebx & 0xffff) | (count << 16) | (index << 24);
	e->edx = count > 1 ? e->edx | EDX1_HTT : e->edx & ~EDX1_HTT;
}

static void fix_topology(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int count)
{
	static const uint32_t level_type[] = { LEVEL_SMT, LEVEL_CORE, LEVEL_INVALID };
	uint32_t level = e->index < 2 ? e->index : 2;
	e->eax = level == 1 ? id_bits(count) : 0;
	e->ebx = level == 0 ? 1 : level == 1 ? count : 0;
	e->ecx = e->index | level_type[level] << 8;
	e->edx = index;
}

/* What is not of this machine is shown as not there. */
static void hide(struct kvm_cpuid_entry2 *e)
{
	e->eax = e->ebx = e->ecx = e->edx = 0;
}

static void fix_caches(struct kvm_cpuid_entry2 *e, unsigned int count)
{
	uint32_t level = (e->eax >> 5) & 7;
	uint32_t sharing = level >= 3 ? count - 1 : 0;
	/* Bits 31:26 cores in the package less one, 25:14 threads that share the cache less one. */
	e->eax = (e->eax & 0x3fff) | sharing << 14 | (uint32_t)((1U << id_bits(count)) - 1) << 26;
}

static void fix_entry(struct kvm_cpuid_entry2 *e, unsigned int index, unsigned int count)
{
	switch (e->function) {
	case LEAF_FEATURES: fix_features(e, index, count); break;
	case LEAF_CACHES:
		if (e->eax & 0x1f)
			fix_caches(e, count);
		break;
	case LEAF_TOPOLOGY:
	case LEAF_TOPOLOGY_V2: fix_topology(e, index, count); break;
	case LEAF_EXT_FEATURES:
		e->ecx &= ~(ECX81_SVM | ECX81_TOPOEXT | ECX81_PERFCTR_CORE | ECX81_PERFCTR_NB |
			    ECX81_PERFCTR_LLC);
		e->ecx = count > 1 ? e->ecx | ECX81_CMP_LEGACY : e->ecx & ~ECX81_CMP_LEGACY;
		break;
	case LEAF_EXT_SIZES:
		e->ecx = (e->ecx & ~UINT32_C(0xffff)) | id_bits(count) << 12 | (count - 1);
		break;
	case LEAF_PERFMON:
	case LEAF_AMD_SVM:
	case LEAF_AMD_CACHES:
	case LEAF_AMD_TOPOLOGY:
	case LEAF_AMD_PERFMON: hide(e); break;
	default: break;
	}
}

/* KVM offers the first topology levels of the host only; the guest looks for three. */
static void add_topology(struct kvm_cpuid2 *table, uint32_t leaf)
{
	uint32_t n = 0, max = 0;
	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function < 0x40000000 && table->entries[i].function > max)
			max = table->entries[i].function;
		if (table->entries[i].function != leaf)
			table->entries[n++] = table->entries[i];
	}
	table->nent = n;
	if (max < leaf)
		return;
	for (uint32_t level = 0; level < 3 && table->nent < X86_CPUID_ENTRIES_MAX; level++)
		table->entries[table->nent++] = (struct kvm_cpuid_entry2){
			.function = leaf, .index = level, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX
		};
}

/*
 * One bank of machine-check registers: each of the 32 that KVM gives otherwise costs a Linux guest
 * several exits at the start, and there is no hardware behind any of them.
 */
static int set_machine_check_banks(const struct kvm *kvm, int vcpu_fd)
{
	uint64_t cap = 0;
	if (ioctl(kvm->dev_fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &cap) < 0)
		return -errno;
	cap = (cap & MCG_CTL_PRESENT) | MCE_BANKS;
	return ioctl(vcpu_fd, KVM_X86_SETUP_MCE, &cap) < 0 ? -errno : 0;
}

struct kvm_cpuid2 *x86_cpuid_alloc(void)
{
	struct kvm_cpuid2 *t =
		calloc(1, sizeof(*t) + X86_CPUID_ENTRIES_MAX * sizeof(t->entries[0]));
	if (t)
		t->nent = X86_CPUID_ENTRIES_MAX;
	return t;
}

int x86_cpuid_offer(const struct kvm *kvm, struct kvm_cpuid2 **out)
{
	struct kvm_cpuid2 *offer = x86_cpuid_alloc();
	int err = offer ? 0 : -ENOMEM;
	if (!err && ioctl(kvm->dev_fd, KVM_GET_SUPPORTED_CPUID, offer) < 0)
		err = -errno;
	if (err) {
		free(offer);
		return err;
	}
	add_topology(offer, LEAF_TOPOLOGY);
	*out = offer;
	return 0;
}

void x86_cpuid_fix(struct kvm_cpuid2 *table, unsigned int index, unsigned int count)
{
	for (uint32_t i = 0; i < table->nent; i++)
		fix_entry(&table->entries[i], index, count);
}

int x86_cpuid_set(const struct kvm *kvm, const struct vcpus *vcpus, struct kvm_cpuid2 *table)
{
	int err = 0;
	for (unsigned int i = 0; i < vcpus_count(vcpus) && !err; i++) {
		x86_cpuid_fix(table, i, vcpus_count(vcpus)); /* the same again is no change */
		if (ioctl(vcpus_fd(vcpus, i), KVM_SET_CPUID2, table) < 0)
			err = -errno;
		else
			err = set_machine_check_banks(kvm, vcpus_fd(vcpus, i));
	}
	if (err)
		log_error("cannot set up the guest's CPUID: %s", strerror(-err));
	return err;
}

/* This host's processor is one of that model. */
static int check_model(enum x86_cpu_model model, const struct kvm_cpuid2 *offer)
{
	char missing[512];
	struct kvm_cpuid2 *least = x86_cpuid_alloc();
	if (!least)
		return -ENOMEM;
	x86_cpu_model_least(model, least);
	x86_cpuid_list_missing(least, offer, missing, sizeof(missing));
	free(least);
	if (!*missing)
		return 0;
	log_error("--cpu %s: this host's processor (as KVM offers it) lacks %s; use --cpu %s",
		  x86_cpu_model_name(model), missing, model == X86_CPU_V3 ? "baseline" : "host");
	return -ENOTSUP;
}

int x86_cpuid_apply(const struct kvm *kvm, const struct vcpus *vcpus, enum x86_cpu_model model)
{
	struct kvm_cpuid2 *table = NULL;
	int err = x86_cpuid_offer(kvm, &table);
	if (err) {
		log_error("KVM does not say what processor it offers: %s", strerror(-err));
		return err;
	}
	err = check_model(model, table);
	if (!err) {
		x86_cpu_model_mask(model, table);
		err = x86_cpuid_set(kvm, vcpus, table);
	}
	free(table);
	return err;
}
