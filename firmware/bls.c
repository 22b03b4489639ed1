/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and sorting boot loader entries. The order is the specification's: entries with a sort
 * key first, by key, machine and falling version; the others by falling version of their file
 * names.
 */
#include "firmware/bls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/version.h"
#include "vmm/base/checked.h"

struct names {
	struct arena *arena;
	const char *list[BLS_ENTRIES_MAX];
	unsigned int n;
};

static void collect_cb(void *opaque, const char *name)
{
	struct names *names = opaque;
	size_t len = strlen(name);
	if (len > 5 && !strcmp(name + len - 5, ".conf") && names->n < BLS_ENTRIES_MAX)
		names->list[names->n++] = arena_strndup(names->arena, name, len);
}

/* "a" and "b" to "a b". */
static const char *join(struct arena *arena, const char *a, const char *b)
{
	if (!*a)
		return b;
	size_t la = strlen(a), lb = strlen(b);
	char *s = arena_alloc(arena, la + 1 + lb + 1);
	if (!s)
		return "";
	memcpy(s, a, la);
	s[la] = ' ';
	memcpy(s + la + 1, b, lb);
	return s;
}

static void add_initrds(struct arena *arena, struct bls_entry *e, const char *value)
{
	/* The specification has one for each line; Fedora's has several on one. */
	while (*value && e->ninitrds < GRUB_INITRDS_MAX) {
		size_t len = strcspn(value, " \t");
		e->initrds[e->ninitrds++] = arena_strndup(arena, value, len);
		value += len;
		value += strspn(value, " \t");
	}
}

static void set_key(struct arena *arena, struct bls_entry *e, const char *key, const char *value)
{
	const struct {
		const char *key;
		const char **field;
	} fields[] = {
		{ "title", &e->title },		  { "version", &e->version },
		{ "machine-id", &e->machine_id }, { "sort-key", &e->sort_key },
		{ "linux", &e->linux_path },
	};
	if (!strcmp(key, "options"))
		e->options = join(arena, e->options, value);
	else if (!strcmp(key, "initrd"))
		add_initrds(arena, e, value);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (!strcmp(key, fields[i].key))
			*fields[i].field = value;
}

/* One line: a key, white space, the value to the end. */
static void parse_line(struct arena *arena, struct bls_entry *e, const char *line, size_t len)
{
	while (len && strchr(" \t\r", line[len - 1]))
		len--;
	while (len && strchr(" \t", *line)) {
		line++;
		len--;
	}
	if (!len || *line == '#')
		return;
	const char *s = arena_strndup(arena, line, len);
	size_t key_len = strcspn(s, " \t");
	const char *key = arena_strndup(arena, s, key_len);
	set_key(arena, e, key, s + key_len + strspn(s + key_len, " \t"));
}

static void parse(struct arena *arena, struct bls_entry *e, const char *name, const char *text)
{
	*e = (struct bls_entry){ .title = "",
				 .version = "",
				 .machine_id = "",
				 .sort_key = "",
				 .linux_path = "",
				 .options = "" };
	e->id = arena_strndup(arena, name, strlen(name) - strlen(".conf"));
	while (*text) {
		size_t len = strcspn(text, "\n");
		parse_line(arena, e, text, len);
		text += len + (text[len] == '\n');
	}
}

static int compare(const void *pa, const void *pb)
{
	const struct bls_entry *a = pa, *b = pb;
	if (!*a->sort_key != !*b->sort_key)
		return *a->sort_key ? -1 : 1;
	if (*a->sort_key) {
		int r = strcmp(a->sort_key, b->sort_key);
		if (!r)
			r = strcmp(a->machine_id, b->machine_id);
		if (!r)
			r = version_cmp_uapi(b->version, a->version);
		if (r)
			return r;
	}
	int r = version_cmp_uapi(b->id, a->id);
	return r ? r : strcmp(b->id, a->id);
}

int bls_read_dir(const struct grub_ops *ops, void *opaque, const char *dev, const char *dir,
		 struct arena *arena, struct bls_entry **out)
{
	struct names names = { .arena = arena };
	int n = 0;
	if (ops->list(opaque, dev, dir, collect_cb, &names) || !names.n)
		return 0;
	struct bls_entry *entries = arena_alloc(arena, names.n * sizeof(*entries));
	for (unsigned int i = 0; entries && i < names.n; i++) {
		char path[GRUB_PATH_CHARS], *text;
		size_t len;
		int chars = snprintf(path, sizeof(path), "%s/%s", dir, names.list[i]);
		if (chars >= (int)sizeof(path) || ops->read(opaque, dev, path, &text, &len))
			continue;
		parse(arena, &entries[n], names.list[i], text);
		free(text);
		n += *entries[n].linux_path != '\0';
	}
	if (arena->failed)
		return -E2BIG;
	qsort(entries, (size_t)n, sizeof(*entries), compare);
	*out = entries;
	return n;
}
