/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of a cold start. (Linux x86/boot.rst "64-bit boot protocol"; Xen pvh.pandoc.) */
#include "vmm/x86/cpu_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/base/log.h"

enum {
	SEL_CODE = 0x10,
	SEL_DATA = 0x18,
	SEL_TSS = 0x20,
	TYPE_CODE = 0xb,     /* execute, read, accessed */
	TYPE_DATA = 0x3,     /* read, write, accessed */
	TYPE_TSS_BUSY = 0xb, /* 32- or 64-bit task, busy: an entry into the guest needs one */
	CR0_PE = 1 << 0,
	CR0_ET = 1 << 4,
	CR4_PAE = 1 << 5,
	EFER_LME = 1 << 8,
	EFER_LMA = 1 << 10,
	RFLAGS_FIXED = 1 << 1,
	TSS_LIMIT = 0x67,
};
#define CR0_PG (UINT64_C(1) << 31)

static struct kvm_segment flat(uint16_t selector, uint8_t type, bool long_mode)
{
	return (struct kvm_segment){
		.limit = UINT32_MAX,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.db = !long_mode,
		.l = long_mode,
		.g = 1,
	};
}

static void set_mode(struct kvm_sregs *s, const struct x86_boot_regs *b)
{
	if (b->mode == X86_BOOT_REAL16) { /* as after reset, but for where it starts */
		s->cs.selector = b->cs;
		s->cs.base = (uint64_t)b->cs << 4;
		return;
	}
	bool long_mode = b->mode == X86_BOOT_LINUX64;
	struct kvm_segment data = flat(SEL_DATA, TYPE_DATA, false);
	s->cs = flat(SEL_CODE, TYPE_CODE, long_mode);
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->tr = (struct kvm_segment){
		.limit = TSS_LIMIT, .selector = SEL_TSS, .type = TYPE_TSS_BUSY, .present = 1
	};
	s->gdt.base = b->gdt_base;
	s->gdt.limit = b->gdt_limit;
	s->idt.limit = 0;
	s->cr0 = CR0_PE | CR0_ET;
	s->cr4 = 0;
	s->efer = 0;
	if (!long_mode)
		return;
	s->cr0 |= CR0_PG;
	s->cr3 = b->cr3;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
}

int x86_cpu_set_boot_regs(int vcpu_fd, const struct x86_boot_regs *b)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = b->rip, .rbx = b->rbx, .rsi = b->rsi, .rsp = b->rsp, .rflags = RFLAGS_FIXED
	};
	int err = ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0 ? -errno : 0;
	if (!err) {
		set_mode(&sregs, b);
		err = ioctl(vcpu_fd, KVM_SET_SREGS, &sregs) < 0 ? -errno : 0;
	}
	if (!err)
		err = ioctl(vcpu_fd, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
	if (err)
		log_error("cannot set the first vCPU's registers: %s", strerror(-err));
	return err;
}
