/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels by their names: vmlinuz-VERSION with initrd.img-VERSION (Debian), initramfs-VERSION.img
 * (Fedora, Arch), initrd-VERSION (SUSE) or initramfs-VERSION (Alpine). What a package manager or a
 * user put aside is no kernel.
 */
#include "firmware/image_kernel.h"

#include <stdio.h>
#include <string.h>

#include "firmware/extfs.h"
#include "firmware/version.h"
#include "vmm/base/checked.h"

enum { VERSION_CHARS = 256 };

struct newest {
	char version[VERSION_CHARS];
	bool found;
};

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && !strcmp(s + n - m, end);
}

static bool put_aside(const char *version)
{
	static const char *const ends[] = { ".old", ".bak", ".efi.signed", "~" };
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (ends_with(version, ends[i]))
			return true;
	return strstr(version, ".dpkg-") || strstr(version, "rescue");
}

static void each_name_cb(void *opaque, const char *name)
{
	static const char prefix[] = "vmlinuz-";
	struct newest *w = opaque;
	const char *version = name + strlen(prefix);
	if (strncmp(name, prefix, strlen(prefix)) || !*version ||
	    strlen(version) >= sizeof(w->version) || put_aside(version))
		return;
	if (w->found && version_cmp_debian(version, w->version) <= 0)
		return;
	strcpy(w->version, version);
	w->found = true;
}

static void find_initrd(struct extfs *fs, const char *dir, const char *version,
			char initrd[GRUB_PATH_CHARS])
{
	static const struct {
		const char *before, *after;
	} names[] = { { "initrd.img-", "" },
		      { "initramfs-", ".img" },
		      { "initrd-", "" },
		      { "initramfs-", "" },
		      { "initrd-", ".img" } };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int n = snprintf(initrd, GRUB_PATH_CHARS, "%s/%s%s%s", dir, names[i].before,
				 version, names[i].after);
		if (n < GRUB_PATH_CHARS && extfs_is_file(fs, initrd, true))
			return;
	}
	*initrd = '\0';
}

bool image_kernel_newest(struct extfs *fs, const char *dir, char kernel[GRUB_PATH_CHARS],
			 char initrd[GRUB_PATH_CHARS])
{
	struct newest w = { .found = false };
	if (extfs_list(fs, *dir ? dir : "/", each_name_cb, &w) || !w.found)
		return false;
	snprintf(kernel, GRUB_PATH_CHARS, "%s/vmlinuz-%s", dir, w.version);
	find_initrd(fs, dir, w.version, initrd);
	return true;
}
