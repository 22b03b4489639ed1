/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at a disk's first sector. */
#include "firmware/boot_sector.h"

#include <string.h>

#include "devices/block/block.h"
#include "vmm/base/endian.h"
#include "vmm/base/zero.h"

enum {
	CODE_BYTES = 440, /* in front of the disk's signature and the table of partitions */
	SIGNATURE_OFF = 510,
	SIGNATURE = 0xaa55,
};

/* Behind the volume's own descriptor, in sectors of 2 KiB. */
#define BOOT_RECORD_OFF UINT64_C(0x8800)
static const char boot_record[] = "\0CD001\1EL TORITO SPECIFICATION";

int boot_record_find(struct blk_node *cd, bool *found)
{
	uint8_t sector[BLK_SECTOR_BYTES];
	*found = false;
	if (blk_size(cd) < BOOT_RECORD_OFF + sizeof(sector))
		return 0;
	int err = blk_pread(cd, sector, sizeof(sector), BOOT_RECORD_OFF);
	*found = !err && !memcmp(sector, boot_record, sizeof(boot_record) - 1);
	return err;
}

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
