/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Variables and the expansion of words. As in a shell: 'literal', "with $variables", and a variable
 * outside quotes may become no word, or several. Words longer than GRUB_WORD_CHARS stop the script.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "firmware/grub_priv.h"
#include "vmm/base/checked.h"

static bool name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool name_char(char c)
{
	return name_start(c) || (c >= '0' && c <= '9');
}

bool grub_is_name(const char *s, size_t len)
{
	if (!len || !name_start(*s))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!name_char(s[i]))
			return false;
	return true;
}

const char *grub_get(const struct grub *g, const char *name)
{
	for (const struct grub_var *v = g->vars; v; v = v->next)
		if (!strcmp(v->name, name))
			return v->value;
	return "";
}

void grub_set(struct grub *g, const char *name, const char *value)
{
	struct grub_var *v = g->vars;
	while (v && strcmp(v->name, name))
		v = v->next;
	if (!v) {
		v = g->nvars < GRUB_VARS_MAX ? arena_alloc(&g->arena, sizeof(*v)) : NULL;
		if (!v) {
			grub_fail(g, -E2BIG);
			return;
		}
		g->nvars++;
		*v = (struct grub_var){ g->vars, arena_strndup(&g->arena, name, strlen(name)), "" };
		g->vars = v;
	}
	/* Often set to what it is: "export", loops. */
	if (strcmp(v->value, value))
		v->value = arena_strndup(&g->arena, value, strlen(value));
}

/* A word being put together. */
struct word {
	struct grub *g;
	struct grub_args *args; /* NULL: no splitting */
	bool quoted;		/* had quotes: stays a word even if empty */
	size_t len;
	char buf[GRUB_WORD_CHARS];
};

static void word_init(struct word *w, struct grub *g, struct grub_args *args)
{
	w->g = g;
	w->args = args;
	w->quoted = false;
	w->len = 0;
}

static void put_char(struct word *w, char c)
{
	if (w->len == sizeof(w->buf) - 1)
		grub_fail(w->g, -E2BIG);
	else
		w->buf[w->len++] = c;
}

static void finish_word(struct word *w)
{
	if (!w->len && !w->quoted)
		return;
	if (w->args->argc == GRUB_ARGC_MAX)
		grub_fail(w->g, -E2BIG);
	else
		w->args->argv[w->args->argc++] = arena_strndup(&w->g->arena, w->buf, w->len);
	w->len = 0;
	w->quoted = false;
}

static void put_value(struct word *w, const char *value, bool split)
{
	for (; *value; value++) {
		if (split && strchr(" \t\n", *value))
			finish_word(w);
		else
			put_char(w, *value);
	}
}

static const char *special(struct grub *g, const char *name, char small[16])
{
	const struct grub_args *p = g->params;
	small[0] = '\0';
	if (!strcmp(name, "?"))
		snprintf(small, 16, "%d", g->status);
	else if (!strcmp(name, "#"))
		snprintf(small, 16, "%d", p ? p->argc - 1 : 0);
	else if (name[0] >= '1' && name[0] <= '9' && !name[1] && p && name[0] - '0' < p->argc)
		return p->argv[name[0] - '0'];
	return small;
}

static void put_params(struct word *w, bool split)
{
	for (int i = 1; w->g->params && i < w->g->params->argc; i++) {
		if (i > 1)
			put_value(w, " ", split);
		put_value(w, w->g->params->argv[i], split);
	}
}

static void put_variable(struct word *w, const char *name, bool split)
{
	char small[16];
	if (!grub_step(w->g, 1))
		return;
	if (!strcmp(name, "@") || !strcmp(name, "*"))
		put_params(w, split);
	else
		put_value(w, name_start(*name) ? grub_get(w->g, name) : special(w->g, name, small),
			  split);
}

/* The variable at s[0] == '$', of @left characters; -> those used. A lone '$' is itself. */
static size_t expand_variable(struct word *w, const char *s, size_t left, bool split)
{
	char name[128];
	bool braces = left > 1 && s[1] == '{';
	size_t start = braces ? 2 : 1, n = 0;
	if (start < left && name_start(s[start]))
		while (start + n < left && name_char(s[start + n]))
			n++;
	else if (start < left && s[start] && strchr("123456789?#@*", s[start]))
		n = 1;
	if (!n || n >= sizeof(name) || (braces && (start + n >= left || s[start + n] != '}'))) {
		put_char(w, '$');
		return 1;
	}
	memcpy(name, s + start, n);
	name[n] = '\0';
	put_variable(w, name, split);
	return start + n + braces;
}

/* Inside double quotes, from behind the first; -> characters used with the closing quote. */
static size_t expand_quoted(struct word *w, const char *s, size_t left)
{
	size_t i = 0;
	while (i < left && s[i] != '"') {
		if (s[i] == '\\' && i + 1 < left && strchr("$\"\\\n", s[i + 1])) {
			if (s[i + 1] != '\n')
				put_char(w, s[i + 1]);
			i += 2;
		} else if (s[i] == '$') {
			i += expand_variable(w, s + i, left - i, false);
		} else {
			put_char(w, s[i++]);
		}
	}
	return i + 1;
}

static size_t expand_literal(struct word *w, const char *s, size_t left)
{
	size_t i = 0;
	while (i < left && s[i] != '\'')
		put_char(w, s[i++]);
	return i + 1;
}

void grub_expand_word(struct grub *g, const struct grub_script *script, const struct grub_tok *t,
		      struct grub_args *args)
{
	struct word w; /* buf stays as it is: this is run for every word */
	word_init(&w, g, args);
	const char *s = script->text + t->off;
	size_t i = 0, len = t->len;
	grub_step(g, 1 + (unsigned int)(len / 64));
	while (i < len && !g->err) {
		char c = s[i];
		if (c == '\'' || c == '"') {
			w.quoted = true;
			i++;
			i += c == '"' ? expand_quoted(&w, s + i, len - i)
				      : expand_literal(&w, s + i, len - i);
		} else if (c == '\\' && i + 1 < len) {
			if (s[i + 1] != '\n')
				put_char(&w, s[i + 1]);
			i += 2;
		} else if (c == '$') {
			i += expand_variable(&w, s + i, len - i, true);
		} else {
			put_char(&w, c);
			i++;
		}
	}
	finish_word(&w);
}

const char *grub_expand_text(struct grub *g, const char *text)
{
	struct word w;
	word_init(&w, g, NULL);
	size_t i = 0, len = strlen(text);
	while (i < len && !g->err) {
		if (text[i] == '$')
			i += expand_variable(&w, text + i, len - i, false);
		else
			put_char(&w, text[i++]);
	}
	return arena_strndup(&g->arena, w.buf, w.len);
}
