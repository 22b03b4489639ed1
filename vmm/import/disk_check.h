/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a disk image out of a box stands on its own. One that names another file would show a private file of the user's to
 * the guest, or read a device: such an image is refused before anything follows the name.
 */
#ifndef VMM_DISK_CHECK_H
#define VMM_DISK_CHECK_H

#include <stdbool.h>

/* The format of the image @fd by its contents, as probe_format(); "raw": none that is known. -> NULL: it cannot be read. */
const char *disk_format(int fd);

/* What is wrong with the image @fd of @format, as the end of a message, or NULL: it stands on its own. For qcow2, vmdk, vdi
 * and raw. */
const char *disk_why_not(int fd, const char *format);

#endif
