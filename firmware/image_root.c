/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file system is the root.
 *
 * A kernel that lies in a complete system belongs to that system. A kernel on a partition of its
 * own (/boot) belongs to the file system that has the most of these: an /etc/fstab that mentions
 * the UUID of the boot partition, a system's files, the partition type of a root, the label of one.
 */
#include "firmware/image_root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"

enum {
	FSTAB_BYTES_MAX = 65536,
	ROOT_VALUE_CHARS = 256,
	SCORE_FSTAB = 8,
	SCORE_FILES = 4,
	SCORE_TYPE = 2,
	SCORE_LABEL = 1,
};

static bool has_system(struct extfs *fs)
{
	static const char *const signs[] = { "/etc/fstab", "/etc/os-release",
					     "/usr/lib/os-release" };
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
		if (extfs_is_file(fs, signs[i], false))
			return true;
	return extfs_is_dir(fs, "/usr/bin");
}

static bool fstab_mentions(struct extfs *fs, const char *uuid)
{
	char *text;
	size_t len;
	if (extfs_read_text(fs, "/etc/fstab", FSTAB_BYTES_MAX, &text, &len))
		return false;
	bool found = strstr(text, uuid);
	free(text);
	return found;
}

static bool has_root_label(const struct extfs *fs)
{
	static const char *const labels[] = { "/", "root", "rootfs", "cloudimg-rootfs" };
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
		if (!strcmp(extfs_label(fs), labels[i]))
			return true;
	return false;
}

static int score(struct image_fs *im, unsigned int i, const char *boot_uuid)
{
	struct extfs *fs = im->fss[i].fs;
	int s = 0;
	if (has_system(fs))
		s += SCORE_FILES;
	if (fstab_mentions(fs, boot_uuid))
		s += SCORE_FSTAB;
	if (!strcmp(im->fss[i].part->type, PARTITION_TYPE_ROOT_X86_64))
		s += SCORE_TYPE;
	if (has_root_label(fs))
		s += SCORE_LABEL;
	return s;
}

/* A root partition whose file system is none of ours (btrfs, xfs), by its type. */
static const struct partition *foreign_root(const struct image_fs *im)
{
	for (unsigned int i = 0; i < im->table.n; i++)
		if (!strcmp(im->table.parts[i].type, PARTITION_TYPE_ROOT_X86_64))
			return &im->table.parts[i];
	return NULL;
}

static const struct partition *find_root(struct image_fs *im, unsigned int boot_fs)
{
	if (has_system(im->fss[boot_fs].fs))
		return im->fss[boot_fs].part;
	const char *boot_uuid = extfs_uuid(im->fss[boot_fs].fs);
	const struct partition *best = foreign_root(im);
	int best_score = best ? SCORE_TYPE : 0;
	for (unsigned int i = 0; i < im->n; i++) {
		int s = i == boot_fs ? 0 : score(im, i, boot_uuid);
		if (s > best_score || (s == best_score && s && image_fs_of(im, best) < 0)) {
			best = im->fss[i].part;
			best_score = s;
		}
	}
	return best ? best : im->fss[boot_fs].part;
}

/* The partition that another machine called @dev: /dev/sda1, /dev/nvme0n1p1, … of its first disk;
 * NULL: none. */
static const struct partition *first_disk_partition(const struct image_fs *im, const char *dev)
{
	static const char *const disks[] = { "/dev/sda",  "/dev/vda",	  "/dev/hda",
					     "/dev/xvda", "/dev/nvme0n1", "/dev/mmcblk0" };
	for (size_t i = 0; i < ARRAY_SIZE(disks); i++) {
		size_t n = strlen(disks[i]);
		if (strncmp(dev, disks[i], n))
			continue;
		const char *number = dev + n + (dev[n] == 'p');
		char *end;
		unsigned long v = strtoul(number, &end, 10);
		for (unsigned int k = 0; !*end && k < im->table.n; k++)
			if (im->table.parts[k].number == v)
				return &im->table.parts[k];
	}
	return NULL;
}

static void set_root(struct image_fs *im, const struct partition *p, bool has_initrd,
		     struct cmdline *c)
{
	char word[ROOT_VALUE_CHARS + 8];
	int i = image_fs_of(im, p);
	if (has_initrd && i >= 0)
		snprintf(word, sizeof(word), "root=UUID=%s", extfs_uuid(im->fss[i].fs));
	else if (*p->uuid)
		snprintf(word, sizeof(word), "root=PARTUUID=%s", p->uuid);
	else
		snprintf(word, sizeof(word), "root=/dev/vda");
	cmdline_remove(c, "root", true);
	cmdline_add(c, word);
}

void image_root_fix(struct image_fs *im, unsigned int boot_fs, bool has_initrd, struct cmdline *c)
{
	char value[ROOT_VALUE_CHARS];
	if (!cmdline_get(c, "root", value, sizeof(value))) {
		set_root(im, find_root(im, boot_fs), has_initrd, c);
		return;
	}
	const struct partition *p = first_disk_partition(im, value);
	if (p)
		set_root(im, p, has_initrd, c);
}
