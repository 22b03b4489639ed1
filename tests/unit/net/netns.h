/* SPDX-License-Identifier: Apache-2.0 */
/* A network of the test's own, so that its ports collide with nobody's. */
#ifndef TESTS_UNIT_NET_NETNS_H
#define TESTS_UNIT_NET_NETNS_H

#include <stdbool.h>
#include <stdint.h>

/* Moves this process, once, into a network namespace with nothing but loopback. false: the host
 * forbids it. */
bool netns_enter(void);
/* Gives the loopback interface of that network one address more. */
bool netns_add_addr(uint32_t ip4);

/* Everything logged between the two lands in the buffer, NUL-terminated. */
void log_capture_begin(void);
const char *log_capture_end(void);

#endif
