/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a Vagrant box or an OVA: a tar archive, compressed (gzip, bzip2, xz, zstd) or not. It comes from a stranger, so
 * nothing in it is ever written under a name that it chose, and an archive that tries to is refused as a whole.
 */
#ifndef VMM_BOX_ARCHIVE_H
#define VMM_BOX_ARCHIVE_H

#include <stdint.h>

enum {
	BOX_DISKS_MAX = 8,
	BOX_ENTRIES_MAX = 4096,
	BOX_NAME_MAX = 255,
	BOX_TEXT_MAX = 1 << 20, /* bytes of metadata.json and such, each */
};
/* Of one disk, its holes included. */
#define BOX_DISK_BYTES_MAX (UINT64_C(64) << 40)

struct box_disk {
	char name[BOX_NAME_MAX + 1];
	int fd; /* a file without a name (spool.h) */
	uint64_t bytes;
};

/* The texts are NUL-terminated; NULL: there was none. */
struct box_archive {
	char *metadata;	   /* metadata.json */
	char *vagrantfile; /* Vagrantfile */
	char *key;	   /* vagrant_private_key */
	char *ovf;	   /* the first *.ovf */
	struct box_disk disks[BOX_DISKS_MAX];
	unsigned int ndisks;
};

/*
 * Reads the archive @fd, which messages call @shown, from its beginning; disks go to files without a name in the directory
 * @dir. With a bar on a terminal; blocks. -> 0, or -errno (-ENOPKG: no libarchive) after one line; box_archive_free() in any case.
 */
int box_archive_read(struct box_archive *box, int fd, const char *shown, const char *dir);
void box_archive_free(struct box_archive *box);

/* The disk called @name (a "./" before it does not count), or NULL. */
const struct box_disk *box_archive_disk(const struct box_archive *box, const char *name);

#endif
