/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening what an image holds, and answering GRUB's questions about it. There is one disk, whatever
 * number the script gives it: a script that was made on a machine with several says hd1 for the one
 * it is on.
 */
#include "firmware/image_fs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "devices/block/block.h"
#include "vmm/base/log.h"

static int open_one(struct image_fs *im, const struct partition *p, bool quiet)
{
	struct extfs *fs;
	int err = extfs_open(im->disk, p->off, p->len, &fs);
	if (err == -ENOMEM || err == -ENOENT)
		return err;
	if (err == -ENODEV)
		return 0;
	if (err && quiet)
		return 0;
	if (err) {
		log_warn("%s: the file system on partition %u is left out: %s", blk_name(im->disk),
			 p->number, strerror(-err));
		return 0;
	}
	im->fss[im->n].part = p;
	im->fss[im->n++].fs = fs;
	return 0;
}

static void complain(const struct image_fs *im, int err)
{
	if (im->table.endless)
		log_warn("%s: the chain of logical partitions has no end", blk_name(im->disk));
	if (err == -EINVAL)
		log_error(
			"%s: both copies of its GPT are damaged; repair it (sgdisk -v), or name a "
			"kernel with --kernel",
			blk_name(im->disk));
	else if (err && err != -ENOENT) /* which was told */
		log_error("%s: cannot be read for a kernel: %s", blk_name(im->disk),
			  strerror(-err));
}

int image_fs_open(struct image_fs *im, struct blk_node *disk, bool quiet)
{
	*im = (struct image_fs){ .disk = disk };
	int err = partition_scan(disk, &im->table);
	for (unsigned int i = 0; !err && i < im->table.n && im->n < IMAGE_FS_MAX; i++)
		err = open_one(im, &im->table.parts[i], quiet);
	if (!quiet)
		complain(im, err);
	if (err)
		image_fs_close(im);
	return err;
}

void image_fs_close(struct image_fs *im)
{
	for (unsigned int i = 0; i < im->n; i++)
		extfs_close(im->fss[i].fs);
	im->n = 0;
}

void image_fs_grub_dev(const struct image_fs *im, unsigned int i, char dev[GRUB_DEV_CHARS])
{
	unsigned int number = im->fss[i].part->number;
	switch (im->table.scheme) {
	case PARTITION_NONE: snprintf(dev, GRUB_DEV_CHARS, "hd0"); break;
	case PARTITION_MBR: snprintf(dev, GRUB_DEV_CHARS, "hd0,msdos%u", number); break;
	case PARTITION_GPT: snprintf(dev, GRUB_DEV_CHARS, "hd0,gpt%u", number); break;
	}
}

int image_fs_by_grub_dev(const struct image_fs *im, const char *dev)
{
	unsigned int number = 0;
	const char *comma = strchr(dev, ',');
	if (strncmp(dev, "hd", 2))
		return -1;
	if (comma)
		number = (unsigned int)strtoul(comma + 1 + strcspn(comma + 1, "0123456789"), NULL,
					       10);
	for (unsigned int i = 0; i < im->n; i++)
		if (im->fss[i].part->number == number)
			return (int)i;
	return -1;
}

int image_fs_of(const struct image_fs *im, const struct partition *part)
{
	for (unsigned int i = 0; i < im->n; i++)
		if (im->fss[i].part == part)
			return (int)i;
	return -1;
}

static struct extfs *fs_at(const struct image_fs *im, const char *dev)
{
	int i = image_fs_by_grub_dev(im, dev);
	return i < 0 ? NULL : im->fss[i].fs;
}

static int read_cb(void *opaque, const char *dev, const char *path, char **text, size_t *len_bytes)
{
	struct extfs *fs = fs_at(opaque, dev);
	return fs ? extfs_read_text(fs, path, GRUB_TEXT_BYTES_MAX, text, len_bytes) : -ENOENT;
}

static bool is_file_cb(void *opaque, const char *dev, const char *path, bool nonempty)
{
	struct extfs *fs = fs_at(opaque, dev);
	return fs && extfs_is_file(fs, path, nonempty);
}

static bool is_dir_cb(void *opaque, const char *dev, const char *path)
{
	struct extfs *fs = fs_at(opaque, dev);
	return fs && extfs_is_dir(fs, path);
}

static int list_cb(void *opaque, const char *dev, const char *path,
		   void (*each)(void *arg, const char *name), void *arg)
{
	struct extfs *fs = fs_at(opaque, dev);
	return fs ? extfs_list(fs, path, each, arg) : -ENOENT;
}

static bool search_cb(void *opaque, enum grub_search by, const char *what, char dev[GRUB_DEV_CHARS])
{
	const struct image_fs *im = opaque;
	for (unsigned int i = 0; i < im->n; i++) {
		struct extfs *fs = im->fss[i].fs;
		bool found = false;
		switch (by) {
		case GRUB_SEARCH_UUID: found = !strcasecmp(extfs_uuid(fs), what); break;
		case GRUB_SEARCH_LABEL: found = !strcmp(extfs_label(fs), what); break;
		case GRUB_SEARCH_FILE: found = extfs_is_file(fs, what, false); break;
		}
		if (found) {
			image_fs_grub_dev(im, i, dev);
			return true;
		}
	}
	return false;
}

const struct grub_ops image_fs_grub_ops = {
	.read = read_cb,
	.is_file = is_file_cb,
	.is_dir = is_dir_cb,
	.list = list_cb,
	.search = search_cb,
};
