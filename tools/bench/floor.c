/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that a process from a snapshot has to do: open KVM, make a virtual machine with its interrupt
 * controller and one vCPU, map memory privately from a file, set the registers, enter the guest once.
 *
 * usage: floor FILE MEBIBYTES TIMES    prints the median of the microseconds from fork(2) to the guest's first exit
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CODE_GPA = 0x1000, TSS_GPA = 0xfffbd000, IDENTITY_GPA = 0xfffbc000, RUNS_MAX = 1000 };

static void must(int fine, const char *what)
{
	if (fine)
		return;
	perror(what);
	_exit(1);
}

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void *map_memory(const char *path, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	must(fd >= 0, path);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	must(p != MAP_FAILED, "mmap");
	return p;
}

static void run_once(const char *path, size_t bytes)
{
	static const uint8_t code[] = { 0xe6, 0xf4 }; /* out %al, $0xf4 */
	uint64_t identity = IDENTITY_GPA;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	must(kvm >= 0, "/dev/kvm");
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	must(vm >= 0, "KVM_CREATE_VM");
	must(!ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity), "KVM_SET_IDENTITY_MAP_ADDR");
	must(!ioctl(vm, KVM_SET_TSS_ADDR, TSS_GPA), "KVM_SET_TSS_ADDR");
	must(!ioctl(vm, KVM_CREATE_IRQCHIP), "KVM_CREATE_IRQCHIP");
	uint8_t *memory = map_memory(path, bytes);
	struct kvm_userspace_memory_region region = { .memory_size = bytes,
						      .userspace_addr = (uintptr_t)memory };
	must(!ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	memcpy(memory + CODE_GPA, code, sizeof(code));
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	must(vcpu >= 0, "KVM_CREATE_VCPU");
	int run_bytes = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run =
		mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	must(run != MAP_FAILED, "kvm_run");
	struct kvm_sregs sregs;
	must(!ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = sregs.cs.selector = 0;
	must(!ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	const struct kvm_regs regs = { .rip = CODE_GPA, .rflags = 2 };
	must(!ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	must(!ioctl(vcpu, KVM_RUN, 0) && run->exit_reason == KVM_EXIT_IO, "KVM_RUN");
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static uint64_t us[RUNS_MAX];
	int n = argc == 4 ? atoi(argv[3]) : 0;
	if (n < 1 || n > RUNS_MAX) {
		fprintf(stderr, "usage: floor FILE MEBIBYTES TIMES\n");
		return 2;
	}
	for (int i = 0; i < n; i++) {
		int told[2];
		must(!pipe(told), "pipe");
		uint64_t from = now_us(), until = 0;
		pid_t pid = fork();
		if (!pid) {
			run_once(argv[1], strtoul(argv[2], NULL, 10) << 20);
			until = now_us();
			_exit(write(told[1], &until, sizeof(until)) != sizeof(until));
		}
		close(told[1]);
		must(read(told[0], &until, sizeof(until)) == sizeof(until), "the child");
		close(told[0]);
		waitpid(pid, NULL, 0);
		us[i] = until - from;
	}
	qsort(us, (size_t)n, sizeof(us[0]), compare);
	printf("%llu\n", (unsigned long long)us[n / 2]);
	return 0;
}
