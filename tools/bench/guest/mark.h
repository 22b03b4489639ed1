/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks that the host sees: a byte to I/O port 0xf4 (measure.c says what the values mean).
 *
 * A workload is done in two passes, one for the clock and one for the events. Each is preceded by
 * a little of the same work, so that what is cold (pages, caches, tables) is not measured.
 */
#ifndef BENCH_GUEST_MARK_H
#define BENCH_GUEST_MARK_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	MARK_PORT = 0xf4,
	MARK_READY = 2,
	MARK_PHASE = 0x10, /* of phase N: plus 4 N */
	MARK_LAST = 0xff,
	SWITCH_US = 200 * 1000, /* for the host to switch what it counts */
};

static inline void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Through the device: the instruction in user mode is not reliable everywhere. */
static inline void mark(unsigned char value)
{
	int fd = open("/dev/port", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, &value, 1, MARK_PORT) != 1)
		fail("/dev/port");
	close(fd);
}

/* Does the work DO twice as phase NUMBER; COUNT is passed on, a tenth of it to warm up. */
static inline void phase(int number, void (*work)(void *context, unsigned long count),
			 void *context, unsigned long count)
{
	for (int pass = 0; pass < 4; pass += 2) {
		work(context, count / 10);
		mark(MARK_PHASE + 4 * number + pass);
		work(context, count);
		mark(MARK_PHASE + 4 * number + pass + 1);
		usleep(SWITCH_US);
	}
}

#endif
