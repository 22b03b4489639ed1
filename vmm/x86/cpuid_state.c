/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's processor in the state tree, and whether this host has it. */
/*
 * How it works. A guest looks at CPUID once and relies on what it saw for ever, so a restored one gets the
 * table it had. What this host cannot do of that is refused by name. Compared are the words of feature bits;
 * bits that KVM keeps up to date by the registers of the guest (OSXSAVE, OSPKE, APIC) are not.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/x86/cpuid.h"

const char x86_processor_compatible[] = "charmvm,x86-processor-1";

enum { ENTRY_CELLS = 7, ENTRY_BYTES = ENTRY_CELLS * 4, FEATURE_WORD_BITS = 32 };

enum reg { EAX, EBX, ECX, EDX };

/* A word of feature bits; names as in /proc/cpuinfo, separated by blanks, "-" where there is none. */
static const struct {
	uint32_t function, index;
	enum reg reg;
	uint32_t ignored;
	const char *names;
} words[] = {
	{ 0x1, 0, ECX, 1U << 27,
	  "sse3 pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm "
	  "- "
	  "pcid dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave osxsave avx "
	  "f16c "
	  "rdrand hypervisor" },
	{ 0x1, 0, EDX, 1U << 9,
	  "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - "
	  "dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe" },
	{ 0x7, 0, EBX, 0,
	  "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a "
	  "avx512f "
	  "avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel_pt avx512pf avx512er "
	  "avx512cd "
	  "sha_ni avx512bw avx512vl" },
	{ 0x7, 0, ECX, 1U << 4,
	  "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 shstk gfni vaes vpclmulqdq avx512_vnni "
	  "avx512_bitalg - avx512_vpopcntdq - la57 - - - - - rdpid - - cldemote - movdiri "
	  "movdir64b" },
	{ 0x7, 0, EDX, 0,
	  "- - avx512_4vnniw avx512_4fmaps fsrm - - - avx512_vp2intersect - md_clear - - - "
	  "serialize - "
	  "tsxldtrk - - - ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 spec_ctrl intel_stibp "
	  "flush_l1d "
	  "arch_capabilities - ssbd" },
	{ 0x7, 1, EAX, 0, "- - - - avx_vnni avx512_bf16" },
	{ 0x7, 1, EDX, 0, "" },
	{ 0x7, 2, EDX, 0, "" },
	{ 0xd, 0, EAX, 0, "- - - - - - - - - pkru-state" },
	{ 0xd, 1, EAX, 0, "xsaveopt xsavec xgetbv1 xsaves" },
	{ 0x80000001, 0, ECX, 0,
	  "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs "
	  "xop "
	  "skinit wdt - lwp fma4" },
	{ 0x80000001, 0, EDX, 1U << 9,
	  "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp "
	  "- lm "
	  "3dnowext 3dnow" },
	{ 0x80000007, 0, EDX, 0, "- - - - - - - - invariant-tsc" },
	{ 0x80000008, 0, EBX, 0, "clzero irperf xsaveerptr - - - - - - wbnoinvd" },
	{ 0x80000021, 0, EAX, 0, "" },
	{ 0x40000001, 0, EAX, 0,
	  "kvm-clock kvm-nopiodelay - kvm-clock2 kvm-asyncpf kvm-steal-time kvm-pv-eoi kvm-unhalt "
	  "- "
	  "kvm-tlb-flush kvm-asyncpf-vmexit kvm-send-ipi kvm-poll-control kvm-sched-yield "
	  "kvm-asyncpf-int "
	  "kvm-msi-ext-dest-id" },
};

static uint32_t word_of(const struct kvm_cpuid2 *t, size_t w)
{
	for (uint32_t i = 0; i < t->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &t->entries[i];
		if (e->function != words[w].function || e->index != words[w].index)
			continue;
		const uint32_t regs[] = {
			[EAX] = e->eax, [EBX] = e->ebx, [ECX] = e->ecx, [EDX] = e->edx
		};
		return regs[words[w].reg] & ~words[w].ignored;
	}
	return 0;
}

/* Adds the name of bit @bit of word @w to the list in @out. */
static void add_name(size_t w, unsigned int bit, char *out, size_t bytes)
{
	const char *at = words[w].names;
	for (unsigned int i = 0; i < bit && *at; i++) {
		at += strcspn(at, " ");
		at += strspn(at, " ");
	}
	size_t used = strlen(out), len = strcspn(at, " ");
	if (len && *at != '-')
		snprintf(out + used, bytes - used, "%s%.*s", used ? ", " : "", (int)len, at);
	else
		snprintf(out + used, bytes - used, "%sbit %u of %s of leaf 0x%x", used ? ", " : "",
			 bit, (const char *[]){ "eax", "ebx", "ecx", "edx" }[words[w].reg],
			 words[w].function);
}

void x86_cpuid_list_missing(const struct kvm_cpuid2 *want, const struct kvm_cpuid2 *have, char *out,
			    size_t bytes)
{
	*out = '\0';
	for (size_t w = 0; w < ARRAY_SIZE(words); w++) {
		uint32_t missing = word_of(want, w) & ~word_of(have, w);
		for (unsigned int bit = 0; bit < FEATURE_WORD_BITS; bit++)
			if (missing & (UINT32_C(1) << bit))
				add_name(w, bit, out, bytes);
	}
}

/* ---- the table as a property ---- */

static int get_table(const struct vcpus *vcpus, struct kvm_cpuid2 **out)
{
	struct kvm_cpuid2 *t = x86_cpuid_alloc();
	if (!t)
		return -ENOMEM;
	if (ioctl(vcpus_fd(vcpus, 0), KVM_GET_CPUID2, t) < 0) {
		int err = -errno;
		free(t);
		return err;
	}
	*out = t;
	return 0;
}

int x86_cpuid_save(const struct vcpus *vcpus, struct state_writer *w)
{
	struct kvm_cpuid2 *t = NULL;
	uint8_t *cells = malloc((size_t)X86_CPUID_ENTRIES_MAX * ENTRY_BYTES);
	int err = cells ? get_table(vcpus, &t) : -ENOMEM;
	for (uint32_t i = 0; !err && i < t->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &t->entries[i];
		const uint32_t v[ENTRY_CELLS] = { e->function, e->index, e->flags, e->eax,
						  e->ebx,      e->ecx,	 e->edx };
		for (unsigned int j = 0; j < ENTRY_CELLS; j++)
			put_be32(cells + (size_t)i * ENTRY_BYTES + j * 4UL, v[j]);
	}
	if (!err)
		state_put_bytes(w, "cpuid", cells, (size_t)t->nent * ENTRY_BYTES);
	else
		log_error("cannot read the guest's CPUID: %s", strerror(-err));
	free(t);
	free(cells);
	return err;
}

static int parse(struct state_node n, struct kvm_cpuid2 *t)
{
	const void *prop;
	size_t bytes;
	int err = state_check(n, x86_processor_compatible);
	err = err ? err : state_get_blob(n, "cpuid", &prop, &bytes);
	if (err || bytes % ENTRY_BYTES || bytes / ENTRY_BYTES > X86_CPUID_ENTRIES_MAX)
		return err && err != -ENOENT ? err : -EINVAL;
	t->nent = (uint32_t)(bytes / ENTRY_BYTES);
	const uint8_t *p = prop;
	for (uint32_t i = 0; i < t->nent; i++, p += ENTRY_BYTES)
		t->entries[i] = (struct kvm_cpuid_entry2){
			.function = get_be32(p),
			.index = get_be32(p + 4),
			.flags = get_be32(p + 8) & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = get_be32(p + 12),
			.ebx = get_be32(p + 16),
			.ecx = get_be32(p + 20),
			.edx = get_be32(p + 24),
		};
	return 0;
}

/* ---- loading ---- */

static int refuse_missing(const struct kvm_cpuid2 *want, const struct kvm_cpuid2 *have, char *why,
			  size_t bytes)
{
	char missing[512];
	x86_cpuid_list_missing(want, have, missing, sizeof(missing));
	if (!*missing)
		return 0;
	snprintf(why, bytes,
		 "the snapshot needs a processor with %s, which this host's (as KVM offers it) "
		 "lacks; restore it on a host that has them",
		 missing);
	return -ENOTSUP;
}

static int refuse_other(const struct kvm_cpuid2 *want, const struct kvm_cpuid2 *have, char *why,
			size_t bytes)
{
	int err = refuse_missing(want, have, why, bytes);
	char more[512];
	x86_cpuid_list_missing(have, want, more, sizeof(more));
	if (err || !*more)
		return err;
	snprintf(why, bytes,
		 "the snapshot's processor lacks %s, which the running machine has seen; start a "
		 "new machine from it: charmvm --image FILE --from NAME",
		 more);
	return -ENOTSUP;
}

/* The saved processor is no more than @model. */
static int refuse_beyond(const struct kvm_cpuid2 *want, enum x86_cpu_model model, char *why,
			 size_t bytes)
{
	char more[512];
	struct kvm_cpuid2 *masked = x86_cpuid_alloc();
	if (!masked)
		return -ENOMEM;
	memcpy(masked, want, sizeof(*want) + want->nent * sizeof(want->entries[0]));
	x86_cpu_model_mask(model, masked);
	x86_cpuid_list_missing(want, masked, more, sizeof(more));
	free(masked);
	if (!*more)
		return 0;
	snprintf(why, bytes,
		 "the snapshot's processor has %s, which --cpu %s has not; leave --cpu out, or "
		 "boot anew for another processor",
		 more, x86_cpu_model_name(model));
	return -ENOTSUP;
}

int x86_cpuid_load(const struct x86_cpuid_load *l, struct state_node n, char *why, size_t bytes)
{
	struct kvm_cpuid2 *want = x86_cpuid_alloc(), *have = NULL;
	int err = want ? parse(n, want) : -ENOMEM;
	snprintf(why, bytes, "the snapshot's CPUID table is damaged");
	if (!err && !l->running)
		err = refuse_beyond(want, l->model, why, bytes);
	if (!err)
		err = l->running ? get_table(l->vcpus, &have) : x86_cpuid_offer(l->kvm, &have);
	if (!err && !l->running)
		x86_cpuid_fix(have, 0, vcpus_count(l->vcpus));
	if (!err)
		err = l->running ? refuse_other(want, have, why, bytes)
				 : refuse_missing(want, have, why, bytes);
	if (!err && !l->running)
		err = x86_cpuid_set(l->kvm, l->vcpus, want);
	if (err && err != -ENOTSUP && err != -EINVAL)
		snprintf(why, bytes, "the guest's processor cannot be made: %s", strerror(-err));
	free(want);
	free(have);
	return err;
}
