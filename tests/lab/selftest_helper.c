/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What selftest.sh needs to run in the lab and beside it.
 *
 *   kvm           makes a virtual machine on /dev/kvm, runs a few instructions
 * of real-mode code that sum 1..100 and leave the sum by OUT before HLT; prints
 * "sum 5050" serve PORT    listens on 127.0.0.1 and ::1; sends back, after the
 * client's half-close, what it got with every byte's bits flipped call ADDRESS
 * PORT BYTES COUNT COUNT connections at once to that, each with BYTES of data,
 * half-closed; checks
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	GUEST_BYTES = 65536,
	SUM_PORT = 0x80,
};

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* --- kvm --- */

static const uint8_t guest_code[] = {
	0x31, 0xc0,	      /* xor ax, ax */
	0xb9, 0x64,	0x00, /* mov cx, 100 */
	0x01, 0xc8,	      /* add ax, cx */
	0xe2, 0xfc,	      /* loop -2 instructions */
	0xe7, SUM_PORT,	      /* out SUM_PORT, ax */
	0xf4,		      /* hlt */
};

static int vm_new(int kvm)
{
	struct kvm_userspace_memory_region region = { .memory_size = GUEST_BYTES };
	void *mem =
		mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0UL);

	if (mem == MAP_FAILED || vm < 0)
		die("KVM_CREATE_VM");
	memcpy(mem, guest_code, sizeof(guest_code));
	region.userspace_addr = (uintptr_t)mem;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");
	return vm;
}

static int vcpu_new(int vm)
{
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0UL);

	if (vcpu < 0 || ioctl(vcpu, KVM_GET_SREGS, &sregs))
		die("KVM_CREATE_VCPU");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
		die("KVM_SET_SREGS");
	return vcpu;
}

static int kvm_main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vcpu = kvm < 0 ? -1 : vcpu_new(vm_new(kvm));
	struct kvm_run *run;
	uint16_t sum;

	if (vcpu < 0)
		die("/dev/kvm");
	run = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL), PROT_READ | PROT_WRITE,
		   MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		die("KVM_GET_VCPU_MMAP_SIZE");
	while (!ioctl(vcpu, KVM_RUN, 0UL)) {
		if (run->exit_reason == KVM_EXIT_HLT)
			return 0;
		if (run->exit_reason != KVM_EXIT_IO || run->io.port != SUM_PORT)
			break;
		memcpy(&sum, (uint8_t *)run + run->io.data_offset, sizeof(sum));
		printf("sum %u\n", sum);
	}
	fprintf(stderr, "exit reason %u\n", run->exit_reason);
	return 1;
}

/* --- serve and call --- */

static int listen_at(int family, const char *port)
{
	struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM };
	struct addrinfo *ai;
	int on = 1;
	int fd;

	if (getaddrinfo(NULL, port, &hints, &ai))
		die("address");
	fd = socket(family, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, 100))
		die("listen");
	freeaddrinfo(ai);
	return fd;
}

/* All bytes up to the peer's half-close; the caller frees them. */
static uint8_t *read_all(int fd, size_t *len_bytes)
{
	uint8_t *data = NULL;
	ssize_t got;

	*len_bytes = 0;
	do {
		uint8_t *more = realloc(data, *len_bytes + 65536);

		if (!more)
			die("memory");
		data = more;
		got = read(fd, data + *len_bytes, 65536);
		if (got < 0)
			die("read");
		*len_bytes += (size_t)got;
	} while (got);
	return data;
}

static void write_all(int fd, const uint8_t *data, size_t len_bytes)
{
	while (len_bytes) {
		ssize_t done = write(fd, data, len_bytes);

		if (done < 0)
			die("write");
		data += done;
		len_bytes -= (size_t)done;
	}
}

static void serve_one(int fd)
{
	size_t len_bytes;
	uint8_t *data = read_all(fd, &len_bytes);

	for (size_t i = 0; i < len_bytes; i++)
		data[i] ^= 0xff;
	write_all(fd, data, len_bytes);
	free(data);
}

static int serve_main(const char *port)
{
	struct pollfd pfd[2] = {
		{ .fd = listen_at(AF_INET, port), .events = POLLIN },
		{ .fd = listen_at(AF_INET6, port), .events = POLLIN },
	};

	puts("serving");
	fflush(stdout);
	while (poll(pfd, 2, -1) > 0) {
		int fd = accept(pfd[pfd[0].revents ? 0 : 1].fd, NULL, NULL);

		if (!fork()) {
			serve_one(fd);
			_exit(0);
		}
		close(fd);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	return 1;
}

static int connect_to(const char *address, const char *port)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
	struct addrinfo *ai;
	int fd;

	if (getaddrinfo(address, port, &hints, &ai))
		die("address");
	fd = socket(ai->ai_family, SOCK_STREAM, 0);
	if (connect(fd, ai->ai_addr, ai->ai_addrlen))
		die("connect");
	freeaddrinfo(ai);
	return fd;
}

static int call_one(const char *address, const char *port, size_t len_bytes, unsigned int seed)
{
	uint8_t *data = malloc(len_bytes + 1);
	uint8_t *back;
	size_t back_bytes;
	bool same;
	int fd = connect_to(address, port);

	if (!data)
		die("memory");
	for (size_t i = 0; i < len_bytes; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 8) + seed);
	write_all(fd, data, len_bytes);
	shutdown(fd, SHUT_WR);
	back = read_all(fd, &back_bytes);
	same = back_bytes == len_bytes;
	for (size_t i = 0; same && i < len_bytes; i++)
		same = back[i] + data[i] == 0xff;
	return same ? 0 : 1;
}

static int call_main(char **argv)
{
	unsigned int count = (unsigned int)atoi(argv[3]);
	int failed = 0;
	int status;

	for (unsigned int i = 0; i < count; i++) {
		if (!fork())
			_exit(call_one(argv[0], argv[1], (size_t)atol(argv[2]), i));
	}
	while (wait(&status) > 0)
		failed += status != 0;
	if (failed)
		fprintf(stderr, "%d of %u connections failed\n", failed, count);
	return failed != 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "kvm"))
		return kvm_main();
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve_main(argv[2]);
	if (argc == 6 && !strcmp(argv[1], "call"))
		return call_main(argv + 2);
	fprintf(stderr, "usage: see the source\n");
	return 2;
}
