/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice that a grub.cfg makes.
 *
 * How it works: the script is run once. Its menuentry and submenu commands only collect entries
 * with their bodies, as blscfg does. Then $default picks one: a number, an identifier or a title,
 * with '>' between the levels of submenus. The body of a submenu is run to collect the next level,
 * that of an entry to see which files its linux and initrd commands name.
 */
#include "firmware/grub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/grub_priv.h"
#include "vmm/base/checked.h"

enum { SUBMENU_LEVELS_MAX = 8 };

static void menu_clear(struct grub *g)
{
	g->menu = (struct grub_menu){ .first = NULL };
	g->menu.tail = &g->menu.first;
}

/* What a script may expect of a GRUB on a PC BIOS that was loaded from @dir on @dev. */
static void set_environment(struct grub *g, const char *dev, const char *dir)
{
	static const char *const yes[] = { "feature_menuentry_id",  "feature_platform_search_hint",
					   "feature_timeout_style", "feature_default_font_path",
					   "feature_200_final",	    "feature_all_video_module",
					   "feature_ntldr_module",  "feature_nativedisk_cmd" };
	char prefix[GRUB_DEV_CHARS + GRUB_PATH_CHARS];
	snprintf(prefix, sizeof(prefix), "(%s)%s", dev, dir);
	grub_set(g, "root", dev);
	grub_set(g, "prefix", prefix);
	grub_set(g, "config_directory", prefix);
	grub_set(g, "grub_platform", "pc");
	grub_set(g, "grub_cpu", "i386");
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		grub_set(g, yes[i], "y");
}

/* The next level of "A>B>C", where ">>" stands for one '>' of a title; *spec moves behind it. */
static const char *next_level(struct grub *g, const char **spec)
{
	const char *s = *spec;
	char *level = arena_alloc(&g->arena, strlen(s) + 1);
	size_t n = 0;
	if (!level)
		return "";
	while (*s && (*s != '>' || s[1] == '>')) {
		s += *s == '>';
		level[n++] = *s++;
	}
	*spec = *s ? s + 1 : s;
	return level;
}

/* By identifier or title, else by number, else the first; NULL in an empty menu. */
static const struct grub_entry *pick(const struct grub_menu *m, const char *level)
{
	for (const struct grub_entry *e = *level ? m->first : NULL; e; e = e->next)
		if (!strcmp(e->id, level) || !strcmp(e->title, level))
			return e;
	const struct grub_entry *e = m->first;
	char *end;
	unsigned long i = strtoul(level, &end, 10);
	if (end == level || *end)
		return e;
	for (; i && e; i--)
		e = e->next;
	return e ? e : m->first;
}

static void set_path(struct grub *g, struct grub_file *f, const char *dev, const char *path)
{
	char full[GRUB_PATH_CHARS];
	path = grub_expand_text(g, path);
	/* Paths of entries are relative to their partition, with or without a slash. */
	if (snprintf(full, sizeof(full), "%s%s", *path == '/' ? "" : "/", path) >=
	    (int)sizeof(full))
		grub_fail(g, -E2BIG);
	snprintf(f->dev, sizeof(f->dev), "%s", dev);
	snprintf(f->path, sizeof(f->path), "%s", full);
}

static void choose_bls(struct grub *g, const struct bls_entry *b)
{
	struct grub_choice *c = g->choice;
	const char *dev = grub_get(g, "root");
	set_path(g, &c->kernel, dev, b->linux_path);
	for (unsigned int i = 0; i < b->ninitrds; i++) {
		/* A variable such as Fedora's $tuned_initrd may leave nothing. */
		if (*grub_expand_text(g, b->initrds[i]))
			set_path(g, &c->initrds[c->ninitrds++], dev, b->initrds[i]);
	}
	if (snprintf(c->args, sizeof(c->args), "%s", grub_expand_text(g, b->options)) >=
	    (int)sizeof(c->args))
		grub_fail(g, -E2BIG);
}

static void choose_entry(struct grub *g)
{
	const char *spec = grub_get(g, "default");
	const struct grub_entry *e = NULL;
	for (int level = 0; level < SUBMENU_LEVELS_MAX && !g->err; level++) {
		e = pick(&g->menu, next_level(g, &spec));
		if (!e || !e->submenu)
			break;
		menu_clear(g);
		grub_run(g, &e->body);
	}
	if (!e || e->submenu || g->err)
		return;
	snprintf(g->choice->title, sizeof(g->choice->title), "%s", e->title);
	if (e->bls)
		choose_bls(g, e->bls);
	else
		grub_run(g, &e->body);
}

static int finish(struct grub *g)
{
	int err = g->err;
	if (!err && g->arena.failed)
		err = -E2BIG;
	if (!err && !*g->choice->kernel.path)
		err = -ENOENT;
	arena_clear(&g->arena);
	return err;
}

static void start(struct grub *g, const struct grub_ops *ops, void *opaque, struct grub_choice *out)
{
	*g = (struct grub){ .ops = ops, .opaque = opaque, .choice = out };
	*out = (struct grub_choice){ .ninitrds = 0 };
	arena_init(&g->arena, GRUB_ARENA_BYTES);
	menu_clear(g);
}

int grub_choose(const struct grub_ops *ops, void *opaque, const char *dev, const char *dir,
		struct grub_choice *out)
{
	struct grub g;
	start(&g, ops, opaque, out);
	set_environment(&g, dev, dir);
	char path[GRUB_DEV_CHARS + GRUB_PATH_CHARS];
	snprintf(path, sizeof(path), "(%s)%s/grub.cfg", dev, dir);
	int err = grub_source(&g, path);
	if (err)
		grub_fail(&g, err);
	/* A script without a menu may say what to boot at once. */
	if (g.menu.n) {
		*out = (struct grub_choice){ .ninitrds = 0 };
		choose_entry(&g);
	}
	return finish(&g);
}

int grub_choose_bls(const struct grub_ops *ops, void *opaque, const char *dev, const char *dir,
		    struct grub_choice *out)
{
	struct grub g;
	struct bls_entry *entries;
	start(&g, ops, opaque, out);
	grub_set(&g, "root", dev);
	int n = bls_read_dir(ops, opaque, dev, dir, &g.arena, &entries);
	if (n > 0) {
		snprintf(out->title, sizeof(out->title), "%s", entries[0].title);
		choose_bls(&g, &entries[0]);
	}
	return finish(&g);
}
