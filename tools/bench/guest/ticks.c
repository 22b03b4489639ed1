/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that never rests, for the snapshot benchmark: it touches memory, then looks at the processor's
 * counter without end and tells the longest gap between two looks, which is how long it stood still.
 *
 * usage: ticks MEBIBYTES    prints "ready", then "gap CYCLES" again and again. A line "dirty N" on its standard
 * input makes it write to N MiB of that memory, and print "dirty"; "rest" makes it print "resting" and do nothing
 * until the next line
 *
 * The counter is the TSC, and not the kernel's monotonic clock, which a VMM may stop with the guest: then
 * a guest that stood still would not know.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

enum { PAGE_BYTES = 4096 };
#define PERIOD_CYCLES UINT64_C(1000000)

static void write_pages(unsigned char *p, size_t mib, unsigned char v)
{
	for (size_t i = 0; i < mib << 20; i += PAGE_BYTES)
		memset(p + i, v, 64);
}

static void rest(void)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	printf("resting\n");
	poll(&input, 1, -1);
}

/* What the host has typed, if anything. */
static void obey(unsigned char *memory, size_t mib)
{
	static unsigned char v = 1;
	char line[64];
	ssize_t n = read(0, line, sizeof(line) - 1);
	if (n <= 0)
		return;
	line[n] = '\0';
	if (!strncmp(line, "rest", 4)) {
		rest();
		return;
	}
	size_t want = strncmp(line, "dirty ", 6) ? 0 : strtoul(line + 6, NULL, 10);
	if (!want || want > mib)
		return;
	write_pages(memory, want, ++v);
	printf("dirty\n");
}

int main(int argc, char **argv)
{
	size_t mib = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	unsigned char *memory = mmap(NULL, (mib << 20) + PAGE_BYTES, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	fcntl(0, F_SETFL, O_NONBLOCK);
	write_pages(memory, mib, 1);
	printf("ready\n");
	uint64_t longest = 0, last = __rdtsc(), printed = last;
	for (;;) {
		uint64_t now = __rdtsc();
		if (now - last > longest)
			longest = now - last;
		last = now;
		if (now - printed < PERIOD_CYCLES)
			continue;
		printf("gap %llu\n", (unsigned long long)longest);
		longest = 0;
		obey(memory, mib);
		printed = __rdtsc();
	}
}
