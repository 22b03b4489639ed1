/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is made from: FROM. */
/*
 * In this order: an image file, by its path from the Charmfile's directory, with or without .qcow2; the same from where the
 * command runs, for images that were built there; a recipe of the guest kit by its name, or by DISTRIBUTION:VERSION, which
 * guest-kit/demo-image builds once and keeps.
 */
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

/* "debian:12" is the recipe debian-12. -> false: it cannot be one's name. */
static bool recipe_name(const char *from, char out[64])
{
	size_t n = strspn(from, "abcdefghijklmnopqrstuvwxyz0123456789.:-");
	if (!n || from[n] || n >= 64 || *from == '.' || *from == '-')
		return false;
	snprintf(out, 64, "%s", from);
	for (char *p = out; *p; p++)
		if (*p == ':')
			*p = '-';
	return true;
}

static enum exit_status find_recipe(struct build *b, const char *at, const char *from)
{
	char kit[PATH_MAX], recipe[64];
	bool named = recipe_name(from, recipe);
	if (!named || !guest_kit_find(kit) || !guest_kit_has(kit, recipe)) {
		log_error("%s: no such image file, beside the Charmfile or here, with or without "
			  ".qcow2%s",
			  at,
			  !named ? ""
			  : !guest_kit_find(kit)
				  ? "; and the guest kit, which has recipes, is not found: "
				    "set CHARMVM_GUEST_KIT"
				  : "; and no recipe of the guest kit (debian:12 is one)");
		return EXIT_STATUS_FILE;
	}
	if (guest_kit_make(kit, recipe, b->base))
		return EXIT_STATUS_OK;
	log_error("%s: the base could not be made; %s/demo-image %s has said why", at, kit, recipe);
	return EXIT_STATUS_FAILED;
}

enum exit_status build_find_base(struct build *b)
{
	const struct charmfile_step *s = &b->cf.steps[0];
	const char *from = s->operands[0];
	char at[PATH_MAX + 128];
	snprintf(at, sizeof(at), "%s:%u: FROM %.80s", b->file, s->line, from);
	enum exit_status status = EXIT_STATUS_OK;
	if (!find_file(b, b->context, from) && !find_file(b, ".", from))
		status = find_recipe(b, at, from);
	return status ? status : probe(b, at);
}
