/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel command lines. */
#include "firmware/cmdline.h"

#include <string.h>

#include "vmm/base/checked.h"

/* The next word at *p, which moves behind it. -> its length, 0 at the end. */
static size_t next_word(const char **p, const char **word)
{
	bool quoted = false;
	*p += strspn(*p, " \t\r\n");
	*word = *p;
	while (**p && (quoted || !strchr(" \t\r\n", **p))) {
		quoted ^= **p == '"';
		++*p;
	}
	return (size_t)(*p - *word);
}

void cmdline_add(struct cmdline *c, const char *words)
{
	const char *w, *p = words;
	size_t n;
	while ((n = next_word(&p, &w))) {
		size_t len = strlen(c->text);
		if (n + 1 > BOOT_CMDLINE_MAX - len) {
			c->too_long = true;
			return;
		}
		if (len)
			c->text[len++] = ' ';
		memcpy(c->text + len, w, n);
		c->text[len + n] = '\0';
	}
}

bool cmdline_get(const struct cmdline *c, const char *key, char *value, size_t cap)
{
	const char *w, *p = c->text;
	size_t n, key_len = strlen(key);
	bool found = false;
	while ((n = next_word(&p, &w))) {
		if (n <= key_len || strncmp(w, key, key_len) || w[key_len] != '=' ||
		    n - key_len - 1 >= cap)
			continue;
		memcpy(value, w + key_len + 1, n - key_len - 1);
		value[n - key_len - 1] = '\0';
		found = true;
	}
	return found;
}

void cmdline_remove(struct cmdline *c, const char *word, bool with_value)
{
	struct cmdline out = { .too_long = c->too_long };
	const char *w, *p = c->text;
	size_t n, len = strlen(word);
	while ((n = next_word(&p, &w))) {
		bool match = n >= len && !strncmp(w, word, len) &&
			     (n == len || (with_value && w[len] == '='));
		if (match)
			continue;
		char one[BOOT_CMDLINE_MAX + 1];
		memcpy(one, w, n);
		one[n] = '\0';
		cmdline_add(&out, one);
	}
	*c = out;
}
