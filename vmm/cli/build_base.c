/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is made from: FROM. */
/*
 * In this order: an image file, by its path from the Charmfile's directory, with or without .qcow2; the same from where the
 * command runs, for images that were built there; a base of the guest kit, such as debian:12, which is made with the packages
 * of the PACKAGES directly behind FROM; a recipe of the guest kit. What is made is kept.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/probe.h"
#include "vmm/base/log.h"
#include "vmm/cli/build.h"
#include "vmm/cli/guest_kit.h"

enum { HEAD_BYTES = 512 };

/* ---- files ---- */

/* @dir/@name, or that with .qcow2 behind it. */
static bool find_file(struct build *b, const char *dir, const char *name)
{
	static const char *const ends[] = { "", ".qcow2" };
	for (int i = 0; i < 2; i++) {
		char path[PATH_MAX];
		struct stat st;
		int n = snprintf(path, sizeof(path), "%s%s%s%s", *name == '/' ? "" : dir,
				 *name == '/' ? "" : "/", name, ends[i]);
		if (n < (int)sizeof(path) && !stat(path, &st) && S_ISREG(st.st_mode) &&
		    realpath(path, b->base))
			return true;
	}
	return false;
}

static enum exit_status probe(struct build *b, const char *at)
{
	uint8_t head[HEAD_BYTES];
	int fd = open(b->base, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
	if (n < 0)
		log_error("%s: %s: %s", at, b->base, strerror(errno));
	else if (!n)
		log_error("%s: %s: the file is empty: not an image", at, b->base);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return EXIT_STATUS_FILE;
	const char *format = probe_format(head, (size_t)n);
	b->base_format = !format ? "raw" : !strcmp(format, "qcow2") ? "qcow2" : NULL;
	if (b->base_format)
		return EXIT_STATUS_OK;
	log_error("%s: %s is a %s image; convert it: qemu-img convert -O qcow2", at, b->base,
		  format);
	return EXIT_STATUS_FILE;
}

/* ---- the guest kit ---- */

static enum exit_status find_in_kit(struct build *b, const char *at, const char *from)
{
	char path[PATH_MAX];
	bool kit = guest_kit_find(b->kit);
	if (kit && guest_kit_has_base(b->kit, from)) {
		b->from = BUILD_FROM_BASE;
		while (b->in_base + 1 < b->cf.nsteps &&
		       b->cf.steps[b->in_base + 1].word == CHARMFILE_PACKAGES)
			b->in_base++;
		return EXIT_STATUS_OK;
	}
	b->from = BUILD_FROM_RECIPE;
	if (kit && guest_kit_recipe(b->kit, from, path) && !b->recipe)
		return EXIT_STATUS_OK;
	if (kit && b->recipe)
		log_error("%s: a recipe of the guest kit begins with one of its bases (debian:12 "
			  "is one)",
			  at);
	else
		log_error("%s: no such image file, beside the Charmfile or here, with or without "
			  ".qcow2%s",
			  at,
			  kit ? "; and no base or recipe of the guest kit (debian:12 and "
				"charmed311 are)"
			      : "; and the guest kit, which has recipes, is not found: "
				"set CHARMVM_GUEST_KIT");
	return EXIT_STATUS_FILE;
}

/* "FILE:1: FROM debian:12", for messages. */
static void say_where(const struct build *b, char at[PATH_MAX + 128])
{
	const struct charmfile_step *s = &b->cf.steps[0];
	snprintf(at, PATH_MAX + 128, "%s:%u: FROM %.80s", s->path, s->line, s->operands[0]);
}

enum exit_status build_find_base(struct build *b)
{
	const char *from = b->cf.steps[0].operands[0];
	char at[PATH_MAX + 128];
	say_where(b, at);
	if (!b->recipe && (find_file(b, b->context, from) || find_file(b, ".", from)))
		return EXIT_STATUS_OK;
	return find_in_kit(b, at, from);
}

/* What is left as it is made has the name that the image is to have; what goes on from it, the base's own. */
static bool make_kit_base(struct build *b)
{
	char name[CONFIG_NAME_MAX + 1];
	snprintf(name, sizeof(name), "%s",
		 plan_is_empty(&b->plan) ? b->name : b->cf.steps[0].operands[0]);
	for (char *p = name; *p; p++) /* it becomes a host name */
		if (!isalnum((unsigned char)*p) && *p != '.')
			*p = '-';
	return build_kit_make_base(b, name);
}

enum exit_status build_make_base(struct build *b)
{
	char at[PATH_MAX + 128];
	bool made = true;
	say_where(b, at);
	if (b->from == BUILD_FROM_RECIPE)
		made = guest_kit_make(b->cf.steps[0].operands[0], b->base);
	else if (b->from == BUILD_FROM_BASE)
		made = make_kit_base(b);
	if (made)
		return probe(b, at);
	log_error("%s: the base could not be made; why is said above", at);
	return EXIT_STATUS_FAILED;
}
