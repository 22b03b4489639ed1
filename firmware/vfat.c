/* SPDX-License-Identifier: Apache-2.0 */
/* A small FAT12 disk. */
/*
 * How it lies, in sectors, which are clusters, too:
 *
 *   0 boot sector | 6 FAT | 6 FAT again | 1 root directory | cluster 2, 3, ...
 *
 * Each file has one run of clusters, behind the file before it. In the directory each has its name in pieces of 13 UTF-16
 * units, the last piece first (FATGEN, "Long Directory Entries"), then an entry of the old kind, whose name nobody else has:
 * "USER-D~2   ". All time stamps are the first that FAT knows.
 */
#include "firmware/vfat.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	SECTOR_BYTES = 512,
	SECTORS = VFAT_BYTES / SECTOR_BYTES,
	FATS = 2,
	FAT_SECTORS = 6, /* 12 bits for each cluster */
	FAT_SECTOR = 1,
	ROOT_SECTOR = FAT_SECTOR + FATS * FAT_SECTORS,
	ROOT_SECTORS = 1,
	DATA_SECTOR = ROOT_SECTOR + ROOT_SECTORS,
	CLUSTERS = SECTORS - DATA_SECTOR,
	CLUSTER_FIRST = 2,
	END_OF_CHAIN = 0xfff,
	MEDIA = 0xf8, /* a disk that stays where it is */

	ENTRY_BYTES = 32,
	ENTRIES = ROOT_SECTORS * SECTOR_BYTES / ENTRY_BYTES,
	SHORT_BYTES = 11,
	ATTR_READ_ONLY = 0x01,
	ATTR_LABEL = 0x08,
	ATTR_ARCHIVE = 0x20,
	ATTR_LONG_NAME = 0x0f,
	LONG_CHARS = 13, /* of a piece */
	LONG_LAST = 0x40,
	DATE_FIRST = 1 << 5 | 1, /* 1 January 1980 */
};

/* FATGEN: below 4085 clusters it is FAT12, whatever is written anywhere. */
_Static_assert(CLUSTERS < 4085, "FAT12");
_Static_assert((CLUSTERS + CLUSTER_FIRST) * 3 / 2 < FAT_SECTORS * SECTOR_BYTES, "FAT");
_Static_assert(1 + VFAT_FILES_MAX * (1 + (VFAT_NAME_MAX + LONG_CHARS - 1) / LONG_CHARS) <= ENTRIES,
	       "root directory");

struct disk {
	uint8_t *bytes;
	unsigned int entries;  /* used in the root directory */
	unsigned int clusters; /* used */
};

static uint8_t *sector(const struct disk *d, unsigned int n)
{
	return d->bytes + (size_t)n * SECTOR_BYTES;
}

static void put_padded(uint8_t *to, const char *text, size_t len_bytes)
{
	size_t n = MIN(strlen(text), len_bytes);
	memset(to, ' ', len_bytes);
	memcpy(to, text, n);
}

/* FATGEN, "Boot Sector and BPB". */
static void put_boot_sector(const struct disk *d, const char *label, uint32_t serial)
{
	uint8_t *b = sector(d, 0);
	memcpy(b, "\xeb\x3c\x90", 3); /* to behind the parameters, where nothing boots */
	put_padded(b + 3, "CHARMVM", 8);
	put_le16(b + 11, SECTOR_BYTES);
	b[13] = 1; /* sectors of a cluster */
	put_le16(b + 14, FAT_SECTOR);
	b[16] = FATS;
	put_le16(b + 17, ENTRIES);
	put_le16(b + 19, SECTORS);
	b[21] = MEDIA;
	put_le16(b + 22, FAT_SECTORS);
	put_le16(b + 24, 32); /* sectors of a track, heads: of no disk since long */
	put_le16(b + 26, 2);
	b[36] = 0x80; /* the number that a BIOS gives it */
	b[38] = 0x29; /* the next three are there */
	put_le32(b + 39, serial);
	put_padded(b + 43, label, SHORT_BYTES);
	put_padded(b + 54, "FAT12", 8);
	memcpy(b + 62, "\xf4\xeb\xfd", 3); /* hlt; jmp to it */
	put_le16(b + 510, 0xaa55);
}

static void set_fat(const struct disk *d, unsigned int cluster, unsigned int value)
{
	for (unsigned int i = 0; i < FATS; i++) {
		uint8_t *at = sector(d, FAT_SECTOR + i * FAT_SECTORS) + cluster * 3 / 2;
		unsigned int shift = cluster % 2 * 4, word = get_le16(at);
		put_le16(at, (uint16_t)((word & ~(0xfffU << shift)) | value << shift));
	}
}

static uint8_t *next_entry(struct disk *d)
{
	return sector(d, ROOT_SECTOR) + ENTRY_BYTES * d->entries++;
}

/* A directory entry of the old kind. */
static void put_entry(struct disk *d, const uint8_t name[SHORT_BYTES], uint8_t attributes,
		      unsigned int cluster, uint32_t len_bytes)
{
	uint8_t *e = next_entry(d);
	memcpy(e, name, SHORT_BYTES);
	e[11] = attributes;
	put_le16(e + 16, DATE_FIRST);
	put_le16(e + 18, DATE_FIRST);
	put_le16(e + 24, DATE_FIRST);
	put_le16(e + 26, (uint16_t)cluster);
	put_le32(e + 28, len_bytes);
}

/* FATGEN, "ChkSum()": ties the pieces of a long name to its entry. */
static uint8_t name_checksum(const uint8_t name[SHORT_BYTES])
{
	uint8_t sum = 0;
	for (unsigned int i = 0; i < SHORT_BYTES; i++)
		sum = (uint8_t)((sum << 7 | sum >> 1) + name[i]);
	return sum;
}

/* The name ends with a 0, and what is left of the piece is 0xffff. */
static void put_piece(uint8_t *e, const char *name, size_t from)
{
	static const uint8_t places[LONG_CHARS] = { 1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30 };
	size_t len = strlen(name);
	for (size_t i = 0; i < LONG_CHARS; i++)
		put_le16(e + places[i], from + i > len	  ? 0xffff
					: from + i == len ? 0
							  : (uint8_t)name[from + i]);
}

static void put_long_name(struct disk *d, const char *name, uint8_t checksum)
{
	unsigned int n = (unsigned int)div_round_up(strlen(name), LONG_CHARS);
	for (unsigned int piece = n; piece; piece--) {
		uint8_t *e = next_entry(d);
		e[0] = (uint8_t)(piece | (piece == n ? LONG_LAST : 0));
		e[11] = ATTR_LONG_NAME;
		e[13] = checksum;
		put_piece(e, name, (size_t)(piece - 1) * LONG_CHARS);
	}
}

/* "user-data", the second file: "USER-D~2   ". */
static void make_short_name(uint8_t out[SHORT_BYTES], const char *name, unsigned int number)
{
	enum { STEM = 6 };
	size_t n = 0;
	memset(out, ' ', SHORT_BYTES);
	for (; *name && n < STEM; name++)
		if (*name != '.')
			out[n++] = (uint8_t)toupper((unsigned char)*name);
	out[n++] = '~';
	out[n] = (uint8_t)('0' + number);
}

/* -> its first cluster, 0 for a file without bytes, or -EFBIG. */
static int put_data(struct disk *d, const struct vfat_file *f)
{
	if (f->len_bytes > (size_t)(CLUSTERS - d->clusters) * SECTOR_BYTES)
		return -EFBIG;
	unsigned int n = (unsigned int)div_round_up(f->len_bytes, SECTOR_BYTES);
	unsigned int first = CLUSTER_FIRST + d->clusters;
	if (!n)
		return 0;
	memcpy(sector(d, DATA_SECTOR + d->clusters), f->data, f->len_bytes);
	for (unsigned int i = 0; i < n; i++)
		set_fat(d, first + i, i + 1 == n ? END_OF_CHAIN : first + i + 1);
	d->clusters += n;
	return (int)first;
}

static int put_file(struct disk *d, const struct vfat_file *f, unsigned int number)
{
	uint8_t name[SHORT_BYTES];
	int cluster = put_data(d, f);
	if (cluster < 0)
		return cluster;
	make_short_name(name, f->name, number);
	put_long_name(d, f->name, name_checksum(name));
	put_entry(d, name, ATTR_READ_ONLY | ATTR_ARCHIVE, (unsigned int)cluster,
		  (uint32_t)f->len_bytes);
	return 0;
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);
	if (!len || len > VFAT_NAME_MAX || name[0] == '.' || name[len - 1] == '.')
		return false;
	for (; *name; name++)
		if (!isascii(*name) || (!isalnum((unsigned char)*name) && !strchr(".-_", *name)))
			return false;
	return true;
}

static bool label_ok(const char *label)
{
	size_t len = strlen(label);
	return len && len <= VFAT_LABEL_MAX &&
	       strspn(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == len;
}

int vfat_make(const char *label, uint32_t serial, const struct vfat_file *files,
	      unsigned int nfiles, uint8_t **out)
{
	uint8_t padded[SHORT_BYTES];
	if (!label_ok(label) || nfiles > VFAT_FILES_MAX)
		return -EINVAL;
	for (unsigned int i = 0; i < nfiles; i++)
		if (!name_ok(files[i].name))
			return -EINVAL;
	struct disk d = { .bytes = calloc(1, VFAT_BYTES) };
	if (!d.bytes)
		return -ENOMEM;
	put_boot_sector(&d, label, serial);
	set_fat(&d, 0, 0xf00 | MEDIA);
	set_fat(&d, 1, END_OF_CHAIN);
	put_padded(padded, label, SHORT_BYTES);
	put_entry(&d, padded, ATTR_LABEL, 0, 0);
	int err = 0;
	for (unsigned int i = 0; i < nfiles && !err; i++)
		err = put_file(&d, &files[i], i + 1);
	if (err) {
		explicit_bzero(d.bytes, VFAT_BYTES); /* a file may hold a key */
		free(d.bytes);
	} else {
		*out = d.bytes;
	}
	return err;
}
