/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of a CD-ROM drive with a medium in it that cannot be written, as SCSI has them (SPC-3, and MMC-5 as
 * far as drivers ask): what is answered, without doing it. No drive of ours opens its tray.
 */
#ifndef VIRTIO_SCSI_CD_H
#define VIRTIO_SCSI_CD_H

#include <stddef.h>
#include <stdint.h>

enum {
	SCSI_CD_SECTOR_BYTES = 2048,
	SCSI_CD_CDB_BYTES = 16, /* the longest command that is looked at */
	SCSI_CD_DATA_BYTES = 64,
	SCSI_CD_SENSE_BYTES = 18,

	SCSI_GOOD = 0,
	SCSI_CHECK_CONDITION = 2,
};

struct scsi_cd_answer {
	uint8_t status; /* SCSI_GOOD, or SCSI_CHECK_CONDITION and sense[] */
	uint8_t sense[SCSI_CD_SENSE_BYTES];
	/* What the initiator gets: data[], or what is on the medium. */
	uint8_t data[SCSI_CD_DATA_BYTES];
	size_t data_bytes;
	uint64_t read_off; /* bytes, of whole sectors on the medium */
	uint64_t read_bytes;
};

/* @sectors of the medium. Any thread. */
void scsi_cd_command(const uint8_t cdb[SCSI_CD_CDB_BYTES], uint64_t sectors,
		     struct scsi_cd_answer *out);

#endif
