/* SPDX-License-Identifier: Apache-2.0 */
/* What a file to be imported is, and importing it. */
/*
 * How it works. The ending of the file's name says what the user takes it for, and its contents must agree: a disk that its
 * guest could write must not choose by its first bytes how it is read. Another ending, or none, leaves it to the contents.
 */
#include "vmm/import/import.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/import/box_archive.h"
#include "vmm/import/box_meta.h"
#include "vmm/import/disk_check.h"
#include "vmm/import/import_disk.h"
#include "vmm/vagrant_key.h"

enum { HEAD_BYTES = 512, TAR_MAGIC_OFFSET = 257 };

/* What a name's ending says it is; "archive": to be read by libarchive. */
static const struct {
	const char *ending, *kind;
} endings[] = {
	{ "box", "archive" }, { "ova", "archive" }, { "raw", "raw" },
	{ "vmdk", "vmdk" },   { "vdi", "vdi" },	    { "qcow2", "qcow2" },
};

static const char *kind_by_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *dot = strrchr(slash ? slash : path, '.');
	for (size_t i = 0; dot && i < ARRAY_SIZE(endings); i++)
		if (!strcasecmp(dot + 1, endings[i].ending))
			return endings[i].kind;
	return NULL;
}

static bool is_box_name(const char *path)
{
	size_t n = strlen(path);
	return n > 4 && !strcasecmp(path + n - 4, ".box");
}

static bool looks_like_archive(int fd)
{
	static const struct {
		size_t off, len;
		const char *bytes;
	} magics[] = {
		{ TAR_MAGIC_OFFSET, 5, "ustar" },
		{ 0, 2, "\x1f\x8b" },
		{ 0, 3, "BZh" },
		{ 0, 6,
		  "\xfd"
		  "7zXZ\0" },
		{ 0, 4, "\x28\xb5\x2f\xfd" },
	};
	char head[HEAD_BYTES];
	ssize_t n = pread(fd, head, sizeof(head), 0);
	for (size_t i = 0; n > 0 && i < ARRAY_SIZE(magics); i++)
		if (ck_range(magics[i].off, magics[i].len, (uint64_t)n) &&
		    !memcmp(head + magics[i].off, magics[i].bytes, magics[i].len))
			return true;
	return false;
}

/* ---- a disk ---- */

/* @kind: the format it must have, or NULL. */
static enum exit_status take_disk(struct import *im, const struct import_disk *disk,
				  const char *kind)
{
	struct import_disk d = *disk;
	d.format = disk_format(d.fd);
	if (!d.format) {
		log_error("%s: cannot be read: %s", d.shown, strerror(errno));
		return EXIT_STATUS_FILE;
	}
	if (kind && strcmp(kind, d.format)) {
		log_error("%s: it should be a %s image, and is %s%s", d.shown, kind,
			  strcmp(d.format, "raw") ? "one of format " : "none that is known",
			  strcmp(d.format, "raw") ? d.format : "");
		return EXIT_STATUS_FILE;
	}
	static const char *const known[] = { "raw", "qcow2", "vmdk", "vdi" };
	bool is_known = false;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		is_known |= !strcmp(d.format, known[i]);
	const char *why =
		is_known ? disk_why_not(d.fd, d.format)
			 : "this format is not imported; qemu-img convert -O qcow2 reads it";
	if (why) {
		log_error("%s: a %s image: %s", d.shown, d.format, why);
		return EXIT_STATUS_FILE;
	}
	if (!*im->what)
		snprintf(im->what, sizeof(im->what), "a %s image", d.format);
	return import_disk(&d, im->out, &im->bytes);
}

/* @d of the box: it has no path but that of its descriptor. */
static enum exit_status take_box_disk(struct import *im, const struct box_disk *box_disk,
				      const char *kind)
{
	char path[64], shown[PATH_MAX + BOX_NAME_MAX + 4];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", box_disk->fd);
	snprintf(shown, sizeof(shown), "%s: %s", im->file, box_disk->name);
	const struct import_disk d = { .fd = box_disk->fd, .path = path, .shown = shown };
	return take_disk(im, &d, kind);
}

/* ---- a box, an OVA ---- */

static void take_login(struct import *im, const struct box_archive *box)
{
	char user[LOGIN_USER_MAX + 1];
	bool said = box->vagrantfile && vagrantfile_user(box->vagrantfile, user);
	snprintf(im->login, sizeof(im->login), "%s", im->user ? im->user : said ? user : "vagrant");
	bool own = box->key && login_key_ok(box->key);
	im->key = strdup(own ? box->key : vagrant_private_key());
}

/* Its disk in the archive. -> NULL after one line. */
static const struct box_disk *find_disk(struct import *im, const struct box_archive *box,
					const char *name)
{
	const struct box_disk *d = box_archive_disk(box, name);
	if (!d)
		log_error("%s: its disk should be '%s', and there is no such file in it", im->file,
			  name);
	return d;
}

static enum exit_status take_ovf_disk(struct import *im, const struct box_archive *box)
{
	char name[BOX_NAME_MAX + 1];
	if (!box->ovf) {
		log_error("%s: there is no .ovf in it, which says what its disk is", im->file);
		return EXIT_STATUS_FILE;
	}
	if (!ovf_first_disk(box->ovf, name, &im->more_disks)) {
		log_error("%s: its .ovf names no disk", im->file);
		return EXIT_STATUS_FILE;
	}
	const struct box_disk *d = find_disk(im, box, name);
	return d ? take_box_disk(im, d, NULL) : EXIT_STATUS_FILE;
}

static enum exit_status take_vagrant_box(struct import *im, const struct box_archive *box)
{
	struct box_metadata meta;
	if (box_metadata_parse(box->metadata, im->file, &meta))
		return EXIT_STATUS_FILE;
	take_login(im, box);
	snprintf(im->what, sizeof(im->what), "a Vagrant box for %s",
		 meta.provider == BOX_LIBVIRT ? "libvirt" : "virtualbox");
	if (meta.provider == BOX_VIRTUALBOX)
		return take_ovf_disk(im, box);
	im->more_disks = meta.more_disks;
	const struct box_disk *d = find_disk(im, box, meta.disk);
	return d ? take_box_disk(im, d, "qcow2") : EXIT_STATUS_FILE;
}

/* A box without metadata.json: of old, or made by hand. An .ovf says which disk it is, or there is just one. */
static enum exit_status take_bare_box(struct import *im, const struct box_archive *box)
{
	take_login(im, box);
	snprintf(im->what, sizeof(im->what), "a Vagrant box without metadata.json");
	if (box->ovf)
		return take_ovf_disk(im, box);
	if (box->ndisks == 1)
		return take_box_disk(im, &box->disks[0], NULL);
	log_error("%s: there is no metadata.json in it and no .ovf, which would say which of its "
		  "%u disk "
		  "images is the machine's; unpack it (tar -xf) and import that one",
		  im->file, box->ndisks);
	return EXIT_STATUS_FILE;
}

static enum exit_status take_contents(struct import *im, const struct box_archive *box)
{
	if (box->metadata)
		return take_vagrant_box(im, box);
	if (box->ovf && !is_box_name(im->file)) {
		snprintf(im->what, sizeof(im->what), "an OVA");
		return take_ovf_disk(im, box);
	}
	if (box->ndisks && is_box_name(im->file))
		return take_bare_box(im, box);
	log_error("%s: there is no metadata.json in it%s: this is no Vagrant box%s", im->file,
		  is_box_name(im->file) ? " and no disk image" : " and no .ovf",
		  is_box_name(im->file) ? "" : " and no OVA");
	return EXIT_STATUS_FILE;
}

static enum exit_status take_archive(struct import *im, int fd)
{
	struct box_archive box;
	char dir[PATH_MAX];
	const char *slash = strrchr(im->out, '/');
	int n = snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - im->out) + 1 : 1,
			 slash ? im->out : ".");
	if (n < 0 || n >= (int)sizeof(dir)) {
		log_error("%s: the path is too long", im->out);
		return EXIT_STATUS_FILE;
	}
	int err = box_archive_read(&box, fd, im->file, dir);
	enum exit_status status = err == -ENOPKG ? EXIT_STATUS_FAILED
				  : err		 ? EXIT_STATUS_FILE
						 : take_contents(im, &box);
	box_archive_free(&box);
	return status;
}

/* ---- the whole ---- */

/* -> a file descriptor, or -1 after one line. */
static int open_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		log_error("%s: cannot be opened: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		log_error("%s: this is no file: name a box, an OVA or a disk image", path);
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

enum exit_status import_run(struct import *im)
{
	if (im->user)
		snprintf(im->login, sizeof(im->login), "%s", im->user);
	int fd = open_file(im->file);
	if (fd < 0)
		return EXIT_STATUS_FILE;
	const char *kind = kind_by_name(im->file);
	bool archive = kind ? !strcmp(kind, "archive") : looks_like_archive(fd);
	const struct import_disk d = { .fd = fd, .path = im->file, .shown = im->file };
	enum exit_status status = archive ? take_archive(im, fd) : take_disk(im, &d, kind);
	close(fd);
	return status;
}

void import_free(struct import *im)
{
	free(im->key);
	im->key = NULL;
}
