/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile boot loader files. The input, cut at bytes 0xff, is a grub.cfg, a grubenv and a loader entry; the disk has
 * nothing else. Every run ends, and what is chosen are strings.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/grub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct disk {
	char *parts[3];
};

static const char *const paths[3] = { "/boot/grub/grub.cfg", "/boot/grub/grubenv",
				      "/loader/entries/e.conf" };

static const char *find(const struct disk *d, const char *dev, const char *path)
{
	for (int i = 0; i < 3 && !strcmp(dev, "hd0,gpt1"); i++)
		if (!strcmp(path, paths[i]))
			return d->parts[i];
	return NULL;
}

static int read_cb(void *opaque, const char *dev, const char *path, char **text, size_t *len)
{
	const char *s = find(opaque, dev, path);
	if (!s)
		return -ENOENT;
	*text = strdup(s);
	*len = strlen(s);
	return 0;
}

static bool is_file_cb(void *opaque, const char *dev, const char *path, bool nonempty)
{
	const char *s = find(opaque, dev, path);
	return s && (!nonempty || *s);
}

static bool is_dir_cb(void *opaque, const char *dev, const char *path)
{
	(void)opaque;
	return !strcmp(dev, "hd0,gpt1") && !strcmp(path, "/loader/entries");
}

static int list_cb(void *opaque, const char *dev, const char *path,
		   void (*each)(void *arg, const char *name), void *arg)
{
	if (!is_dir_cb(opaque, dev, path))
		return -ENOENT;
	each(arg, "e.conf");
	return 0;
}

static bool search_cb(void *opaque, enum grub_search by, const char *what, char dev[GRUB_DEV_CHARS])
{
	(void)opaque, (void)by;
	strcpy(dev, "hd0,gpt1");
	return strchr(what, 'u');
}

static void check(const struct grub_choice *c)
{
	if (c->ninitrds > GRUB_INITRDS_MAX || c->kernel.path[0] != '/')
		abort();
	for (unsigned int i = 0; i < c->ninitrds; i++)
		if (c->initrds[i].path[0] != '/')
			abort();
	if (strlen(c->args) >= sizeof(c->args))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct grub_ops ops = { read_cb, is_file_cb, is_dir_cb, list_cb, search_cb };
	static struct grub_choice c;
	struct disk d;
	for (int i = 0; i < 3; i++) {
		const uint8_t *cut = len ? memchr(data, 0xff, len) : NULL;
		size_t n = cut ? (size_t)(cut - data) : len;
		d.parts[i] = strndup((const char *)data, n);
		data += n + (cut != NULL);
		len -= n + (cut != NULL);
	}
	if (!grub_choose(&ops, &d, "hd0,gpt1", "/boot/grub", &c))
		check(&c);
	if (!grub_choose_bls(&ops, &d, "hd0,gpt1", "/loader/entries", &c))
		check(&c);
	for (int i = 0; i < 3; i++)
		free(d.parts[i]);
	return 0;
}
