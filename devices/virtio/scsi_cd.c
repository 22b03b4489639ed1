/* SPDX-License-Identifier: Apache-2.0 */
/* A CD-ROM drive's answers. */
/*
 * How it works. A command is its first byte; most have an allocation length, which cuts the answer. What is not here,
 * or asks for a page that is not, ends with CHECK CONDITION and the reason in the sense data, and a driver does
 * without: that is how drives have always told what they are.
 */
#include "devices/virtio/scsi_cd.h"

#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	TEST_UNIT_READY = 0x00,
	REQUEST_SENSE = 0x03,
	INQUIRY = 0x12,
	START_STOP_UNIT = 0x1b,
	PREVENT_ALLOW_REMOVAL = 0x1e,
	READ_CAPACITY_10 = 0x25,
	READ_10 = 0x28,
	SYNCHRONIZE_CACHE = 0x35,
	READ_TOC = 0x43,
	GET_CONFIGURATION = 0x46,
	GET_EVENT_STATUS = 0x4a,
	REPORT_LUNS = 0xa0,
	READ_12 = 0xa8,

	KEY_ILLEGAL_REQUEST = 5,
	ASC_INVALID_COMMAND = 0x20,
	ASC_OUT_OF_RANGE = 0x21,
	ASC_INVALID_FIELD = 0x24,

	SENSE_FIXED = 0x70, /* format, and no information */
	TYPE_CD = 5,
	REMOVABLE = 0x80,
	SPC_3 = 5,
	FORMAT_2 = 2, /* of INQUIRY's answer */
	INQUIRY_BYTES = 36,

	TOC_TRACKS = 0,
	TOC_SESSIONS = 1,
	TOC_MSF = 2, /* in byte 1: addresses as minutes, seconds and frames */
	TRACK_DATA = 0x14,
	LEAD_OUT = 0xaa,

	PROFILE_CD_ROM = 0x0008,
	PROFILE_DVD_ROM = 0x0010,
	CD_SECTORS_MAX = 450000, /* 100 minutes: more is a DVD */

	EVENT_POLLED = 1,
	EVENT_MEDIA = 4, /* class, and its bit is 1 << EVENT_MEDIA */
	MEDIA_PRESENT = 2,
};

static void refuse(struct scsi_cd_answer *a, uint8_t asc)
{
	a->status = SCSI_CHECK_CONDITION;
	a->sense[0] = SENSE_FIXED;
	a->sense[2] = KEY_ILLEGAL_REQUEST;
	a->sense[7] = SCSI_CD_SENSE_BYTES - 8; /* what follows */
	a->sense[12] = asc;
}

/* data[] is filled in; the initiator takes so much of it. */
static void answer(struct scsi_cd_answer *a, size_t have, size_t allocated)
{
	a->data_bytes = MIN(have, allocated);
}

static void request_sense(const uint8_t *cdb, struct scsi_cd_answer *a)
{
	a->data[0] = SENSE_FIXED; /* nothing to tell: it was told with the command that failed */
	a->data[7] = SCSI_CD_SENSE_BYTES - 8;
	answer(a, SCSI_CD_SENSE_BYTES, cdb[4]);
}

static void inquiry(const uint8_t *cdb, struct scsi_cd_answer *a)
{
	if (cdb[1] & 1 || cdb[2]) { /* vital product data: none */
		refuse(a, ASC_INVALID_FIELD);
		return;
	}
	a->data[0] = TYPE_CD;
	a->data[1] = REMOVABLE;
	a->data[2] = SPC_3;
	a->data[3] = FORMAT_2;
	a->data[4] = INQUIRY_BYTES - 5;
	memcpy(a->data + 8, "CHARMVM CD-ROM          1.0 ", 28);
	answer(a, INQUIRY_BYTES, get_be16(cdb + 3));
}

static void read_capacity(uint64_t sectors, struct scsi_cd_answer *a)
{
	put_be32(a->data, (uint32_t)MIN(sectors ? sectors - 1 : 0, (uint64_t)UINT32_MAX));
	put_be32(a->data + 4, SCSI_CD_SECTOR_BYTES);
	a->data_bytes = 8;
}

static void read_sectors(uint32_t lba, uint32_t n, uint64_t sectors, struct scsi_cd_answer *a)
{
	if (!ck_range(lba, n, sectors)) {
		refuse(a, ASC_OUT_OF_RANGE);
		return;
	}
	a->read_off = (uint64_t)lba * SCSI_CD_SECTOR_BYTES;
	a->read_bytes = (uint64_t)n * SCSI_CD_SECTOR_BYTES;
}

static void put_track(uint8_t *p, uint8_t number, uint32_t lba, bool msf)
{
	p[1] = TRACK_DATA;
	p[2] = number;
	if (!msf) {
		put_be32(p + 4, lba);
		return;
	}
	lba += 150; /* two seconds of lead-in */
	p[5] = (uint8_t)MIN(lba / (75 * 60), 255U);
	p[6] = (uint8_t)(lba / 75 % 60);
	p[7] = (uint8_t)(lba % 75);
}

/* One session of one track. */
static void read_toc(const uint8_t *cdb, uint64_t sectors, struct scsi_cd_answer *a)
{
	bool msf = cdb[1] & TOC_MSF;
	unsigned int format = cdb[2] & 15;
	size_t len = 12;
	a->data[2] = a->data[3] = 1; /* first and last */
	put_track(a->data + 4, 1, 0, msf);
	if (format == TOC_TRACKS) {
		put_track(a->data + 12, LEAD_OUT, (uint32_t)MIN(sectors, (uint64_t)UINT32_MAX / 2),
			  msf);
		len = 20;
	} else if (format != TOC_SESSIONS) {
		refuse(a, ASC_INVALID_FIELD);
		return;
	}
	put_be16(a->data, (uint16_t)(len - 2));
	answer(a, len, get_be16(cdb + 7));
}

/* The header alone, with what kind of medium there is. */
static void get_configuration(const uint8_t *cdb, uint64_t sectors, struct scsi_cd_answer *a)
{
	put_be32(a->data, 4);
	put_be16(a->data + 6, sectors > CD_SECTORS_MAX ? PROFILE_DVD_ROM : PROFILE_CD_ROM);
	answer(a, 8, get_be16(cdb + 7));
}

/* No event has happened, and the medium is there. */
static void get_event_status(const uint8_t *cdb, struct scsi_cd_answer *a)
{
	if (!(cdb[1] & EVENT_POLLED) || !(cdb[4] & 1 << EVENT_MEDIA)) {
		refuse(a, ASC_INVALID_FIELD);
		return;
	}
	put_be16(a->data, 6);
	a->data[2] = EVENT_MEDIA;
	a->data[3] = 1 << EVENT_MEDIA;
	a->data[5] = MEDIA_PRESENT;
	answer(a, 8, get_be16(cdb + 7));
}

/* The list has one, 0. */
static void report_luns(const uint8_t *cdb, struct scsi_cd_answer *a)
{
	put_be32(a->data, 8);
	answer(a, 16, get_be32(cdb + 6));
}

void scsi_cd_command(const uint8_t cdb[SCSI_CD_CDB_BYTES], uint64_t sectors,
		     struct scsi_cd_answer *out)
{
	*out = (struct scsi_cd_answer){ .status = SCSI_GOOD };
	switch (cdb[0]) {
	case TEST_UNIT_READY:
	case START_STOP_UNIT:
	case PREVENT_ALLOW_REMOVAL:
	case SYNCHRONIZE_CACHE: break;
	case REQUEST_SENSE: request_sense(cdb, out); break;
	case INQUIRY: inquiry(cdb, out); break;
	case READ_CAPACITY_10: read_capacity(sectors, out); break;
	case READ_10: read_sectors(get_be32(cdb + 2), get_be16(cdb + 7), sectors, out); break;
	case READ_12: read_sectors(get_be32(cdb + 2), get_be32(cdb + 6), sectors, out); break;
	case READ_TOC: read_toc(cdb, sectors, out); break;
	case GET_CONFIGURATION: get_configuration(cdb, sectors, out); break;
	case GET_EVENT_STATUS: get_event_status(cdb, out); break;
	case REPORT_LUNS: report_luns(cdb, out); break;
	default: refuse(out, ASC_INVALID_COMMAND);
	}
}
