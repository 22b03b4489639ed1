/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing and reading the kernel of an image.
 *
 * How it works: each way of finding a kernel (the table "ways") gives a struct grub_choice, tried
 * on each file system in turn; the first whose files can be read is taken. A way that fails is no
 * error, only the sum of all is. Then the command line is made to fit this machine: root=,
 * console=, quiet, what the user appends.
 */
#include "firmware/image_boot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "devices/block/block.h"
#include "firmware/cmdline.h"
#include "firmware/image_fs.h"
#include "firmware/image_kernel.h"
#include "firmware/image_root.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

enum { CPIO_ALIGN = 4 }; /* initrds that follow each other start at such an offset */

struct search {
	struct image_fs im;
	struct grub_choice choice;
	unsigned int fs; /* where the kernel is */
	char found_by[GRUB_PATH_CHARS];
	int err; /* of the last kernel that was named but could not be read */
};

static int by_grub(struct search *s, unsigned int i)
{
	static const char *const dirs[] = { "/boot/grub", "/boot/grub2", "/grub", "/grub2" };
	char dev[GRUB_DEV_CHARS];
	image_fs_grub_dev(&s->im, i, dev);
	for (size_t k = 0; k < ARRAY_SIZE(dirs); k++) {
		int err = grub_choose(&image_fs_grub_ops, &s->im, dev, dirs[k], &s->choice);
		snprintf(s->found_by, sizeof(s->found_by), "%s/grub.cfg", dirs[k]);
		if (!err)
			return 0;
		if (extfs_is_file(s->im.fss[i].fs, s->found_by, true))
			log_warn("%s: %s is not followed: %s", blk_name(s->im.disk), s->found_by,
				 err == -ENOENT ? "its default entry boots no Linux"
						: strerror(-err));
	}
	return -ENOENT;
}

static int by_entries(struct search *s, unsigned int i)
{
	static const char *const dirs[] = { "/boot/loader/entries", "/loader/entries" };
	char dev[GRUB_DEV_CHARS];
	image_fs_grub_dev(&s->im, i, dev);
	for (size_t k = 0; k < ARRAY_SIZE(dirs); k++) {
		snprintf(s->found_by, sizeof(s->found_by), "%s", dirs[k]);
		if (!grub_choose_bls(&image_fs_grub_ops, &s->im, dev, dirs[k], &s->choice))
			return 0;
	}
	return -ENOENT;
}

/* A choice without a boot loader: files of file system @i. */
static void choose_files(struct search *s, unsigned int i, const char *initrd)
{
	struct grub_choice *c = &s->choice;
	image_fs_grub_dev(&s->im, i, c->kernel.dev);
	c->ninitrds = *initrd != '\0';
	c->initrds[0] = (struct grub_file){ .dev = "" };
	snprintf(c->initrds[0].dev, sizeof(c->initrds[0].dev), "%s", c->kernel.dev);
	snprintf(c->initrds[0].path, sizeof(c->initrds[0].path), "%s", initrd);
	snprintf(c->args, sizeof(c->args), "ro");
	c->title[0] = '\0';
}

static int by_version(struct search *s, unsigned int i)
{
	static const char *const dirs[] = { "/boot", "" };
	char initrd[GRUB_PATH_CHARS];
	for (size_t k = 0; k < ARRAY_SIZE(dirs); k++) {
		if (!image_kernel_newest(s->im.fss[i].fs, dirs[k], s->choice.kernel.path, initrd))
			continue;
		choose_files(s, i, initrd);
		snprintf(s->found_by, sizeof(s->found_by), "the newest version");
		return 0;
	}
	return -ENOENT;
}

static int by_symlink(struct search *s, unsigned int i)
{
	static const struct {
		const char *kernel, *initrd;
	} names[] = { { "/vmlinuz", "/initrd.img" }, { "/boot/vmlinuz", "/boot/initrd.img" } };
	struct extfs *fs = s->im.fss[i].fs;
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		if (!extfs_is_file(fs, names[k].kernel, true))
			continue;
		snprintf(s->choice.kernel.path, sizeof(s->choice.kernel.path), "%s",
			 names[k].kernel);
		choose_files(s, i, extfs_is_file(fs, names[k].initrd, true) ? names[k].initrd : "");
		snprintf(s->found_by, sizeof(s->found_by), "its name");
		return 0;
	}
	return -ENOENT;
}

static int (*const ways[])(struct search *s, unsigned int i) = { by_grub, by_entries, by_version,
								 by_symlink };

static int read_file(struct search *s, const struct grub_file *f, struct blob *out)
{
	int i = image_fs_by_grub_dev(&s->im, f->dev);
	int err = i < 0 ? -ENOENT : extfs_read_file(s->im.fss[i].fs, f->path, BLOB_BYTES_MAX, out);
	if (err)
		log_warn("%s: %s cannot be read from the image: %s", blk_name(s->im.disk), f->path,
			 strerror(-err));
	return err;
}

/* Several initrds become one, each at a multiple of CPIO_ALIGN. @parts are freed. */
static int join(struct blob *parts, unsigned int n, struct blob *out)
{
	size_t sum = 0;
	for (unsigned int i = 0; i < n; i++)
		sum += align_up(parts[i].len_bytes, CPIO_ALIGN);
	int err = blob_alloc(out, sum);
	size_t off = 0;
	for (unsigned int i = 0; i < n; i++) {
		if (!err)
			memcpy(out->data + off, parts[i].data, parts[i].len_bytes);
		off += align_up(parts[i].len_bytes, CPIO_ALIGN);
		blob_free(&parts[i]);
	}
	return err;
}

static int read_initrds(struct search *s, struct blob *out)
{
	struct blob parts[GRUB_INITRDS_MAX] = { { .data = NULL } };
	const struct grub_choice *c = &s->choice;
	*out = (struct blob){ .data = NULL };
	int err = 0;
	for (unsigned int i = 0; !err && i < c->ninitrds; i++)
		err = read_file(s, &c->initrds[i], &parts[i]);
	if (!err && c->ninitrds > 1)
		return join(parts, c->ninitrds, out);
	if (!err)
		*out = parts[0];
	else
		for (unsigned int i = 0; i < c->ninitrds; i++)
			blob_free(&parts[i]);
	return err;
}

/* The files of the choice. -> 0, or why they cannot be had, with nothing held. */
static int read_choice(struct search *s, struct image_boot *out)
{
	int i = image_fs_by_grub_dev(&s->im, s->choice.kernel.dev);
	int err = read_file(s, &s->choice.kernel, &out->kernel);
	if (err)
		return err;
	s->fs = (unsigned int)i;
	err = read_initrds(s, &out->initrd);
	if (err)
		blob_free(&out->kernel);
	return err;
}

static int find(struct search *s, struct image_boot *out)
{
	for (size_t w = 0; w < ARRAY_SIZE(ways); w++) {
		for (unsigned int i = 0; i < s->im.n; i++) {
			if (ways[w](s, i))
				continue;
			int err = read_choice(s, out);
			if (!err)
				return 0;
			s->err = err;
		}
	}
	return s->err ? s->err : -ENOENT;
}

static void append(char *buf, size_t cap, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void append(char *buf, size_t cap, const char *fmt, ...)
{
	size_t len = strlen(buf);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(buf + len, cap - len, fmt, ap);
	va_end(ap);
}

/* "partition 1 (ext4, UUID …)" */
static void append_place(char *buf, size_t cap, const struct search *s, unsigned int i)
{
	const struct extfs *fs = s->im.fss[i].fs;
	if (s->im.table.scheme == PARTITION_NONE)
		append(buf, cap, "the whole disk");
	else
		append(buf, cap, "%s partition %u", partition_scheme_name(s->im.table.scheme),
		       s->im.fss[i].part->number);
	append(buf, cap, " (%s, UUID %s%s)", extfs_type(fs), extfs_uuid(fs),
	       extfs_needs_recovery(fs) ? ", journal not replayed" : "");
}

static void describe(const struct search *s, struct image_boot *out)
{
	const struct grub_choice *c = &s->choice;
	char *d = out->description;
	size_t cap = sizeof(out->description);
	snprintf(out->kernel_name, sizeof(out->kernel_name), "%s of %s", c->kernel.path,
		 blk_name(s->im.disk));
	snprintf(d, cap, "kernel %s from ", c->kernel.path);
	append_place(d, cap, s, s->fs);
	for (unsigned int i = 0; i < c->ninitrds; i++)
		append(d, cap, "%s%s", i ? " + " : ", initrd ", c->initrds[i].path);
	append(d, cap, ", chosen by %s", s->found_by);
	if (*c->title)
		append(d, cap, ": %s", c->title);
	if (s->im.table.from_backup)
		append(d, cap, "; the GPT's main copy is damaged, its backup was used");
}

/* No kernel: says what there was to look at. */
static void complain(const struct search *s, int err)
{
	char where[512] = "";
	for (unsigned int i = 0; i < s->im.n; i++) {
		append(where, sizeof(where), "%s", i ? ", " : " on ");
		append_place(where, sizeof(where), s, i);
	}
	if (err != -ENOENT)
		log_error("%s: the kernel inside cannot be read: %s; name one with --kernel",
			  blk_name(s->im.disk), strerror(-err));
	else if (s->im.n)
		log_error("%s: no kernel inside: no grub.cfg, loader/entries or vmlinuz-* in /boot "
			  "or "
			  "/%s; name one with --kernel",
			  blk_name(s->im.disk), where);
	else
		log_error("%s: no kernel inside: no ext2/3/4 file system in it (%s, %u "
			  "partitions); name "
			  "one with --kernel",
			  blk_name(s->im.disk), partition_scheme_name(s->im.table.scheme),
			  s->im.table.scheme == PARTITION_NONE ? 0 : s->im.table.n);
}

static void set_console(struct cmdline *c, const char *console)
{
	char value[64], word[80];
	size_t len = strlen(console);
	/* The last one is /dev/console. It may be there already, with a speed behind a comma. */
	if (cmdline_get(c, "console", value, sizeof(value)) && !strncmp(value, console, len) &&
	    (!value[len] || value[len] == ','))
		return;
	snprintf(word, sizeof(word), "console=%s", console);
	cmdline_add(c, word);
}

static int make_cmdline(struct search *s, const struct image_boot_config *cfg,
			struct image_boot *out)
{
	struct cmdline c = { .too_long = false };
	cmdline_add(&c, s->choice.args);
	image_root_fix(&s->im, s->fs, out->initrd.data != NULL, &c);
	if (cfg->quiet != IMAGE_BOOT_QUIET_AS_IS)
		cmdline_remove(&c, "quiet", false);
	if (cfg->quiet == IMAGE_BOOT_QUIET_ON)
		cmdline_add(&c, "quiet");
	if (cfg->console)
		set_console(&c, cfg->console);
	if (cfg->append)
		cmdline_add(&c, cfg->append);
	memcpy(out->cmdline, c.text, sizeof(out->cmdline));
	if (!c.too_long)
		return 0;
	log_error("%s: its command line and --append together are longer than %d characters",
		  blk_name(s->im.disk), BOOT_CMDLINE_MAX);
	return -E2BIG;
}

/* The folder is looked for first: it is in a short one, and most images do not have it. */
static bool has_cloud_init(const struct image_fs *im)
{
	for (unsigned int i = 0; i < im->n; i++) {
		struct extfs *fs = im->fss[i].fs;
		if (extfs_is_dir(fs, "/etc/cloud") &&
		    extfs_is_file(fs, "/usr/bin/cloud-init", true))
			return !extfs_is_file(fs, "/etc/cloud/cloud-init.disabled", false);
	}
	return false;
}

bool image_boot_has_cloud_init(struct blk_node *disk)
{
	struct image_fs im;
	if (image_fs_open(&im, disk, true))
		return false;
	bool has = has_cloud_init(&im);
	image_fs_close(&im);
	return has;
}

int image_boot_find(struct blk_node *disk, const struct image_boot_config *cfg,
		    struct image_boot *out)
{
	struct search s = { .err = 0 };
	*out = (struct image_boot){ .cmdline = "" };
	int err = image_fs_open(&s.im, disk, false);
	if (err)
		return err;
	err = find(&s, out);
	if (err && (err != -ENOENT || !cfg->none_is_fine))
		complain(&s, err);
	if (!err)
		err = make_cmdline(&s, cfg, out);
	if (!err) {
		describe(&s, out);
		out->cloud_init = has_cloud_init(&s.im);
	} else {
		image_boot_release(out);
	}
	image_fs_close(&s.im);
	return err;
}

void image_boot_release(struct image_boot *b)
{
	blob_free(&b->kernel);
	blob_free(&b->initrd);
}
