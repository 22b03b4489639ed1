/* SPDX-License-Identifier: Apache-2.0 */
/* What to call another process in a message. */
#ifndef BASE_PROCESS_NAME_H
#define BASE_PROCESS_NAME_H

#include <stddef.h>

enum { PROCESS_NAME_STR = 32 };

/* The name that process @pid goes by, or "a process" where it cannot be told. Processes choose their names
 * themselves: what does not print is replaced. Any thread. */
void process_name(long pid, char buf[PROCESS_NAME_STR]);

#endif
