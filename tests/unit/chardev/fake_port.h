/* SPDX-License-Identifier: Apache-2.0 */
/* A port that remembers what happened to it, and helpers to run a loop until something did. */
#ifndef TESTS_UNIT_CHARDEV_FAKE_PORT_H
#define TESTS_UNIT_CHARDEV_FAKE_PORT_H

#include "devices/chardev/chardev.h"
#include "vmm/core/loop.h"

struct fake_port {
	struct chardev_port base;
	pthread_mutex_t lock;
	char got[128 * 1024];
	size_t len;
	size_t limit;	    /* input() takes up to this many bytes in all */
	unsigned int calls; /* of input() */
	int connected;
	unsigned int times_connected;
	unsigned int room_calls;
	unsigned int cols, rows;
	bool quit;
};

void fake_port_init(struct fake_port *p);
/* A chardev_quit.fn, with the port as its argument. */
void fake_port_quit(void *opaque);

/* Runs the loop until @cond is true; false after 10 s. */
bool run_until(struct loop *l, bool (*cond)(void *arg), void *arg);
/* Runs the loop for so long. */
void run_for_ms(struct loop *l, unsigned int ms);
/* Runs until the port has @len bytes and tells whether they are @text (a string). */
bool port_gets(struct loop *l, struct fake_port *p, const char *text);
/* Runs until @len bytes have come out of @fd (non-blocking reads); false when they do not. */
bool fd_gives(struct loop *l, int fd, char *buf, size_t len);

#endif
