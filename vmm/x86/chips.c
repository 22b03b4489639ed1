/* SPDX-License-Identifier: Apache-2.0 */
/* The chips that KVM keeps in the kernel. */
#include "vmm/x86/chips.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/x86/layout.h"

const char x86_chips_compatible[] = "charmvm,x86-chips-1";

enum { PIC_PINS = 8 };

/*
 * In the order of loading. The second PIC comes before the first: with each of them KVM looks at both, and what the second had
 * pending until then would stay behind in the first, as an interrupt that a kernel gets which has just been started.
 */
static const struct {
	uint32_t id;
	const char *name;
} irqchips[] = {
	{ KVM_IRQCHIP_PIC_SLAVE, "pic1" },
	{ KVM_IRQCHIP_PIC_MASTER, "pic0" },
	{ KVM_IRQCHIP_IOAPIC, "ioapic" },
};

static struct kvm_irq_routing_entry pin(uint32_t gsi, uint32_t chip, uint32_t chip_pin)
{
	return (struct kvm_irq_routing_entry){ .gsi = gsi,
					       .type = KVM_IRQ_ROUTING_IRQCHIP,
					       .u.irqchip = { chip, chip_pin } };
}

/* ISA interrupts reach PIC and I/O APIC alike; the timer's is pin 2 there, as on every PC. */
static unsigned int first_routes(struct kvm_irq_routing_entry *r)
{
	unsigned int n = 0;
	for (uint32_t gsi = 0; gsi < X86_IOAPIC_PINS; gsi++) {
		if (gsi < PIC_PINS)
			r[n++] = pin(gsi, KVM_IRQCHIP_PIC_MASTER, gsi);
		else if (gsi < 2 * PIC_PINS)
			r[n++] = pin(gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - PIC_PINS);
		if (gsi != 2)
			r[n++] = pin(gsi, KVM_IRQCHIP_IOAPIC, gsi ? gsi : 2);
	}
	return n;
}

static int vm_ioctl(const struct kvm *kvm, unsigned long request, void *arg)
{
	return ioctl(kvm->vm_fd, request, arg) < 0 ? -errno : 0;
}

int x86_chips_create(struct kvm *kvm, struct kvm_irqs **out)
{
	struct kvm_irq_routing_entry routes[X86_IOAPIC_PINS + 2 * PIC_PINS];
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity_map = X86_IDENTITY_MAP_GPA;
	int err = vm_ioctl(kvm, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
	if (!err && ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)X86_TSS_GPA) < 0)
		err = -errno;
	if (!err && ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		err = -errno;
	err = err ? err : vm_ioctl(kvm, KVM_CREATE_PIT2, &pit);
	if (err) {
		log_error("cannot create the machine's interrupt controllers: %s", strerror(-err));
		return err;
	}
	return kvm_irqs_create(kvm, X86_IOAPIC_PINS, routes, first_routes(routes), out);
}

int x86_chips_save(const struct kvm *kvm, struct state_writer *w)
{
	int err = 0;
	for (size_t i = 0; i < ARRAY_SIZE(irqchips) && !err; i++) {
		struct kvm_irqchip chip = { .chip_id = irqchips[i].id };
		err = vm_ioctl(kvm, KVM_GET_IRQCHIP, &chip);
		if (!err)
			state_put_bytes(w, irqchips[i].name, &chip.chip, sizeof(chip.chip));
	}
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock;
	err = err ? err : vm_ioctl(kvm, KVM_GET_PIT2, &pit);
	err = err ? err : vm_ioctl(kvm, KVM_GET_CLOCK, &clock);
	if (err) {
		log_error("cannot read the machine's interrupt controllers: %s", strerror(-err));
		return err;
	}
	state_put_bytes(w, "pit", &pit, sizeof(pit));
	state_put_u64(w, "clock-ns", clock.clock);
	return 0;
}

int x86_chips_load(const struct kvm *kvm, struct state_node n)
{
	int err = state_check(n, x86_chips_compatible);
	for (size_t i = 0; i < ARRAY_SIZE(irqchips) && !err; i++) {
		struct kvm_irqchip chip = { .chip_id = irqchips[i].id };
		err = state_get_bytes(n, irqchips[i].name, &chip.chip, sizeof(chip.chip));
		err = err ? err : vm_ioctl(kvm, KVM_SET_IRQCHIP, &chip);
	}
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock = { 0 };
	uint64_t clock_ns = 0;
	err = err ? err : state_get_bytes(n, "pit", &pit, sizeof(pit));
	err = err ? err : state_get_u64(n, "clock-ns", &clock_ns);
	clock.clock = clock_ns;
	err = err ? err : vm_ioctl(kvm, KVM_SET_PIT2, &pit);
	err = err ? err : vm_ioctl(kvm, KVM_SET_CLOCK, &clock);
	if (err)
		log_error("cannot set the machine's interrupt controllers: %s", strerror(-err));
	return err == -ENOENT ? -EINVAL : err;
}
