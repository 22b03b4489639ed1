/* SPDX-License-Identifier: Apache-2.0 */
/* A Charmfile's text: lines into steps, and the order of steps. */
#include "vmm/build/charmfile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/build/charmfile_priv.h"

struct reader {
	struct charmfile *cf;
	struct charmfile_at at;
	const char *next, *end;
	unsigned int line; /* of @next */
};

int charmfile_complain(const struct charmfile_at *at, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(at->why, CHARMFILE_WHY_BYTES, "%.100s:%u: ", at->path, at->line);
	va_start(ap, fmt);
	vsnprintf(at->why + n, CHARMFILE_WHY_BYTES - (size_t)n, fmt, ap);
	va_end(ap);
	for (char *p = at->why; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	return -EINVAL;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next line of the file, without blanks at its end. -> false: there is none */
static bool next_line(struct reader *r, const char **s, size_t *len)
{
	if (r->next == r->end)
		return false;
	const char *nl = memchr(r->next, '\n', (size_t)(r->end - r->next));
	*s = r->next;
	*len = (size_t)((nl ? nl : r->end) - r->next);
	r->next = nl ? nl + 1 : r->end;
	r->line++;
	while (*len && is_blank((*s)[*len - 1]))
		(*len)--;
	return true;
}

/*
 * The next instruction, its lines joined as a shell does it, into @out, which has room for the whole file and a NUL.
 * Comments and empty lines are passed over, also between its lines. -> its length, 0: there is none
 */
static size_t next_instruction(struct reader *r, char *out)
{
	const char *s;
	size_t len, n = 0;
	bool more = true;
	while (more && next_line(r, &s, &len)) {
		size_t indent = 0;
		while (indent < len && is_blank(s[indent]))
			indent++;
		if (indent == len || s[indent] == '#')
			continue;
		if (!n) {
			r->at.line = r->line;
			s += indent;
			len -= indent;
		}
		more = s[len - 1] == '\\';
		len -= more;
		memcpy(out + n, s, len);
		n += len;
	}
	while (n && is_blank(out[n - 1]))
		n--;
	out[n] = '\0';
	return n;
}

/* A second one of these is a mistake rather than a wish. */
static int check_order(const struct reader *r, enum charmfile_word word)
{
	const struct charmfile *cf = r->cf;
	if (!cf->nsteps && word != CHARMFILE_FROM)
		return charmfile_complain(
			&r->at,
			"%s before FROM: the first instruction says what the image "
			"is made from, such as FROM debian:12",
			charmfile_word_name(word));
	bool once = word == CHARMFILE_FROM || word == CHARMFILE_MEM || word == CHARMFILE_CPUS ||
		    word == CHARMFILE_ENTRYPOINT;
	for (size_t i = 0; once && i < cf->nsteps; i++)
		if (cf->steps[i].word == word)
			return charmfile_complain(&r->at, "a second %s; the first is in line %u",
						  charmfile_word_name(word), cf->steps[i].line);
	return 0;
}

/* @s: one instruction, in one line. */
static int add_step(struct reader *r, char *s)
{
	char *text = s + strcspn(s, " \t\r");
	enum charmfile_word word;
	if (*text)
		*text++ = '\0';
	text += strspn(text, " \t\r");
	int err = charmfile_find_word(&r->at, s, &word);
	err = err ? err : check_order(r, word);
	if (err)
		return err;
	if (r->cf->nsteps == CHARMFILE_STEPS_MAX)
		return charmfile_complain(&r->at, "more than %d instructions", CHARMFILE_STEPS_MAX);
	struct charmfile_step *step = &r->cf->steps[r->cf->nsteps++];
	*step = (struct charmfile_step){ .word = word, .line = r->at.line, .text = strdup(text) };
	return step->text ? charmfile_check_step(&r->at, step) : -ENOMEM;
}

static int read_steps(struct reader *r, char *buf)
{
	int err = 0;
	while (!err && next_instruction(r, buf))
		err = add_step(r, buf);
	if (!err && !r->cf->nsteps) {
		r->at.line = r->line ? r->line : 1;
		err = charmfile_complain(
			&r->at, "there is no FROM; the first instruction says what the image "
				"is made from, such as FROM debian:12");
	}
	return err;
}

/* What a text cannot have. */
static int check_bytes(struct reader *r, size_t len)
{
	r->at.line = 1;
	if (len > CHARMFILE_BYTES_MAX) {
		charmfile_complain(&r->at, "larger than %d KiB; is this a Charmfile?",
				   CHARMFILE_BYTES_MAX / 1024);
		return -E2BIG;
	}
	const char *nul = len ? memchr(r->next, '\0', len) : NULL;
	for (const char *p = r->next; nul && p < nul; p++)
		r->at.line += *p == '\n';
	return nul ? charmfile_complain(&r->at, "a NUL byte; is this a Charmfile?") : 0;
}

int charmfile_parse(struct charmfile *cf, const char *path, const char *text, size_t len,
		    char why[CHARMFILE_WHY_BYTES])
{
	struct reader r = { .cf = cf, .at = { .path = path, .why = why } };
	*cf = (struct charmfile){ 0 };
	*why = '\0';
	r.next = text;
	r.end = text + len;
	int err = check_bytes(&r, len);
	if (err)
		return err;
	char *buf = malloc(len + 1);
	cf->steps = calloc(CHARMFILE_STEPS_MAX, sizeof(*cf->steps));
	err = buf && cf->steps ? read_steps(&r, buf) : -ENOMEM;
	free(buf);
	return err;
}

void charmfile_free(struct charmfile *cf)
{
	for (size_t i = 0; i < cf->nsteps; i++) {
		struct charmfile_step *s = &cf->steps[i];
		for (size_t j = 0; j < s->noperands; j++)
			free(s->operands[j]);
		free(s->operands);
		free(s->text);
	}
	free(cf->steps);
	*cf = (struct charmfile){ 0 };
}
