/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's registers to and from the state tree, and the registers of a cold start. Paused vCPUs, any
 * thread. A reset is a load of what was saved before the first run.
 *
 * Node "charmvm,x86-cpu-1": general and control registers by name (u64), segments as
 * {base u64, limit u32, selector u16, attributes u16}, "msrs" as {index u32, value u64} pairs, "xsave"
 * (the architecture's standard format), "lapic" (its 1 KiB register page), all cells big-endian but
 * the architecture's own images.
 */
#ifndef X86_CPU_STATE_H
#define X86_CPU_STATE_H

#include <stdint.h>

#include "vmm/core/state.h"
#include "vmm/kvm/vcpu.h"

/* Properties of the node that the caller has begun. -> 0 or -errno, logged. */
int x86_cpu_save(const struct kvm *kvm, int vcpu_fd, struct state_writer *w);
/* -> 0, -EINVAL (a property is missing or of another size), -ENOTSUP (of another version), -errno. */
int x86_cpu_load(const struct kvm *kvm, int vcpu_fd, struct state_node n);

extern const char x86_cpu_compatible[];

/* How the first vCPU starts; the others wait for its INIT and SIPI. */
enum x86_boot_mode {
	X86_BOOT_PVH32,	  /* protected mode without paging, flat segments; PVH start */
	X86_BOOT_LINUX64, /* 64-bit mode on the page tables at cr3; Linux 64-bit boot protocol */
	X86_BOOT_REAL16,  /* real mode, at cs and rip; a BIOS */
};

struct x86_boot_regs {
	enum x86_boot_mode mode;
	uint16_t cs; /* Real16: a segment */
	uint64_t rip;
	uint64_t rbx; /* PVH: start_info */
	uint64_t rsi; /* Linux: boot_params */
	uint64_t rsp;
	uint64_t cr3;	   /* Linux64 */
	uint64_t gdt_base; /* not Real16; entries: null, -, code (0x10), data (0x18) */
	uint16_t gdt_limit;
};

/* On registers as they are after reset. -> 0 or -errno, logged. */
int x86_cpu_set_boot_regs(int vcpu_fd, const struct x86_boot_regs *b);

#endif
