/* SPDX-License-Identifier: Apache-2.0 */
/* A disk image of any format that can be imported, as a qcow2 image of our own making. */
#ifndef VMM_IMPORT_DISK_H
#define VMM_IMPORT_DISK_H

#include <stdint.h>

#include "vmm/exit_status.h"

struct import_disk {
	int fd;
	const char *path;   /* opens it, too */
	const char *shown;  /* what messages call it */
	const char *format; /* disk_format(), and disk_why_not() has nothing against it */
};

/*
 * Copies what the guest would see of it into the new image @out, which appears when it is complete. Nothing else comes
 * along: no snapshots, no names of other files. *bytes: how large the disk is.
 * -> EXIT_STATUS_OK; _FILE, _IN_USE, _FAILED (no qemu-img; interrupted); one line was logged and nothing stays behind.
 */
enum exit_status import_disk(const struct import_disk *d, const char *out, uint64_t *bytes);

#endif
