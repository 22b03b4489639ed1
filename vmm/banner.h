/* SPDX-License-Identifier: Apache-2.0 */
/* What a person at the terminal is told at the start: how to log in, which ports lead inside, how to leave. */
#ifndef VMM_BANNER_H
#define VMM_BANNER_H

#include <stdbool.h>

struct backends;
struct machine_config;

/* On standard error. @raw_terminal: the console is on a terminal, raw by now, and the escape works. */
void banner_print(const struct backends *b, const struct machine_config *cfg, bool raw_terminal);

#endif
