/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for a machine's end. */
#ifndef VMM_CMD_STOP_H
#define VMM_CMD_STOP_H

#include <stdbool.h>
#include <stdint.h>

struct record;

/* Waits up to @seconds until the machine's process has let go of its disks: that is when its record goes. */
bool stop_has_ended(const struct record *r, uint64_t seconds);

#endif
