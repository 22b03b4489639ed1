/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image packages: what an image was made of. */
/*
 * How it works. guest-kit writes the list into the image when it builds it: a line for each package, with tabs between name,
 * version and licences. The first ext2/3/4 file system that has the file is the one. The image is hostile: the list is
 * bounded, a line that is not of that form is an error, and control characters do not reach the terminal.
 */
#include "tools/image/verbs.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/extfs.h"
#include "firmware/partition.h"
#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

enum { LIST_BYTES_MAX = 4 << 20, FIELDS = 3 };

static const char list_path[] = "/usr/share/charmvm/packages";

struct packages {
	struct image_words words;
	const char *format;
	bool json, share;
	json_t *list; /* with json */
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct packages *)cfg)->format = value;
	return 0;
}

static int set_json(void *cfg, const char *value)
{
	(void)value;
	((struct packages *)cfg)->json = true;
	return 0;
}

static int set_share(void *cfg, const char *value)
{
	(void)value;
	((struct packages *)cfg)->share = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct packages *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "format", 'f', "FORMAT", "of the image", set_format },
	{ "json", 0, NULL, "tell it as JSON", set_json },
	{ "force-share", 'U', NULL, "though the image is in use", set_share },
};

static const struct command_spec command = {
	.usage = "charmvm image packages [OPTION...] FILE",
	.about = "Lists the packages that an image of guest-kit was made of: name, version, "
		 "licences, "
		 "with\ntabs between. What was installed later is not in it.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- the list ---- */

/* Cuts @line at its tabs. -> whether it has the form. */
static bool split(char *line, char *field[FIELDS])
{
	for (int i = 0; i < FIELDS; i++) {
		field[i] = line;
		line = line ? strchr(line, '\t') : NULL;
		if (line)
			*line++ = '\0';
	}
	return !line && field[FIELDS - 1] && *field[0];
}

static bool is_plain(const char *line)
{
	for (; *line; line++)
		if (((unsigned char)*line < 0x20 && *line != '\t') || *line == 0x7f)
			return false;
	return true;
}

static int tell(struct packages *p, char *line)
{
	char *f[FIELDS];
	if (!is_plain(line) || !split(line, f))
		return -EINVAL;
	if (!p->json) {
		printf("%s\t%s\t%s\n", f[0], f[1], f[2]);
		return 0;
	}
	json_t *o = json_pack("{s:s, s:s, s:s}", "name", f[0], "version", f[1], "licences", f[2]);
	return json_array_append_new(p->list, o) ? -EINVAL : 0; /* also: it is no UTF-8 */
}

static int tell_all(struct packages *p, char *text, size_t len)
{
	int err = strlen(text) == len ? 0 : -EINVAL;
	for (char *line = text, *end; !err && *line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = '\0';
		err = tell(p, line);
	}
	return err;
}

/* ---- the image ---- */

/* -> 0, -ENOENT (no such file system, or no list in it) or -errno. */
static int read_from(struct packages *p, struct blk_node *n, const struct partition *part)
{
	struct extfs *fs = NULL;
	char *text = NULL;
	size_t len;
	int err = extfs_open(n, part->off, part->len, &fs);
	if (err)
		return err == -ENODEV ? -ENOENT : err;
	err = extfs_read_text(fs, list_path, LIST_BYTES_MAX, &text, &len);
	if (!err)
		err = tell_all(p, text, len);
	free(text);
	extfs_close(fs);
	return err;
}

static int find(struct packages *p, struct blk_node *n)
{
	struct partition_table table;
	int err = partition_scan(n, &table);
	if (err == -EINVAL)
		return err; /* that was told */
	int found = err ? err : -ENOENT;
	for (unsigned int i = 0; i < table.n && found == -ENOENT; i++)
		found = read_from(p, n, &table.parts[i]);
	if (found == -ENOENT)
		log_error("%s: there is no list of packages in it (%s): guest-kit has not made it",
			  blk_name(n), list_path);
	else if (found)
		log_error("%s: its list of packages cannot be read: %s", blk_name(n),
			  found == -EINVAL ? "it is damaged" : strerror(-found));
	return found;
}

int image_packages(int argc, char **argv)
{
	struct packages p = { .list = NULL };
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	int status;
	if (image_parse(&command, &p, &p.words, 1, argc, argv, 1, &status))
		return status;
	p.list = json_array();
	int err =
		image_open(&loop, p.words.v[0], p.format, p.share ? BLK_OPEN_NO_LOCK : 0, NULL, &n);
	if (!err)
		err = find(&p, n);
	err = image_close(loop, n, err);
	if (!err && p.json) {
		json_dumpf(p.list, stdout, JSON_INDENT(4));
		putchar('\n');
	}
	json_decref(p.list);
	return err ? 1 : 0;
}
