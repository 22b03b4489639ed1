/* SPDX-License-Identifier: Apache-2.0 */
/* The operands of a Charmfile's instruction: split at blanks, quotes taken off. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/build/charmfile_priv.h"

/*
 * One operand of @s into @out, which has room for all of @s. As in a shell: nothing is special between single
 * quotes; a backslash keeps the next character, between double quotes too.
 * -> what follows it, or NULL: a quote is not closed
 */
static const char *take(const char *s, char *out)
{
	char quote = 0;
	for (; *s && (quote || (*s != ' ' && *s != '\t' && *s != '\r')); s++) {
		if (quote && *s == quote)
			quote = 0;
		else if (!quote && (*s == '"' || *s == '\''))
			quote = *s;
		else if (*s == '\\' && s[1] && quote != '\'')
			*out++ = *++s;
		else
			*out++ = *s;
	}
	*out = '\0';
	return quote ? NULL : s;
}

static int add(const struct charmfile_at *at, struct charmfile_step *s, const char *operand)
{
	if (s->noperands == CHARMFILE_OPERANDS_MAX)
		return charmfile_complain(at, "%s: more than %d operands",
					  charmfile_word_name(s->word), CHARMFILE_OPERANDS_MAX);
	char *copy = strdup(operand);
	if (!copy)
		return -ENOMEM;
	s->operands[s->noperands++] = copy;
	return 0;
}

int charmfile_split(const struct charmfile_at *at, struct charmfile_step *s)
{
	const char *p = s->text;
	char *buf = malloc(strlen(p) + 1);
	s->operands = calloc(CHARMFILE_OPERANDS_MAX, sizeof(*s->operands));
	int err = buf && s->operands ? 0 : -ENOMEM;
	while (!err && *(p += strspn(p, " \t\r"))) {
		p = take(p, buf);
		if (p)
			err = add(at, s, buf);
		else
			err = charmfile_complain(at, "%s: a quote is not closed",
						 charmfile_word_name(s->word));
	}
	free(buf);
	return err;
}
