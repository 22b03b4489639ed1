/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's registers to and from the state tree. */
/*
 * How it works. Tables name each register and where KVM's structs keep it, so that the tree says what
 * is meant and not how KVM lays it out. Model-specific registers are cpu_msrs.c's. The order of loading matters: special registers before the
 * APIC (its base, long mode), the APIC before the MSRs (the deadline timer), events last.
 */
#include "vmm/x86/cpu_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/x86/cpu_msrs.h"

const char x86_cpu_compatible[] = "charmvm,x86-cpu-1";

enum {
	SEGMENT_BYTES = 16,
	XSAVE_BYTES_MAX = 64 * 1024,
};

struct reg64 {
	const char *name;
	size_t off;
};

#define GPR(n)                                                                                     \
	{                                                                                          \
#n, offsetof(struct kvm_regs, n)                                                   \
	}
static const struct reg64 gprs[] = {
	GPR(rax), GPR(rbx), GPR(rcx), GPR(rdx), GPR(rsi), GPR(rdi), GPR(rsp), GPR(rbp), GPR(r8),
	GPR(r9),  GPR(r10), GPR(r11), GPR(r12), GPR(r13), GPR(r14), GPR(r15), GPR(rip), GPR(rflags),
};
#undef GPR

#define SREG(n, field)                                                                             \
	{                                                                                          \
		n, offsetof(struct kvm_sregs, field)                                               \
	}
static const struct reg64 cregs[] = {
	SREG("cr0", cr0),
	SREG("cr2", cr2),
	SREG("cr3", cr3),
	SREG("cr4", cr4),
	SREG("cr8", cr8),
	SREG("efer", efer),
	SREG("apic-base", apic_base),
	SREG("gdt-base", gdt.base),
	SREG("idt-base", idt.base),
};
static const struct reg64 segments[] = {
	SREG("cs", cs), SREG("ds", ds), SREG("es", es), SREG("fs", fs),
	SREG("gs", gs), SREG("ss", ss), SREG("tr", tr), SREG("ldt", ldt),
};
#undef SREG

#define DREG(n, field)                                                                             \
	{                                                                                          \
		n, offsetof(struct kvm_debugregs, field)                                           \
	}
static const struct reg64 dregs[] = {
	DREG("db0", db[0]), DREG("db1", db[1]), DREG("db2", db[2]),
	DREG("db3", db[3]), DREG("dr6", dr6),	DREG("dr7", dr7),
};
#undef DREG

static uint64_t *at(void *base, const struct reg64 *r)
{
	return (uint64_t *)((uint8_t *)base + r->off);
}

static void put_regs(struct state_writer *w, void *base, const struct reg64 *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		state_put_u64(w, t[i].name, *at(base, &t[i]));
}

static int get_regs(struct state_node node, void *base, const struct reg64 *t, size_t n)
{
	int err = 0;
	for (size_t i = 0; i < n && !err; i++)
		err = state_get_u64(node, t[i].name, at(base, &t[i]));
	return err;
}

/* Attributes as in a VMCS: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D 14, G 15, unusable 16 -> 11. */
static uint16_t pack_attributes(const struct kvm_segment *s)
{
	return (uint16_t)(s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->unusable << 11 |
			  s->avl << 12 | s->l << 13 | s->db << 14 | s->g << 15);
}

static void put_segment(struct state_writer *w, const char *name, const struct kvm_segment *s)
{
	uint8_t b[SEGMENT_BYTES];
	put_be64(b, s->base);
	put_be32(b + 8, s->limit);
	put_be16(b + 12, s->selector);
	put_be16(b + 14, pack_attributes(s));
	state_put_bytes(w, name, b, sizeof(b));
}

static int get_segment(struct state_node n, const char *name, struct kvm_segment *s)
{
	uint8_t b[SEGMENT_BYTES];
	int err = state_get_bytes(n, name, b, sizeof(b));
	if (err)
		return err;
	uint16_t a = get_be16(b + 14);
	*s = (struct kvm_segment){
		.base = get_be64(b),
		.limit = get_be32(b + 8),
		.selector = get_be16(b + 12),
		.type = a & 15,
		.s = a >> 4 & 1,
		.dpl = a >> 5 & 3,
		.present = a >> 7 & 1,
		.unusable = a >> 11 & 1,
		.avl = a >> 12 & 1,
		.l = a >> 13 & 1,
		.db = a >> 14 & 1,
		.g = a >> 15 & 1,
	};
	return 0;
}

/* ---- one group of registers after another: save, then load ---- */

static int ask(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static int save_regs(int fd, struct state_writer *w)
{
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debug;
	int err = ask(fd, KVM_GET_REGS, &regs);
	err = err ? err : ask(fd, KVM_GET_SREGS, &sregs);
	err = err ? err : ask(fd, KVM_GET_DEBUGREGS, &debug);
	if (err)
		return err;
	put_regs(w, &regs, gprs, ARRAY_SIZE(gprs));
	put_regs(w, &sregs, cregs, ARRAY_SIZE(cregs));
	put_regs(w, &debug, dregs, ARRAY_SIZE(dregs));
	state_put_u32(w, "gdt-limit", sregs.gdt.limit);
	state_put_u32(w, "idt-limit", sregs.idt.limit);
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++)
		put_segment(w, segments[i].name, (const void *)at(&sregs, &segments[i]));
	state_put_bytes(w, "interrupt-bitmap", sregs.interrupt_bitmap,
			sizeof(sregs.interrupt_bitmap));
	return 0;
}

static int get_limit(struct state_node n, const char *name, __u16 *limit)
{
	uint32_t v = 0;
	int err = state_get_u32(n, name, &v);
	*limit = (__u16)v;
	return err ? err : v > UINT16_MAX ? -EINVAL : 0;
}

static int load_regs(int fd, struct state_node n)
{
	struct kvm_regs regs = { 0 };
	struct kvm_sregs sregs = { 0 };
	struct kvm_debugregs debug = { 0 };
	int err = get_regs(n, &regs, gprs, ARRAY_SIZE(gprs));
	err = err ? err : get_regs(n, &sregs, cregs, ARRAY_SIZE(cregs));
	err = err ? err : get_regs(n, &debug, dregs, ARRAY_SIZE(dregs));
	err = err ? err : get_limit(n, "gdt-limit", &sregs.gdt.limit);
	err = err ? err : get_limit(n, "idt-limit", &sregs.idt.limit);
	for (size_t i = 0; i < ARRAY_SIZE(segments) && !err; i++)
		err = get_segment(n, segments[i].name, (void *)at(&sregs, &segments[i]));
	err = err ? err
		  : state_get_bytes(n, "interrupt-bitmap", sregs.interrupt_bitmap,
				    sizeof(sregs.interrupt_bitmap));
	err = err ? err : ask(fd, KVM_SET_SREGS, &sregs);
	err = err ? err : ask(fd, KVM_SET_REGS, &regs);
	return err ? err : ask(fd, KVM_SET_DEBUGREGS, &debug);
}

/* The size of this host's XSAVE image; 4 KiB before KVM_CAP_XSAVE2. */
static size_t xsave_bytes(const struct kvm *kvm)
{
	int n = ioctl(kvm->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	return n > (int)sizeof(struct kvm_xsave) ? MIN((size_t)n, (size_t)XSAVE_BYTES_MAX)
						 : sizeof(struct kvm_xsave);
}

static int save_fpu(const struct kvm *kvm, int fd, struct state_writer *w)
{
	size_t bytes = xsave_bytes(kvm);
	struct kvm_xcrs xcrs;
	void *area = calloc(1, bytes);
	if (!area)
		return -ENOMEM;
	int err = ask(fd, bytes > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, area);
	err = err ? err : ask(fd, KVM_GET_XCRS, &xcrs);
	if (!err) {
		state_put_bytes(w, "xsave", area, bytes);
		state_put_u64(w, "xcr0", xcrs.nr_xcrs ? xcrs.xcrs[0].value : 1);
	}
	free(area);
	return err;
}

static int load_fpu(const struct kvm *kvm, int fd, struct state_node n)
{
	const void *image;
	size_t have, bytes = xsave_bytes(kvm);
	struct kvm_xcrs xcrs = { .nr_xcrs = 1 };
	uint64_t xcr0 = 0;
	int err = state_get_blob(n, "xsave", &image, &have);
	err = err ? err : state_get_u64(n, "xcr0", &xcr0);
	if (err || have < sizeof(struct kvm_xsave) || have > XSAVE_BYTES_MAX)
		return err ? err : -EINVAL;
	void *area = calloc(1, MAX(have, bytes));
	if (!area)
		return -ENOMEM;
	memcpy(area, image, have);
	xcrs.xcrs[0].value = xcr0;
	err = ask(fd, KVM_SET_XCRS, &xcrs);
	err = err ? err : ask(fd, KVM_SET_XSAVE, area);
	free(area);
	return err;
}

static int save_lapic(int fd, struct state_writer *w)
{
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	int err = ask(fd, KVM_GET_LAPIC, &lapic);
	err = err ? err : ask(fd, KVM_GET_MP_STATE, &mp);
	if (err)
		return err;
	state_put_bytes(w, "lapic", lapic.regs, sizeof(lapic.regs));
	state_put_u32(w, "mp-state", mp.mp_state);
	return 0;
}

static int load_lapic(int fd, struct state_node n)
{
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp = { 0 };
	int err = state_get_bytes(n, "lapic", lapic.regs, sizeof(lapic.regs));
	err = err ? err : state_get_u32(n, "mp-state", &mp.mp_state);
	err = err ? err : ask(fd, KVM_SET_LAPIC, &lapic);
	return err ? err : ask(fd, KVM_SET_MP_STATE, &mp);
}

#define EVENT(field)                                                                               \
	{                                                                                          \
#field, offsetof(struct kvm_vcpu_events, field)                                    \
	}
static const struct reg64 event_bytes[] = {
	EVENT(exception.injected), EVENT(exception.nr),	      EVENT(exception.has_error_code),
	EVENT(exception.pending),  EVENT(interrupt.injected), EVENT(interrupt.nr),
	EVENT(interrupt.soft),	   EVENT(interrupt.shadow),   EVENT(nmi.injected),
	EVENT(nmi.pending),	   EVENT(nmi.masked),	      EVENT(smi.smm),
	EVENT(smi.pending),	   EVENT(smi.latched_init),
};
#undef EVENT

static int save_events(int fd, struct state_writer *w)
{
	struct kvm_vcpu_events ev;
	int err = ask(fd, KVM_GET_VCPU_EVENTS, &ev);
	if (err)
		return err;
	for (size_t i = 0; i < ARRAY_SIZE(event_bytes); i++)
		state_put_u32(w, event_bytes[i].name, *((uint8_t *)&ev + event_bytes[i].off));
	state_put_u32(w, "exception.error-code", ev.exception.error_code);
	state_put_u32(w, "sipi-vector", ev.sipi_vector);
	return 0;
}

static int load_events(int fd, struct state_node n)
{
	struct kvm_vcpu_events ev = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING |
					       KVM_VCPUEVENT_VALID_SIPI_VECTOR |
					       KVM_VCPUEVENT_VALID_SHADOW };
	uint32_t v;
	int err = 0;
	for (size_t i = 0; i < ARRAY_SIZE(event_bytes) && !err; i++) {
		err = state_get_u32(n, event_bytes[i].name, &v);
		if (!err)
			*((uint8_t *)&ev + event_bytes[i].off) = (uint8_t)v;
	}
	err = err ? err : state_get_u32(n, "exception.error-code", &ev.exception.error_code);
	err = err ? err : state_get_u32(n, "sipi-vector", &ev.sipi_vector);
	return err ? err : ask(fd, KVM_SET_VCPU_EVENTS, &ev);
}

int x86_cpu_save(const struct kvm *kvm, int vcpu_fd, struct state_writer *w)
{
	int err = save_regs(vcpu_fd, w);
	err = err ? err : save_fpu(kvm, vcpu_fd, w);
	err = err ? err : save_lapic(vcpu_fd, w);
	err = err ? err : x86_msrs_save(kvm, vcpu_fd, w);
	err = err ? err : save_events(vcpu_fd, w);
	if (err)
		log_error("cannot read a vCPU's registers: %s", strerror(-err));
	return err;
}

int x86_cpu_load(const struct kvm *kvm, int vcpu_fd, struct state_node n)
{
	int err = state_check(n, x86_cpu_compatible);
	if (err)
		return err;
	err = load_regs(vcpu_fd, n);
	err = err ? err : load_fpu(kvm, vcpu_fd, n);
	err = err ? err : load_lapic(vcpu_fd, n);
	err = err ? err : x86_msrs_load(vcpu_fd, n);
	err = err ? err : load_events(vcpu_fd, n);
	if (err)
		log_error("cannot set a vCPU's registers: %s", strerror(-err));
	/* For a guest with a kvm-clock: it was paused, and is not to take the gap for a lock-up. */
	ioctl(vcpu_fd, KVM_KVMCLOCK_CTRL, 0);
	return err == -ENOENT ? -EINVAL : err;
}
