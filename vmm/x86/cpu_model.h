/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processors that many hosts can be: a snapshot of a guest that saw one of them can be restored on each of
 * these. The levels are those of the x86-64 psABI, section 3.1.1.
 */
#ifndef X86_CPU_MODEL_H
#define X86_CPU_MODEL_H

#include <stdbool.h>

struct kvm_cpuid2;

enum x86_cpu_model {
	X86_CPU_HOST,	  /* all that this host has */
	X86_CPU_BASELINE, /* x86-64-v2: SSE4.2, POPCNT; any processor since 2009 or so */
	X86_CPU_V3,	  /* x86-64-v3: AVX2, BMI, FMA; most since 2015 */
};

/* "host", "baseline" or "v2", "v3". -> whether it is one. */
bool x86_cpu_model_parse(const char *name, enum x86_cpu_model *out);
const char *x86_cpu_model_name(enum x86_cpu_model model);

/* Takes what is above the model out of @table. */
void x86_cpu_model_mask(enum x86_cpu_model model, struct kvm_cpuid2 *table);
/*
 * What a processor of that model has at the least, as the only entries of @table, which has room for
 * X86_CPUID_ENTRIES_MAX.
 */
void x86_cpu_model_least(enum x86_cpu_model model, struct kvm_cpuid2 *table);

#endif
