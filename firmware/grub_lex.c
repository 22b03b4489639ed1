/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens of a GRUB script (GRUB manual, "Writing full configuration files directly"): words with
 * their quotes still on, separators (newline and ';'), and braces. A '#' at the start of a word
 * begins a comment.
 */
#include <string.h>

#include "firmware/grub_priv.h"
#include "vmm/base/checked.h"

struct lexer {
	const char *text;
	size_t len;
	size_t pos;
};

static char at(const struct lexer *l, size_t pos)
{
	return pos < l->len ? l->text[pos] : '\0';
}

static void skip_blanks(struct lexer *l)
{
	for (;;) {
		char c = at(l, l->pos);
		if (l->pos < l->len && (c == ' ' || c == '\t' || c == '\r' || c == '\0'))
			l->pos++;
		else if (c == '\\' && at(l, l->pos + 1) == '\n')
			l->pos += 2;
		else if (c == '#')
			while (l->pos < l->len && l->text[l->pos] != '\n')
				l->pos++;
		else
			return;
	}
}

/* From an opening quote to behind the closing one, or to the end of the text. */
static void skip_quoted(struct lexer *l, char quote)
{
	l->pos++;
	while (l->pos < l->len && l->text[l->pos] != quote)
		l->pos += quote == '"' && l->text[l->pos] == '\\' ? 2 : 1;
	l->pos = MIN(l->pos + 1, l->len);
}

static void skip_word(struct lexer *l)
{
	while (l->pos < l->len) {
		char c = l->text[l->pos];
		if (!c || strchr(" \t\r\n;{}", c))
			return;
		if (c == '\'' || c == '"') {
			skip_quoted(l, c);
		} else if (c == '\\') {
			l->pos = MIN(l->pos + 2, l->len);
		} else if (c == '$' && at(l, l->pos + 1) == '{') {
			while (l->pos < l->len && l->text[l->pos] != '}' && l->text[l->pos] != '\n')
				l->pos++;
			l->pos += at(l, l->pos) == '}';
		} else {
			l->pos++;
		}
	}
}

/* -> false at the end. */
static bool next_token(struct lexer *l, struct grub_tok *t)
{
	skip_blanks(l);
	if (l->pos >= l->len)
		return false;
	char c = l->text[l->pos];
	t->off = (uint32_t)l->pos;
	t->kind = c == '{' ? GRUB_TOK_OPEN : c == '}' ? GRUB_TOK_CLOSE : GRUB_TOK_SEP;
	if (strchr("{};\n", c)) {
		l->pos++;
	} else {
		t->kind = GRUB_TOK_WORD;
		skip_word(l);
	}
	t->len = (uint32_t)(l->pos - t->off);
	return true;
}

const struct grub_script *grub_lex(struct arena *arena, const char *text, size_t len)
{
	struct grub_tok t;
	struct lexer count = { text, len, 0 }, fill = { text, len, 0 };
	size_t n = 0;
	while (next_token(&count, &t))
		n++;
	struct grub_script *s = arena_alloc(arena, sizeof(*s));
	struct grub_tok *toks = arena_alloc(arena, (n + 1) * sizeof(*toks));
	if (!s || !toks)
		return NULL;
	for (size_t i = 0; i < n; i++)
		next_token(&fill, &toks[i]);
	*s = (struct grub_script){ text, toks, n };
	return s;
}
