/* SPDX-License-Identifier: Apache-2.0 */
/* What charmvm doctor finds out about virtualisation on this host. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/cli/doctor.h"

static const char cpuinfo[] = "/proc/cpuinfo";

static bool has_vmx(const struct doctor_host *h)
{
	return doctor_file_says(h, cpuinfo, "flags", "vmx");
}

static bool has_svm(const struct doctor_host *h)
{
	return doctor_file_says(h, cpuinfo, "flags", "svm");
}

static bool exists(const struct doctor_host *h, const char *path)
{
	char at[PATH_MAX];
	doctor_path(h, path, at);
	return !access(at, F_OK);
}

void doctor_cpu(const struct doctor_host *h, struct doctor_finding *f)
{
	if (has_vmx(h) || has_svm(h)) {
		snprintf(f->found, DOCTOR_TEXT, "the processor has %s",
			 has_vmx(h) ? "VT-x (vmx)" : "AMD-V (svm)");
		return;
	}
	f->verdict = DOCTOR_FAIL;
	snprintf(f->found, DOCTOR_TEXT, "the processor shows neither VT-x (vmx) nor AMD-V (svm)");
	if (doctor_file_says(h, cpuinfo, "flags", "hypervisor"))
		snprintf(f->fix, DOCTOR_TEXT,
			 "this host is itself a virtual machine: turn on nested virtualisation "
			 "where "
			 "it runs");
	else
		snprintf(f->fix, DOCTOR_TEXT,
			 "turn on virtualisation (VT-x, AMD-V or SVM) in the BIOS or firmware "
			 "set-up");
}

/* The module comes with the processor: a kernel that has it and does not load it has been told not to by the BIOS. */
void doctor_modules(const struct doctor_host *h, struct doctor_finding *f)
{
	const char *wanted = has_svm(h) ? "kvm_amd" : "kvm_intel";
	if (exists(h, "/sys/module/kvm_pvm")) {
		f->verdict = DOCTOR_FAIL;
		snprintf(f->found, DOCTOR_TEXT,
			 "kvm_pvm is loaded, which cannot run stock kernels");
		snprintf(f->fix, DOCTOR_TEXT,
			 "use a machine with VT-x or AMD-V, and there: sudo modprobe %s", wanted);
	} else if (exists(h, "/sys/module/kvm_intel") || exists(h, "/sys/module/kvm_amd")) {
		snprintf(f->found, DOCTOR_TEXT, "%s is loaded",
			 exists(h, "/sys/module/kvm_amd") ? "kvm_amd" : "kvm_intel");
	} else {
		f->verdict = DOCTOR_FAIL;
		snprintf(f->found, DOCTOR_TEXT, "neither kvm_intel nor kvm_amd is loaded");
		snprintf(f->fix, DOCTOR_TEXT,
			 "sudo modprobe %s; if that says 'Operation not supported', virtualisation "
			 "is "
			 "off in the "
			 "BIOS or firmware set-up",
			 wanted);
	}
}

static void forbidden(const char *at, struct doctor_finding *f)
{
	struct stat st;
	const struct group *g = stat(at, &st) ? NULL : getgrgid(st.st_gid);
	bool by_group = g && (st.st_mode & 060) == 060 && st.st_gid;
	snprintf(f->found, DOCTOR_TEXT, "/dev/kvm may not be used by this user%s%s",
		 by_group ? ", but by the group " : "", by_group ? g->gr_name : "");
	if (by_group)
		snprintf(f->fix, DOCTOR_TEXT, "sudo usermod -aG %s $USER, then log in again",
			 g->gr_name);
	else
		snprintf(f->fix, DOCTOR_TEXT,
			 "sudo chgrp kvm /dev/kvm && sudo chmod 660 /dev/kvm, and join the group "
			 "kvm: "
			 "sudo usermod -aG kvm "
			 "$USER, then log in again");
}

static int create_machine(int fd)
{
	int vm = ioctl(fd, KVM_CREATE_VM, 0UL);
	int err = vm < 0 ? errno : 0;
	if (vm >= 0)
		close(vm);
	return err;
}

void doctor_kvm(const struct doctor_host *h, struct doctor_finding *f)
{
	char at[PATH_MAX];
	doctor_path(h, "/dev/kvm", at);
	int fd = open(at, O_RDWR | O_CLOEXEC);
	int err = fd < 0 ? errno : 0;
	int version = fd < 0 ? 0 : ioctl(fd, KVM_GET_API_VERSION, 0);
	f->verdict = DOCTOR_FAIL;
	if (err == EACCES || err == EPERM) {
		forbidden(at, f);
	} else if (err == ENOENT || err == ENODEV || err == ENXIO) {
		snprintf(f->found, DOCTOR_TEXT, "there is no /dev/kvm");
		snprintf(f->fix, DOCTOR_TEXT,
			 "load the module that is named above; in a container, "
			 "give it the device (docker run --device /dev/kvm)");
	} else if (err || version != KVM_API_VERSION) {
		snprintf(f->found, DOCTOR_TEXT, "/dev/kvm: %s",
			 err ? strerror(err) : "this is no KVM that charmvm knows");
		snprintf(f->fix, DOCTOR_TEXT, "Linux 5.15 or newer is needed, with its own KVM");
	} else if ((err = create_machine(fd))) {
		snprintf(f->found, DOCTOR_TEXT, "/dev/kvm makes no machine: %s", strerror(err));
		snprintf(f->fix, DOCTOR_TEXT,
			 "stop other hypervisors, then: sudo dmesg | grep -i kvm");
	} else {
		f->verdict = DOCTOR_OK;
		snprintf(f->found, DOCTOR_TEXT, "/dev/kvm makes machines");
	}
	if (fd >= 0)
		close(fd);
}

/* Of those, only one can have the processor's virtualisation at a time, or since Linux 6.12, KVM has it from its start. */
void doctor_conflicts(const struct doctor_host *h, struct doctor_finding *f)
{
	static const struct {
		const char *module, *whose;
	} others[] = { { "vboxdrv", "VirtualBox" }, { "vmmon", "VMware" } };
	snprintf(f->found, DOCTOR_TEXT, "no other hypervisor is loaded");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		char path[64];
		snprintf(path, sizeof(path), "/sys/module/%s", others[i].module);
		if (!exists(h, path))
			continue;
		f->verdict = DOCTOR_WARN;
		snprintf(f->found, DOCTOR_TEXT, "%s is loaded (%s)", others[i].whose,
			 others[i].module);
		snprintf(f->fix, DOCTOR_TEXT,
			 "if machines do not start: stop those of %s, then: sudo modprobe -r %s",
			 others[i].whose, others[i].module);
	}
}
