/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a disk's first sector. */
#include "firmware/boot_sector.h"

#include "devices/block/block.h"
#include "vmm/base/endian.h"
#include "vmm/base/zero.h"

enum {
	CODE_BYTES = 440, /* in front of the disk's signature and the table of partitions */
	SIGNATURE_OFF = 510,
	SIGNATURE = 0xaa55,
};

int boot_sector_find(struct blk_node *disk, bool *found)
{
	uint8_t sector[BLK_SECTOR_BYTES];
	*found = false;
	if (blk_size(disk) < sizeof(sector))
		return 0;
	int err = blk_pread(disk, sector, sizeof(sector), 0);
	*found = !err && get_le16(sector + SIGNATURE_OFF) == SIGNATURE &&
		 !mem_is_zero(sector, CODE_BYTES);
	return err;
}
