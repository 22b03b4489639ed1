/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands that matter for what is booted. All others (insmod, terminal_output, loadfont, …) do
 * nothing and succeed; those that ask for something that is not there (a key held down) fail.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/grub_priv.h"
#include "vmm/base/checked.h"

static void copy(struct grub *g, char *to, size_t cap, const char *from)
{
	if (snprintf(to, cap, "%s", from) >= (int)cap)
		grub_fail(g, -E2BIG);
}

bool grub_file_of(const struct grub *g, const char *name, struct grub_file *out)
{
	const char *dev = grub_get(g, "root"), *path = name;
	size_t dev_len = strlen(dev);
	if (*name == '(') {
		dev = name + 1;
		dev_len = strcspn(dev, ")");
		path = dev + dev_len + (dev[dev_len] == ')');
	}
	if (*path != '/' || dev_len >= sizeof(out->dev) || strlen(path) >= sizeof(out->path))
		return false;
	memcpy(out->dev, dev, dev_len);
	out->dev[dev_len] = '\0';
	strcpy(out->path, path);
	return true;
}

/* "name=value"; -> false when it is not of this form. */
static bool assign(struct grub *g, const char *word)
{
	size_t n = strcspn(word, "=");
	if (word[n] != '=' || !grub_is_name(word, n))
		return false;
	grub_set(g, arena_strndup(&g->arena, word, n), word + n + 1);
	return true;
}

static void cmd_set(struct grub *g, const struct grub_args *a)
{
	for (int i = 1; i < a->argc; i++)
		assign(g, a->argv[i]);
}

static void cmd_unset(struct grub *g, const struct grub_args *a)
{
	for (int i = 1; i < a->argc; i++)
		if (*grub_get(g, a->argv[i]))
			grub_set(g, a->argv[i], "");
}

static void cmd_test(struct grub *g, const struct grub_args *a)
{
	int argc = a->argc - 1;
	if (!strcmp(a->argv[0], "[") && argc && !strcmp(a->argv[argc], "]"))
		argc--;
	g->status = !grub_test(g, argc, a->argv + 1);
}

static bool wanted(const struct grub_args *a, int first, const char *name, size_t len)
{
	if (first == a->argc)
		return true;
	for (int i = first; i < a->argc; i++)
		if (strlen(a->argv[i]) == len && !memcmp(a->argv[i], name, len))
			return true;
	return false;
}

/*
 * One variable of an environment block: name=value, where a backslash keeps a newline or itself.
 * -> behind it.
 */
static const char *load_variable(struct grub *g, const char *p, const struct grub_args *a,
				 int first)
{
	char value[GRUB_ARGS_CHARS];
	size_t name_len = strcspn(p, "=\n"), n = 0;
	const char *name = p;
	p += name_len;
	bool sound = *p == '=' && grub_is_name(name, name_len);
	p += sound;
	for (; *p && *p != '\n'; p++) {
		if (*p == '\\' && p[1])
			p++;
		if (n < sizeof(value) - 1)
			value[n++] = *p;
	}
	value[n] = '\0';
	if (sound && wanted(a, first, name, name_len))
		grub_set(g, arena_strndup(&g->arena, name, name_len), value);
	return *p ? p + 1 : p;
}

/* load_env [--skip-sig] [-f FILE] [NAME…] */
static void cmd_load_env(struct grub *g, const struct grub_args *a)
{
	static const char header[] = "# GRUB Environment Block\n";
	char path[GRUB_PATH_CHARS + GRUB_DEV_CHARS];
	struct grub_file file;
	char *text;
	size_t len;
	int i = 1;
	copy(g, path, sizeof(path), grub_get(g, "prefix"));
	strncat(path, "/grubenv", sizeof(path) - strlen(path) - 1);
	for (; i < a->argc && a->argv[i][0] == '-'; i++) {
		if (strcmp(a->argv[i], "-f") && strcmp(a->argv[i], "--file"))
			continue;
		if (i + 1 < a->argc)
			copy(g, path, sizeof(path), a->argv[++i]);
	}
	g->status = 1;
	if (g->err || !grub_file_of(g, path, &file) || !grub_may_look(g) ||
	    g->ops->read(g->opaque, file.dev, file.path, &text, &len))
		return;
	if (!strncmp(text, header, strlen(header))) {
		const char *p = text + strlen(header);
		while (*p && *p != '#' && !g->err)
			p = load_variable(g, p, a, i);
		g->status = 0;
	}
	free(text);
}

/* search [--fs-uuid|--label|--file] [--set[=VAR]] [--no-floppy] [--hint…] WHAT, and search.fs_uuid
 * WHAT VAR */
static void cmd_search(struct grub *g, const struct grub_args *a)
{
	enum grub_search by = GRUB_SEARCH_FILE;
	const char *what = NULL, *var = NULL;
	char dev[GRUB_DEV_CHARS];
	const char *dot = strchr(a->argv[0], '.');
	if (dot) {
		var = a->argc > 2 ? a->argv[2] : "root";
		by = !strcmp(dot, ".fs_uuid")	 ? GRUB_SEARCH_UUID
		     : !strcmp(dot, ".fs_label") ? GRUB_SEARCH_LABEL
						 : GRUB_SEARCH_FILE;
		what = a->argc > 1 ? a->argv[1] : NULL;
	}
	for (int i = 1; !dot && i < a->argc; i++) {
		const char *w = a->argv[i];
		if (!strcmp(w, "--fs-uuid") || !strcmp(w, "-u"))
			by = GRUB_SEARCH_UUID;
		else if (!strcmp(w, "--label") || !strcmp(w, "-l"))
			by = GRUB_SEARCH_LABEL;
		else if (!strncmp(w, "--set=", 6))
			var = w + 6;
		else if (!strcmp(w, "--set") || !strcmp(w, "-s"))
			var = "root";
		else if (!strcmp(w, "--hint") || !strcmp(w, "-h"))
			i++;
		else if (*w != '-')
			what = w;
	}
	g->status = 1;
	if (!what || !grub_may_look(g) || !g->ops->search(g->opaque, by, what, dev))
		return;
	if (var)
		grub_set(g, var, dev);
	g->status = 0;
}

/* Arguments with blanks in them are quoted again, as GRUB does for the kernel. */
static void append_arg(struct grub *g, const char *arg)
{
	struct grub_choice *c = g->choice;
	size_t len = strlen(c->args), cap = sizeof(c->args) - len;
	const char *quote = strchr(arg, ' ') ? "\"" : "";
	if (snprintf(c->args + len, cap, "%s%s%s%s", len ? " " : "", quote, arg, quote) >= (int)cap)
		grub_fail(g, -E2BIG);
}

static void cmd_linux(struct grub *g, const struct grub_args *a)
{
	g->status = 1;
	if (!g->choice || a->argc < 2 || !grub_file_of(g, a->argv[1], &g->choice->kernel))
		return;
	g->choice->args[0] = '\0';
	for (int i = 2; i < a->argc; i++)
		append_arg(g, a->argv[i]);
	g->status = 0;
}

static void cmd_initrd(struct grub *g, const struct grub_args *a)
{
	g->status = 1;
	if (!g->choice)
		return;
	g->choice->ninitrds = 0;
	for (int i = 1; i < a->argc && g->choice->ninitrds < GRUB_INITRDS_MAX; i++)
		if (grub_file_of(g, a->argv[i], &g->choice->initrds[g->choice->ninitrds]))
			g->choice->ninitrds++;
	g->status = 0;
}

static void add_entry(struct grub *g, struct grub_entry e)
{
	struct grub_entry *p = arena_alloc(&g->arena, sizeof(*p));
	if (!p || g->menu.n == GRUB_MENU_MAX) {
		grub_fail(g, -E2BIG);
		return;
	}
	*p = e;
	*g->menu.tail = p;
	g->menu.tail = &p->next;
	g->menu.n++;
}

/* menuentry TITLE [--id ID] [--class C] … { … } */
static void cmd_menuentry(struct grub *g, const struct grub_args *a, const struct grub_body *block)
{
	static const char *const with_value[] = { "--class", "--users", "--hotkey", "--source" };
	struct grub_entry e = { .title = "", .id = "", .submenu = !strcmp(a->argv[0], "submenu") };
	bool has_title = false;
	if (!block)
		return;
	e.body = *block;
	for (int i = 1; i < a->argc; i++) {
		const char *w = a->argv[i];
		if (!strcmp(w, "--id") && i + 1 < a->argc) {
			e.id = a->argv[++i];
		} else if (!strncmp(w, "--id=", 5)) {
			e.id = w + 5;
		} else if (w[0] == '-' && w[1] == '-') {
			for (size_t k = 0; k < ARRAY_SIZE(with_value); k++)
				i += !strcmp(w, with_value[k]);
		} else if (!has_title) {
			e.title = w;
			has_title = true;
		}
	}
	add_entry(g, e);
}

/* Fedora's: adds the boot loader entries to the menu. */
static void cmd_blscfg(struct grub *g)
{
	static const char *const dirs[] = { "/loader/entries", "/boot/loader/entries" };
	struct bls_entry *entries = NULL;
	int n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && !n && grub_may_look(g); i++)
		n = bls_read_dir(g->ops, g->opaque, grub_get(g, "root"), dirs[i], &g->arena,
				 &entries);
	if (n < 0)
		grub_fail(g, n);
	for (int i = 0; i < n; i++)
		add_entry(g, (struct grub_entry){ .title = entries[i].title,
						  .id = entries[i].id,
						  .bls = &entries[i] });
}

static void cmd_source(struct grub *g, const struct grub_args *a)
{
	g->status = a->argc < 2 || grub_source(g, a->argv[1]) ? 1 : g->status;
}

static bool is_any(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(s, *list))
			return true;
	return false;
}

void grub_command(struct grub *g, const struct grub_args *a, const struct grub_body *block)
{
	static const char *const linux_names[] = { "linux", "linuxefi", "linux16", NULL };
	static const char *const initrd_names[] = { "initrd", "initrdefi", "initrd16", NULL };
	static const char *const source_names[] = { "source", ".", "configfile", NULL };
	/* Nobody is at the keyboard; and nothing of the firmware's is there to ask. */
	static const char *const fail_names[] = { "false",  "keystatus", "cmostest",
						  "regexp", "probe",	 NULL };
	const char *name = a->argv[0];
	g->status = 0;
	if (!strcmp(name, "set"))
		cmd_set(g, a);
	else if (!strcmp(name, "unset"))
		cmd_unset(g, a);
	else if (!strcmp(name, "[") || !strcmp(name, "test"))
		cmd_test(g, a);
	else if (!strcmp(name, "menuentry") || !strcmp(name, "submenu"))
		cmd_menuentry(g, a, block);
	else if (is_any(name, linux_names))
		cmd_linux(g, a);
	else if (is_any(name, initrd_names))
		cmd_initrd(g, a);
	else if (!strcmp(name, "search") || !strncmp(name, "search.", 7))
		cmd_search(g, a);
	else if (!strcmp(name, "load_env"))
		cmd_load_env(g, a);
	else if (!strcmp(name, "blscfg"))
		cmd_blscfg(g);
	else if (is_any(name, source_names))
		cmd_source(g, a);
	else if (!strcmp(name, "return"))
		g->returning = true;
	else if (!strcmp(name, "break"))
		g->breaking = g->loops > 0;
	else if (is_any(name, fail_names))
		g->status = 1;
	else
		assign(g, name);
}
