/* SPDX-License-Identifier: Apache-2.0 */
/* Processor models, as masks of the CPUID words that tell features. */
/*
 * How it works. A word that is in the table keeps the bits that are listed; the other leaves that tell of
 * features are shown as not there. So what a later processor brings is masked without being known here. What
 * KVM itself offers (its chips, its paravirtual leaves) does not depend on the processor and stays.
 *
 * Bits by: x86-64 psABI, section 3.1.1; Intel SDM volume 2, CPUID; AMD64 APM volume 3, appendix E.
 */
#include "vmm/x86/cpu_model.h"

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vmm/base/checked.h"

#define BIT(n) (UINT32_C(1) << (n))

/* Leaf 1: sse3 ssse3 cx16 sse4_1 sse4_2 popcnt; fma movbe xsave avx f16c. */
#define ECX1_V2 (BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23))
#define ECX1_V3 (ECX1_V2 | BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29))
/* x2apic, tsc_deadline_timer, hypervisor: of any guest of ours. osxsave: the guest's own doing. */
#define ECX1_OURS    (BIT(21) | BIT(24) | BIT(31))
#define ECX1_OSXSAVE BIT(27)
/* fpu cx8 cmov mmx fxsr sse sse2; all up to sse2 but pn, dts, acpi; ht. */
#define EDX1_LEAST (BIT(0) | BIT(8) | BIT(15) | BIT(23) | BIT(24) | BIT(25) | BIT(26))
#define EDX1_KEPT  (0x078bfbffU | BIT(28))
/* Leaf 7: bmi1 avx2 bmi2. */
#define EBX7_V3 (BIT(3) | BIT(5) | BIT(8))
/* Leaf 0x80000001: lahf_lm; abm; cmp_legacy, which is topology; syscall nx lm; rdtscp. */
#define ECX81_V2    BIT(0)
#define ECX81_V3    (ECX81_V2 | BIT(5))
#define ECX81_OURS  BIT(1)
#define EDX81_LEAST (BIT(11) | BIT(20) | BIT(29))
#define EDX81_KEPT  (EDX81_LEAST | BIT(27))
/* Leaf 0xd: x87, SSE, AVX. */
#define XCR0_V3 UINT32_C(7)
enum { LEAF_XSAVE = 0xd, XSAVE_AVX = 2, XSAVE_AVX_BYTES = 0x340 };

enum reg { EAX, EBX, ECX, EDX };
enum level { V2, V3, LEVELS };

static const struct {
	uint32_t function, index;
	enum reg reg;
	uint32_t kept[LEVELS];
	uint32_t least[LEVELS]; /* without these a host is not of that level */
} words[] = {
	{ 0x1,
	  0,
	  ECX,
	  { ECX1_V2 | ECX1_OURS, ECX1_V3 | ECX1_OURS | ECX1_OSXSAVE },
	  { ECX1_V2, ECX1_V3 } },
	{ 0x1, 0, EDX, { EDX1_KEPT, EDX1_KEPT }, { EDX1_LEAST, EDX1_LEAST } },
	{ 0x7, 0, EAX, { 0, 0 }, { 0, 0 } }, /* more of this leaf */
	{ 0x7, 0, EBX, { 0, EBX7_V3 }, { 0, EBX7_V3 } },
	{ 0x7, 0, ECX, { 0, 0 }, { 0, 0 } },
	{ 0x7, 0, EDX, { 0, 0 }, { 0, 0 } },
	{ LEAF_XSAVE, 0, EAX, { 0, XCR0_V3 }, { 0, XCR0_V3 } },
	{ LEAF_XSAVE, 0, EDX, { 0, 0 }, { 0, 0 } },
	{ 0x80000001,
	  0,
	  ECX,
	  { ECX81_V2 | ECX81_OURS, ECX81_V3 | ECX81_OURS },
	  { ECX81_V2, ECX81_V3 } },
	{ 0x80000001, 0, EDX, { EDX81_KEPT, EDX81_KEPT }, { EDX81_LEAST, EDX81_LEAST } },
	{ 0x80000007, 0, EDX, { 0, 0 }, { 0, 0 } },
	{ 0x80000008, 0, EBX, { 0, 0 }, { 0, 0 } },
};

/* SGX, tracing, key locker, LBR, AMX, history, SVM, IBS, LWP, SEV, more of AMD's; perfmon is never shown. */
static const uint32_t hidden[] = { 0xf,	       0x10,	   0x12,       0x14,	   0x19,
				   0x1c,       0x1d,	   0x1e,       0x20,	   0x23,
				   0x24,       0x8000000a, 0x8000001b, 0x8000001c, 0x8000001f,
				   0x80000020, 0x80000021 };

static const struct {
	const char *name;
	enum x86_cpu_model model;
} names[] = {
	{ "host", X86_CPU_HOST },
	{ "baseline", X86_CPU_BASELINE },
	{ "v2", X86_CPU_BASELINE },
	{ "v3", X86_CPU_V3 },
};

bool x86_cpu_model_parse(const char *name, enum x86_cpu_model *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i].name) == 0) {
			*out = names[i].model;
			return true;
		}
	}
	return false;
}

const char *x86_cpu_model_name(enum x86_cpu_model model)
{
	size_t i = 0;
	while (names[i].model != model)
		i++;
	return names[i].name;
}

static enum level level_of(enum x86_cpu_model model)
{
	return model == X86_CPU_V3 ? V3 : V2;
}

static uint32_t *reg_of(struct kvm_cpuid_entry2 *e, enum reg reg)
{
	uint32_t *const regs[] = {
		[EAX] = &e->eax, [EBX] = &e->ebx, [ECX] = &e->ecx, [EDX] = &e->edx
	};
	return regs[reg];
}

static bool is_hidden(const struct kvm_cpuid_entry2 *e, enum level level)
{
	if (e->function == 0x7)
		return e->index > 0;
	if (e->function == LEAF_XSAVE)
		return level < V3 || (e->index && e->index != XSAVE_AVX);
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (e->function == hidden[i])
			return true;
	return false;
}

static void mask_entry(struct kvm_cpuid_entry2 *e, enum level level)
{
	for (size_t w = 0; w < ARRAY_SIZE(words); w++)
		if (words[w].function == e->function && words[w].index == e->index)
			*reg_of(e, words[w].reg) &= words[w].kept[level];
	if (e->function == LEAF_XSAVE && !e->index)
		e->ebx = e->ecx =
			XSAVE_AVX_BYTES; /* of all that is left; ebx KVM keeps up to date */
	if (is_hidden(e, level))
		e->eax = e->ebx = e->ecx = e->edx = 0;
}

void x86_cpu_model_mask(enum x86_cpu_model model, struct kvm_cpuid2 *table)
{
	if (model == X86_CPU_HOST)
		return;
	for (uint32_t i = 0; i < table->nent; i++)
		mask_entry(&table->entries[i], level_of(model));
}

/* The table's entry for word @w, made where it is missing. */
static struct kvm_cpuid_entry2 *entry_for(struct kvm_cpuid2 *table, size_t w)
{
	for (uint32_t i = 0; i < table->nent; i++)
		if (table->entries[i].function == words[w].function &&
		    table->entries[i].index == words[w].index)
			return &table->entries[i];
	struct kvm_cpuid_entry2 *e = &table->entries[table->nent++];
	*e = (struct kvm_cpuid_entry2){ .function = words[w].function, .index = words[w].index };
	return e;
}

void x86_cpu_model_least(enum x86_cpu_model model, struct kvm_cpuid2 *table)
{
	table->nent = 0;
	for (size_t w = 0; w < ARRAY_SIZE(words) && model != X86_CPU_HOST; w++)
		*reg_of(entry_for(table, w), words[w].reg) = words[w].least[level_of(model)];
}
