/* SPDX-License-Identifier: Apache-2.0 */
/* The code at a PC's reset vector. */
#ifndef FIRMWARE_RESET_VECTOR_H
#define FIRMWARE_RESET_VECTOR_H

#include "vmm/core/guestmem.h"

/*
 * Writes it into guest memory. A Linux that is told of reduced ACPI hardware, and has no EFI, restarts by
 * jumping here in real mode; the code asks for a reset of the machine. Before the vCPUs run.
 * -> 0, -EFAULT (no RAM there).
 */
int reset_vector_install(const struct guestmem *gm);

#endif
