/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the archive of a box or an OVA. */
/*
 * How it works. The archive is read once, front to back, since one that is compressed cannot be read in another way. Small
 * files that say what the box is are kept in memory, what may be a disk goes to a file without a name, the rest is passed over.
 * Rules:
 *  1. Every entry is a file or a directory below the archive's own top: no absolute name, no "..", no link, no device. Since
 *     nothing is written under these names they could not do harm; but an archive that has them was made to.
 *  2. What is claimed is bounded before anything is read, and what comes must be what was claimed.
 *  3. No name counts twice: which one was meant would be a guess.
 */
#include "vmm/import/box_archive.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/import/archive_lib.h"
#include "vmm/import/spool.h"

enum { READ_BYTES = 256 * 1024 };

struct reading {
	struct archive_lib lib;
	struct archive *a;
	struct archive_entry *entry;
	struct box_archive *box;
	const char *shown, *dir;
	const char *name; /* of the entry, without "./" */
	uint64_t size;	  /* as it claims */
	struct image_progress progress;
	bool bar; /* it is on the screen: a message begins on a new line */
};

__attribute__((format(printf, 2, 3))) static int refuse(struct reading *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->bar)
		image_progress_end(&r->progress);
	r->bar = false;
	log_error("%s: %s", r->shown, text);
	return -EINVAL;
}

static int broken(struct reading *r)
{
	const char *why = r->lib.error_string(r->a);
	return refuse(r, "cannot be read: %s; fetch it again, or make it with tar",
		      why ? why : "not a tar archive");
}

/* ---- which entry it is ---- */

static const char *skip_dot(const char *name)
{
	while (name[0] == '.' && name[1] == '/')
		name += 2;
	return name;
}

static bool climbs(const char *name)
{
	for (const char *p = name; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (!strncmp(p, "..", 2) && (!p[2] || p[2] == '/'))
			return true;
	}
	return false;
}

static bool ends_in(const char *name, const char *const *endings)
{
	const char *dot = strrchr(name, '.');
	for (; dot && *endings; endings++)
		if (!strcasecmp(dot + 1, *endings))
			return true;
	return false;
}

static bool is_disk(const char *name)
{
	static const char *const endings[] = { "img", "qcow2", "qcow", "raw", "vmdk",
					       "vdi", "vhd",   "vhdx", NULL };
	return ends_in(name, endings);
}

/* Where the text of this entry is kept, or NULL. */
static char **text_place(const struct reading *r)
{
	static const char *const ovf[] = { "ovf", NULL };
	struct box_archive *box = r->box;
	if (!strcmp(r->name, "metadata.json"))
		return &box->metadata;
	if (!strcmp(r->name, "Vagrantfile"))
		return &box->vagrantfile;
	if (!strcmp(r->name, "vagrant_private_key"))
		return &box->key;
	return ends_in(r->name, ovf) ? &box->ovf : NULL;
}

/* Rule 1. */
static int check_entry(struct reading *r)
{
	const char *name = r->lib.entry_pathname(r->entry);
	if (!name || !*name)
		return refuse(r, "it has a name that cannot be read; this is no box of Vagrant's");
	unsigned int type = r->lib.entry_filetype(r->entry);
	if (*name == '/' || climbs(name))
		return refuse(r,
			      "it wants to write outside its directory ('%.200s'): do not trust it",
			      name);
	if (type == AE_IFLNK || r->lib.entry_hardlink(r->entry))
		return refuse(r, "'%.200s' in it is a link: do not trust it", name);
	if (type != AE_IFREG && type != AE_IFDIR)
		return refuse(r, "'%.200s' in it is neither a file nor a directory", name);
	r->name = skip_dot(name);
	la_int64_t size = r->lib.entry_size(r->entry);
	if (size < 0 || (uint64_t)size > BOX_DISK_BYTES_MAX)
		return refuse(r, "'%.200s' in it claims a size of %lld bytes", name,
			      (long long)size);
	r->size = (uint64_t)size;
	return 0;
}

/* ---- what is in it ---- */

/* -> 1: there is a block; 0: the end; -EINVAL after a message. */
static int next_block(struct reading *r, const void **buf, size_t *bytes, uint64_t *off)
{
	la_int64_t at;
	int status = r->lib.data_block(r->a, buf, bytes, &at);
	image_progress(&r->progress, (uint64_t)r->lib.filter_bytes(r->a, -1));
	if (status == ARCHIVE_EOF)
		return 0;
	if (status != ARCHIVE_OK)
		return broken(r);
	if (at < 0 || !ck_range((uint64_t)at, *bytes, r->size))
		return refuse(r, "'%.200s' in it is longer than it claims", r->name);
	*off = (uint64_t)at;
	return 1;
}

static int read_text(struct reading *r, char **place)
{
	const void *buf = NULL;
	size_t bytes = 0;
	uint64_t off = 0;
	int more;
	if (*place)
		return refuse(r, "it has two files that say what it is ('%.200s' is one)", r->name);
	if (r->size > BOX_TEXT_MAX)
		return refuse(r, "'%.200s' in it claims %llu bytes: that is no text of a box",
			      r->name, (unsigned long long)r->size);
	*place = calloc(1, r->size + 1);
	if (!*place)
		return refuse(r, "there is no memory for '%.200s' in it", r->name);
	while ((more = next_block(r, &buf, &bytes, &off)) > 0)
		memcpy(*place + off, buf, bytes);
	return more;
}

static int cannot_spool(struct reading *r, int err)
{
	refuse(r, "there is no place for '%.200s' in %s: %s", r->name, r->dir, strerror(-err));
	return err;
}

static int read_disk(struct reading *r)
{
	const void *buf = NULL;
	size_t bytes = 0;
	uint64_t off = 0;
	int more, err = 0;
	if (box_archive_disk(r->box, r->name))
		return refuse(r, "it has two disks called '%.200s'", r->name);
	if (r->box->ndisks == BOX_DISKS_MAX || strlen(r->name) > BOX_NAME_MAX)
		return refuse(r, "it has more than %d disks, or one with a very long name",
			      BOX_DISKS_MAX);
	int fd = spool_open(r->dir);
	if (fd < 0)
		return cannot_spool(r, fd);
	struct box_disk *d = &r->box->disks[r->box->ndisks++];
	strcpy(d->name, r->name);
	d->fd = fd;
	d->bytes = r->size;
	while (!err && (more = next_block(r, &buf, &bytes, &off)) != 0) {
		if (more < 0)
			return more;
		err = spool_write(fd, buf, bytes, off);
	}
	if (!err && ftruncate(fd, (off_t)r->size) < 0)
		err = -errno;
	return err ? cannot_spool(r, err) : 0;
}

static int read_entry(struct reading *r)
{
	int err = check_entry(r);
	if (err || r->lib.entry_filetype(r->entry) != AE_IFREG || strchr(r->name, '/'))
		return err; /* what is passed over is read by the next header */
	char **place = text_place(r);
	return place ? read_text(r, place) : is_disk(r->name) ? read_disk(r) : 0;
}

static int read_entries(struct reading *r)
{
	for (unsigned int n = 0;; n++) {
		int status = r->lib.next_header(r->a, &r->entry);
		if (status == ARCHIVE_EOF)
			return 0;
		if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
			return broken(r);
		if (n == BOX_ENTRIES_MAX)
			return refuse(r, "it has more than %d files: this is no box",
				      BOX_ENTRIES_MAX);
		image_progress(&r->progress, (uint64_t)r->lib.filter_bytes(r->a, -1));
		int err = read_entry(r);
		if (err)
			return err;
	}
}

static int open_archive(struct reading *r, int fd)
{
	r->a = r->lib.read_new();
	if (!r->a)
		return refuse(r, "there is no memory to read it");
	r->lib.filter_gzip(r->a);
	r->lib.filter_bzip2(r->a);
	r->lib.filter_xz(r->a);
	r->lib.filter_zstd(r->a);
	r->lib.format_tar(r->a);
	return r->lib.open_fd(r->a, fd, READ_BYTES) == ARCHIVE_OK ? 0 : broken(r);
}

int box_archive_read(struct box_archive *box, int fd, const char *shown, const char *dir)
{
	struct reading r = { .box = box, .shown = shown, .dir = dir };
	struct stat st;
	*box = (struct box_archive){ 0 };
	int err = archive_lib_load(&r.lib);
	if (err)
		return err;
	if (fstat(fd, &st) < 0)
		st.st_size = 0;
	image_progress_begin(&r.progress, (uint64_t)st.st_size, false, false);
	r.bar = true;
	err = open_archive(&r, fd);
	err = err ? err : read_entries(&r);
	if (!err)
		image_progress(&r.progress, (uint64_t)st.st_size);
	if (r.bar)
		image_progress_end(&r.progress);
	if (r.a)
		r.lib.read_free(r.a);
	return err;
}

const struct box_disk *box_archive_disk(const struct box_archive *box, const char *name)
{
	for (unsigned int i = 0; i < box->ndisks; i++)
		if (!strcmp(box->disks[i].name, skip_dot(name)))
			return &box->disks[i];
	return NULL;
}

void box_archive_free(struct box_archive *box)
{
	for (unsigned int i = 0; i < box->ndisks; i++)
		close(box->disks[i].fd);
	free(box->metadata);
	free(box->vagrantfile);
	free(box->key);
	free(box->ovf);
	*box = (struct box_archive){ 0 };
}
