/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile boxes: an archive, and what the texts in it say. Of one that is taken, no disk's name leaves the box, and what it says
 * of disks and users is no more than there is room for.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/import/box_archive.h"
#include "vmm/import/box_meta.h"
#include "vmm/import/disk_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool claim)
{
	if (!claim)
		abort();
}

static void check_metadata(const char *text)
{
	struct box_metadata m;
	if (box_metadata_parse(text, "a.box", &m))
		return;
	must(m.provider == BOX_VIRTUALBOX || *m.disk);
	must(strnlen(m.disk, sizeof(m.disk)) < sizeof(m.disk));
}

static void check_texts(const char *text)
{
	char disk[BOX_NAME_MAX + 1], user[LOGIN_USER_MAX + 1];
	unsigned int more;
	check_metadata(text);
	if (ovf_first_disk(text, disk, &more))
		must(strnlen(disk, sizeof(disk)) < sizeof(disk));
	if (vagrantfile_user(text, user))
		must(login_user_ok(user));
}

static void check_disk(const struct box_disk *d)
{
	struct stat st;
	must(*d->name && !strchr(d->name, '/') && strcmp(d->name, "..") != 0);
	must(!fstat(d->fd, &st) && (uint64_t)st.st_size == d->bytes);
	must(st.st_nlink == 0);
	const char *format = disk_format(d->fd);
	must(format != NULL);
	disk_why_not(d->fd, format);
}

static void check_archive(int fd)
{
	struct box_archive box;
	int err = box_archive_read(&box, fd, "a.box", "/dev/shm");
	for (unsigned int i = 0; !err && i < box.ndisks; i++)
		check_disk(&box.disks[i]);
	if (!err && box.metadata)
		check_metadata(box.metadata);
	if (!err && box.ovf)
		check_texts(box.ovf);
	box_archive_free(&box);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fd = memfd_create("box", MFD_CLOEXEC);
	must(fd >= 0 && write(fd, data, len) == (ssize_t)len && !lseek(fd, 0, SEEK_SET));
	check_archive(fd);
	close(fd);
	char *text = calloc(1, len + 1);
	must(text != NULL);
	memcpy(text, data, len);
	check_texts(text);
	free(text);
	return 0;
}
