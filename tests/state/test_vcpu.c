/* SPDX-License-Identifier: Apache-2.0 */
/* vCPUs on the real /dev/kvm: run, pause, save, load, reset. Guests are a few bytes of real-mode code. */
#include "vmm/kvm/vcpu.h"

#include <errno.h>
#include <semaphore.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/core/bus.h"
#include "vmm/x86/chips.h"
#include "vmm/x86/cpu_state.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/ram.h"

enum { CODE_GPA = 0x1000, TEST_PORT = 0xf4 };

struct vm {
	struct kvm kvm;
	struct x86_ram ram;
	struct kvm_irqs *irqs;
	struct bus *pio, *mmio;
	struct bus_range port;
	struct vcpus *vcpus;
	sem_t told;
	unsigned int outs;
	unsigned int outs_at_read;
	uint64_t last_out;
	enum vcpu_event event;
};

static void port_write(void *opaque, uint64_t off, unsigned int size, uint64_t v)
{
	struct vm *vm = opaque;
	(void)off;
	(void)size;
	vm->outs++;
	vm->last_out = v;
	sem_post(&vm->told);
}

static uint64_t port_read(void *opaque, uint64_t off, unsigned int size)
{
	struct vm *vm = opaque;
	(void)off;
	(void)size;
	vm->outs_at_read = vm->outs;
	return 0x42;
}

static void on_event(void *opaque, enum vcpu_event ev)
{
	struct vm *vm = opaque;
	vm->event = ev;
	sem_post(&vm->told);
}

static void vm_open_deferring(struct vm *vm, const void *code, size_t len, unsigned int cpus,
			      uint16_t index_port)
{
	memset(vm, 0, sizeof(*vm));
	sem_init(&vm->told, 0, 0);
	CHECK_EQ(kvm_open(&vm->kvm), 0);
	CHECK_EQ(x86_ram_create(&vm->ram, 4 * MIB), 0);
	CHECK_EQ(kvm_map_ram(&vm->kvm, &vm->ram.mem), 0);
	CHECK_EQ(x86_chips_create(&vm->kvm, &vm->irqs), 0);
	CHECK_EQ(bus_create(&vm->pio), 0);
	CHECK_EQ(bus_create(&vm->mmio), 0);
	vm->port = (struct bus_range){ .base = TEST_PORT,
				       .len_bytes = 1,
				       .write = port_write,
				       .read = port_read,
				       .opaque = vm };
	CHECK_EQ(bus_map(vm->pio, &vm->port), 0);
	struct vcpus_config cfg = { .kvm = &vm->kvm,
				    .count = cpus,
				    .pio = vm->pio,
				    .mmio = vm->mmio,
				    .index_port = index_port,
				    .event = on_event,
				    .opaque = vm };
	CHECK_EQ(vcpus_create(&cfg, &vm->vcpus), 0);
	CHECK_EQ(x86_cpuid_apply(&vm->kvm, vm->vcpus, X86_CPU_HOST), 0);
	CHECK_EQ(guestmem_write(&vm->ram.mem, CODE_GPA, code, len), 0);
}

static void vm_open(struct vm *vm, const void *code, size_t len, unsigned int cpus)
{
	vm_open_deferring(vm, code, len, cpus, 0);
}

static void vm_start_at(struct vm *vm, uint64_t rip)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = rip, .rflags = 2, .rax = 5 };
	CHECK_EQ(ioctl(vcpus_fd(vm->vcpus, 0), KVM_GET_SREGS, &s), 0);
	s.cs.base = 0;
	s.cs.selector = 0;
	CHECK_EQ(ioctl(vcpus_fd(vm->vcpus, 0), KVM_SET_SREGS, &s), 0);
	CHECK_EQ(ioctl(vcpus_fd(vm->vcpus, 0), KVM_SET_REGS, &r), 0);
}

static void vm_close(struct vm *vm)
{
	vcpus_destroy(vm->vcpus);
	kvm_irqs_destroy(vm->irqs);
	bus_destroy(vm->pio);
	bus_destroy(vm->mmio);
	kvm_close(&vm->kvm);
	x86_ram_destroy(&vm->ram);
}

/* out 0xf4, al; inc al; jmp back */
static const uint8_t count_code[] = { 0xe6, TEST_PORT, 0xfe, 0xc0, 0xeb, 0xfa };
/* out 0xf4, al; inc al; out 0xf4, al; in al, 0xf4; inc al; out 0xf4, al; jmp to itself */
static const uint8_t index_code[] = {
	0xe6,	   TEST_PORT, 0xfe, 0xc0, 0xe6,	     TEST_PORT, 0xe4,
	TEST_PORT, 0xfe,      0xc0, 0xe6, TEST_PORT, 0xeb,	0xfe
};
/* jmp to itself */
static const uint8_t spin_code[] = { 0xeb, 0xfe };
/* in al, 0xf4; out 0xf4, al; hlt */
static const uint8_t echo_code[] = { 0xe4, TEST_PORT, 0xe6, TEST_PORT, 0xf4 };
/* lidt [cs:zero-length at the code's end]; int3 */
static const uint8_t triple_code[] = { 0x2e, 0x0f, 0x01, 0x1e, 0x08, 0x10, 0xcc,
				       0x90, 0,	   0,	 0,    0,    0,	   0 };

TEST(guest_reads_and_writes_ports)
{
	struct vm vm;
	vm_open(&vm, echo_code, sizeof(echo_code), 1);
	vm_start_at(&vm, CODE_GPA);
	vcpus_run(vm.vcpus);
	sem_wait(&vm.told);
	CHECK_EQ(vm.last_out, 0x42);
	vm_close(&vm);
}

TEST(pause_brings_a_spinning_vcpu_out)
{
	struct vm vm;
	vm_open(&vm, spin_code, sizeof(spin_code), 2);
	vm_start_at(&vm, CODE_GPA);
	for (int i = 0; i < 20; i++) {
		vcpus_run(vm.vcpus);
		if (i % 2)
			usleep(2000);
		vcpus_pause(vm.vcpus);
	}
	struct kvm_regs r;
	CHECK_EQ(ioctl(vcpus_fd(vm.vcpus, 0), KVM_GET_REGS, &r), 0);
	CHECK_EQ(r.rip, CODE_GPA);
	vm_close(&vm);
}

TEST(paused_vcpu_has_no_half_finished_exit)
{
	struct vm vm;
	struct kvm_regs a, b;
	vm_open(&vm, count_code, sizeof(count_code), 1);
	vm_start_at(&vm, CODE_GPA);
	vcpus_run(vm.vcpus);
	for (int i = 0; i < 50; i++)
		sem_wait(&vm.told);
	vcpus_pause(vm.vcpus);
	unsigned int outs = vm.outs;
	CHECK_EQ(ioctl(vcpus_fd(vm.vcpus, 0), KVM_GET_REGS, &a), 0);
	/* rax counts the outs; the one of the last out may not be added yet, and no other differs. */
	CHECK_EQ((a.rax & 0xff),
		 ((5 + outs - (a.rip != CODE_GPA && a.rip != CODE_GPA + 4)) & 0xff));
	usleep(5000);
	CHECK_EQ(vm.outs, outs);
	CHECK_EQ(ioctl(vcpus_fd(vm.vcpus, 0), KVM_GET_REGS, &b), 0);
	CHECK_EQ(a.rip, b.rip);
	vm_close(&vm);
}

TEST(triple_fault_asks_for_a_reset)
{
	struct vm vm;
	vm_open(&vm, triple_code, sizeof(triple_code), 1);
	vm.event = VCPU_EVENT_DEAD;
	vm_start_at(&vm, CODE_GPA);
	vcpus_run(vm.vcpus);
	sem_wait(&vm.told);
	CHECK_EQ(vm.event, VCPU_EVENT_RESET);
	vm_close(&vm);
}

TEST(deferred_writes_happen_before_the_next_exit_and_before_a_pause)
{
	struct vm vm;
	vm_open_deferring(&vm, index_code, sizeof(index_code), 1, TEST_PORT);
	vm_start_at(&vm, CODE_GPA);
	vcpus_run(vm.vcpus);
	sem_wait(&vm.told);
	sem_wait(&vm.told);
	/* Nothing but the pause brings it out of its loop, with the third write behind it. */
	struct kvm_regs r = { .rip = 0 };
	while (r.rip != CODE_GPA + sizeof(index_code) - 2) {
		usleep(1000);
		vcpus_pause(vm.vcpus);
		CHECK_EQ(ioctl(vcpus_fd(vm.vcpus, 0), KVM_GET_REGS, &r), 0);
		unsigned int outs = vm.outs;
		vcpus_run(vm.vcpus);
		CHECK(r.rip != CODE_GPA + sizeof(index_code) - 2 || outs == 3);
	}
	CHECK_EQ(vm.outs_at_read, 2);
	CHECK_EQ(vm.last_out, 0x43);
	vm_close(&vm);
}

/* One vCPU's registers, in a blob that outlives the machine. */
static struct state_writer *save(struct vm *vm, struct state_node *root)
{
	struct state_writer *w;
	const void *blob;
	size_t len;
	CHECK_EQ(state_writer_create(&w), 0);
	state_begin(w, "", x86_cpu_compatible);
	CHECK_EQ(x86_cpu_save(&vm->kvm, vcpus_fd(vm->vcpus, 0), w), 0);
	state_end(w);
	CHECK_EQ(state_finish(w, &blob, &len), 0);
	CHECK_EQ(state_open(blob, len, root), 0);
	return w;
}

TEST(saved_registers_go_on_in_another_machine)
{
	struct vm a, b;
	struct state_node node;
	vm_open(&a, count_code, sizeof(count_code), 1);
	vm_start_at(&a, CODE_GPA);
	vcpus_run(a.vcpus);
	for (int i = 0; i < 10; i++)
		sem_wait(&a.told);
	vcpus_pause(a.vcpus);
	struct state_writer *w = save(&a, &node);
	uint64_t last = a.last_out;
	vm_close(&a);

	vm_open(&b, count_code, sizeof(count_code), 1);
	CHECK_EQ(x86_cpu_load(&b.kvm, vcpus_fd(b.vcpus, 0), node), 0);
	vcpus_run(b.vcpus);
	sem_wait(&b.told);
	vcpus_pause(b.vcpus);
	CHECK_EQ((b.last_out - b.outs + 1) & 0xff, (last + 1) & 0xff);
	vm_close(&b);
	state_writer_destroy(w);
}

TEST(reset_is_a_load_of_the_first_registers)
{
	struct vm vm;
	struct state_node cold;
	vm_open(&vm, count_code, sizeof(count_code), 1);
	vm_start_at(&vm, CODE_GPA);
	struct state_writer *w = save(&vm, &cold);
	for (int i = 0; i < 3; i++) {
		vcpus_run(vm.vcpus);
		sem_wait(&vm.told);
		vcpus_pause(vm.vcpus);
		CHECK_EQ((vm.last_out - vm.outs + 1) & 0xff, 5);
		CHECK_EQ(x86_cpu_load(&vm.kvm, vcpus_fd(vm.vcpus, 0), cold), 0);
		while (!sem_trywait(&vm.told))
			;
		vm.outs = 0;
	}
	vm_close(&vm);
	state_writer_destroy(w);
}

/* What an interrupt above 7 leaves pending, which nobody serves where there is an I/O APIC. */
TEST(reset_leaves_nothing_pending_in_either_pic)
{
	struct vm vm;
	struct state_node cold;
	struct state_writer *w;
	const void *blob;
	size_t len;
	struct kvm_irqchip first = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	vm_open(&vm, spin_code, sizeof(spin_code), 1);
	CHECK_EQ(state_writer_create(&w), 0);
	state_begin(w, "", x86_chips_compatible);
	CHECK_EQ(x86_chips_save(&vm.kvm, w), 0);
	state_end(w);
	CHECK_EQ(state_finish(w, &blob, &len), 0);
	CHECK_EQ(state_open(blob, len, &cold), 0);
	struct kvm_irq_level up = { .irq = 9, .level = 1 }, down = { .irq = 9, .level = 0 };
	CHECK_EQ(ioctl(vm.kvm.vm_fd, KVM_IRQ_LINE, &up), 0);
	CHECK_EQ(ioctl(vm.kvm.vm_fd, KVM_IRQ_LINE, &down), 0);
	CHECK_EQ(ioctl(vm.kvm.vm_fd, KVM_GET_IRQCHIP, &first), 0);
	CHECK_EQ(first.chip.pic.irr, 1 << 2);
	CHECK_EQ(x86_chips_load(&vm.kvm, cold), 0);
	CHECK_EQ(ioctl(vm.kvm.vm_fd, KVM_GET_IRQCHIP, &first), 0);
	CHECK_EQ(first.chip.pic.irr, 0);
	vm_close(&vm);
	state_writer_destroy(w);
}

TEST(registers_of_another_version_are_refused)
{
	struct vm vm;
	struct state_node node;
	struct state_writer *w;
	const void *blob;
	size_t len;
	vm_open(&vm, spin_code, sizeof(spin_code), 1);
	CHECK_EQ(state_writer_create(&w), 0);
	state_begin(w, "", "charmvm,x86-cpu-99");
	state_end(w);
	CHECK_EQ(state_finish(w, &blob, &len), 0);
	CHECK_EQ(state_open(blob, len, &node), 0);
	CHECK_EQ(x86_cpu_load(&vm.kvm, vcpus_fd(vm.vcpus, 0), node), -ENOTSUP);
	vm_close(&vm);
	state_writer_destroy(w);
}

TEST_MAIN(T(guest_reads_and_writes_ports), T(pause_brings_a_spinning_vcpu_out),
	  T(paused_vcpu_has_no_half_finished_exit), T(triple_fault_asks_for_a_reset),
	  T(deferred_writes_happen_before_the_next_exit_and_before_a_pause),
	  T(saved_registers_go_on_in_another_machine), T(reset_is_a_load_of_the_first_registers),
	  T(reset_leaves_nothing_pending_in_either_pic),
	  T(registers_of_another_version_are_refused))
