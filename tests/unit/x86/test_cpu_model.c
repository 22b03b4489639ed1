/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest of a processor model sees, and what a host must have for it. */
#include "vmm/x86/cpuid.h"

#include <linux/kvm.h>

#include "tests/unit/test.h"

#define AVX2 (UINT32_C(1) << 5)

/* A processor that can do everything there is, and what KVM adds. */
static struct kvm_cpuid2 *all_there_is(void)
{
	static const uint32_t leaves[][2] = {
		{ 0x1, 0 },	   { 0x7, 0 },	      { 0x7, 1 },	 { 0x7, 2 },
		{ 0xd, 0 },	   { 0xd, 1 },	      { 0xd, 2 },	 { 0xd, 5 },
		{ 0x12, 0 },	   { 0x14, 0 },	      { 0x1d, 1 },	 { 0x40000001, 0 },
		{ 0x80000001, 0 }, { 0x80000007, 0 }, { 0x80000008, 0 }, { 0x80000021, 0 },
	};
	struct kvm_cpuid2 *t = x86_cpuid_alloc();
	CHECK(t);
	t->nent = sizeof(leaves) / sizeof(leaves[0]);
	for (uint32_t i = 0; i < t->nent; i++)
		t->entries[i] = (struct kvm_cpuid_entry2){ .function = leaves[i][0],
							   .index = leaves[i][1],
							   .eax = UINT32_MAX,
							   .ebx = UINT32_MAX,
							   .ecx = UINT32_MAX,
							   .edx = UINT32_MAX };
	return t;
}

static const struct kvm_cpuid_entry2 *entry(const struct kvm_cpuid2 *t, uint32_t function,
					    uint32_t index)
{
	for (uint32_t i = 0; i < t->nent; i++)
		if (t->entries[i].function == function && t->entries[i].index == index)
			return &t->entries[i];
	CHECK(!"an entry that is in the table");
	return NULL;
}

static bool is_empty(const struct kvm_cpuid2 *t, uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *e = entry(t, function, index);
	return !(e->eax | e->ebx | e->ecx | e->edx);
}

TEST(host_is_not_masked)
{
	struct kvm_cpuid2 *t = all_there_is();
	x86_cpu_model_mask(X86_CPU_HOST, t);
	for (uint32_t i = 0; i < t->nent; i++)
		CHECK_EQ(t->entries[i].ecx, UINT32_MAX);
	free(t);
}

TEST(baseline_has_sse4_2_and_nothing_later)
{
	struct kvm_cpuid2 *t = all_there_is();
	x86_cpu_model_mask(X86_CPU_BASELINE, t);
	CHECK_EQ(entry(t, 0x1, 0)->ecx,
		 0x81b82201); /* and x2apic, the deadline timer, a hypervisor */
	for (uint32_t i = 0; i < 3; i++)
		CHECK(is_empty(t, 0x7, i) && is_empty(t, 0xd, i));
	CHECK(is_empty(t, 0x12, 0) && is_empty(t, 0x14, 0) && is_empty(t, 0x1d, 1));
	CHECK(is_empty(t, 0x80000021, 0));
	CHECK_EQ(entry(t, 0x80000008, 0)->ebx, 0);
	free(t);
}

TEST(v3_has_avx2_and_room_for_its_registers_only)
{
	struct kvm_cpuid2 *t = all_there_is();
	x86_cpu_model_mask(X86_CPU_V3, t);
	CHECK(entry(t, 0x7, 0)->ebx & AVX2);
	CHECK_EQ(entry(t, 0x7, 0)->edx, 0);
	CHECK_EQ(entry(t, 0xd, 0)->eax, 7);
	CHECK_EQ(entry(t, 0xd, 0)->ecx, 832);
	CHECK(is_empty(t, 0xd, 1) && is_empty(t, 0xd, 5) && !is_empty(t, 0xd, 2));
	free(t);
}

TEST(kvms_own_features_stay)
{
	struct kvm_cpuid2 *t = all_there_is();
	x86_cpu_model_mask(X86_CPU_BASELINE, t);
	CHECK_EQ(entry(t, 0x40000001, 0)->eax, UINT32_MAX);
	free(t);
}

static void list(enum x86_cpu_model least, enum x86_cpu_model host, char *out, size_t bytes)
{
	struct kvm_cpuid2 *want = x86_cpuid_alloc(), *have = all_there_is();
	CHECK(want);
	x86_cpu_model_least(least, want);
	x86_cpu_model_mask(host, have);
	x86_cpuid_list_missing(want, have, out, bytes);
	free(want);
	free(have);
}

TEST(masked_processor_is_one_of_its_model)
{
	char missing[256];
	list(X86_CPU_BASELINE, X86_CPU_BASELINE, missing, sizeof(missing));
	CHECK_STR(missing, "");
	list(X86_CPU_V3, X86_CPU_V3, missing, sizeof(missing));
	CHECK_STR(missing, "");
	list(X86_CPU_BASELINE, X86_CPU_V3, missing, sizeof(missing));
	CHECK_STR(missing, "");
}

TEST(what_an_older_processor_lacks_is_named)
{
	char missing[256];
	list(X86_CPU_V3, X86_CPU_BASELINE, missing, sizeof(missing));
	CHECK(strstr(missing, "avx2") && strstr(missing, "fma") && strstr(missing, "bmi2") &&
	      strstr(missing, "abm"));
	CHECK(!strstr(missing, "sse4_2"));
}

TEST(models_have_names)
{
	enum x86_cpu_model m = X86_CPU_V3;
	CHECK(x86_cpu_model_parse("host", &m) && m == X86_CPU_HOST);
	CHECK(x86_cpu_model_parse("baseline", &m) && m == X86_CPU_BASELINE);
	CHECK(x86_cpu_model_parse("v2", &m) && m == X86_CPU_BASELINE);
	CHECK(x86_cpu_model_parse("v3", &m) && m == X86_CPU_V3);
	CHECK(!x86_cpu_model_parse("v4", &m) && !x86_cpu_model_parse("", &m));
	CHECK_STR(x86_cpu_model_name(X86_CPU_BASELINE), "baseline");
}

TEST_MAIN(T(host_is_not_masked), T(baseline_has_sse4_2_and_nothing_later),
	  T(v3_has_avx2_and_room_for_its_registers_only), T(kvms_own_features_stay),
	  T(masked_processor_is_one_of_its_model), T(what_an_older_processor_lacks_is_named),
	  T(models_have_names))
