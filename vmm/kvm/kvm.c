/* SPDX-License-Identifier: Apache-2.0 */
/* /dev/kvm, the machine and its memory. */
#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"

/* What we stand on; all of it is in Linux 5.15, the oldest host we promise. */
static const struct {
	int cap;
	const char *name;
} needed_caps[] = {
	{ KVM_CAP_IRQCHIP, "in-kernel interrupt controllers" },
	{ KVM_CAP_USER_MEMORY, "user memory slots" },
	{ KVM_CAP_IRQFD, "irqfd" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfd of any length" },
	{ KVM_CAP_SIGNAL_MSI, "message-signalled interrupts" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
};

static int open_dev(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	int err = -errno;
	switch (err) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		log_error("no /dev/kvm: this kernel has no KVM loaded; turn on virtualisation "
			  "(VT-x or "
			  "AMD-V) in the firmware's set-up, then: sudo modprobe kvm_intel (or "
			  "kvm_amd)");
		return -ENOENT;
	case -EACCES:
	case -EPERM:
		log_error("/dev/kvm: permission denied; join the group that owns it: sudo usermod "
			  "-aG "
			  "kvm $USER, then log in again");
		return -EACCES;
	case -EBUSY:
		log_error("/dev/kvm is in use by another hypervisor (VirtualBox?); stop its "
			  "machines and "
			  "try again");
		return err;
	default: log_error("/dev/kvm: %s", strerror(-err)); return err;
	}
}

/* A KVM that needs no VT-x or AMD-V runs kernels that were made for it, and gets stuck in all others. */
static bool is_paravirtual(void)
{
	return !access("/sys/module/kvm_pvm", F_OK);
}

static int check_caps(int dev_fd)
{
	if (is_paravirtual()) {
		log_error("/dev/kvm is kvm_pvm, which cannot run stock kernels; use a machine with "
			  "VT-x or AMD-V, "
			  "and there: sudo modprobe kvm_intel (or kvm_amd)");
		return -ENOTSUP;
	}
	int version = ioctl(dev_fd, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION) {
		log_error("/dev/kvm speaks version %d of its interface and not %d; this is no "
			  "Linux KVM "
			  "that charmvm knows",
			  version, KVM_API_VERSION);
		return -ENOTSUP;
	}
	for (size_t i = 0; i < ARRAY_SIZE(needed_caps); i++) {
		if (ioctl(dev_fd, KVM_CHECK_EXTENSION, needed_caps[i].cap) > 0)
			continue;
		log_error("the host's KVM has no %s; charmvm needs Linux 5.15 or newer",
			  needed_caps[i].name);
		return -ENOTSUP;
	}
	return 0;
}

/* KVM_CREATE_VM is interrupted by signals; it is a matter of asking again. */
static int create_vm(int dev_fd)
{
	int fd;
	do
		fd = ioctl(dev_fd, KVM_CREATE_VM, 0UL);
	while (fd < 0 && errno == EINTR);
	if (fd >= 0)
		return fd;
	int err = -errno;
	log_error("cannot create a virtual machine: %s%s", strerror(-err),
		  err == -EBUSY ? " (another hypervisor has the processor's virtualisation)" : "");
	return err;
}

int kvm_open(struct kvm *kvm)
{
	*kvm = (struct kvm){ .dev_fd = -1, .vm_fd = -1 };
	int err = open_dev();
	if (err < 0)
		return err;
	kvm->dev_fd = err;
	err = check_caps(kvm->dev_fd);
	if (err)
		goto out_close;
	err = kvm->run_len_bytes = ioctl(kvm->dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (err < (int)sizeof(struct kvm_run)) {
		log_error("/dev/kvm: no vCPU mapping size");
		err = -ENOTSUP;
		goto out_close;
	}
	err = kvm->vm_fd = create_vm(kvm->dev_fd);
	if (err < 0)
		goto out_close;
	return 0;
out_close:
	kvm_close(kvm);
	return err;
}

void kvm_close(struct kvm *kvm)
{
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	if (kvm->dev_fd >= 0)
		close(kvm->dev_fd);
	kvm->vm_fd = kvm->dev_fd = -1;
}

int kvm_map_ram(struct kvm *kvm, const struct guestmem *gm)
{
	for (unsigned int i = 0; i < gm->nregions; i++) {
		const struct guestmem_region *r = &gm->regions[i];
		struct kvm_userspace_memory_region slot = {
			.slot = i,
			.guest_phys_addr = r->gpa,
			.memory_size = r->len_bytes,
			.userspace_addr = (uintptr_t)r->hva,
		};
		if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0) {
			int err = -errno;
			log_error("KVM refuses %llu MiB of guest memory at 0x%llx: %s",
				  (unsigned long long)(r->len_bytes / MIB),
				  (unsigned long long)r->gpa, strerror(-err));
			return err;
		}
	}
	return 0;
}

int kvm_map_rom(struct kvm *kvm, uint64_t gpa, void *hva, uint64_t len_bytes, bool on)
{
	struct kvm_userspace_memory_region slot = {
		.slot = GUESTMEM_REGIONS_MAX, /* behind those of RAM */
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = gpa,
		.memory_size = on ? len_bytes : 0,
		.userspace_addr = (uintptr_t)hva,
	};
	if (on && kvm->rom == hva)
		return 0;
	if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return -errno;
	kvm->rom = on ? hva : NULL;
	return 0;
}
