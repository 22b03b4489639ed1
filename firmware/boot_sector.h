/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a disk has something that a BIOS could start. */
#ifndef FIRMWARE_BOOT_SECTOR_H
#define FIRMWARE_BOOT_SECTOR_H

#include <stdbool.h>

struct blk_node;

/*
 * The first sector ends with the boot signature and begins with code: a table of partitions alone has zeroes there.
 * On the thread of the disk's loop, while that loop does not run. -> 0 and *found; -EIO and other errors of
 * reading, not logged.
 */
int boot_sector_find(struct blk_node *disk, bool *found);

/* The same for a CD: whether it has a boot record (El Torito 1.0, 2.0). */
int boot_record_find(struct blk_node *cd, bool *found);

#endif
