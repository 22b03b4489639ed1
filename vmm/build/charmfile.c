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
	const struct charmfile_text *in;
	const char *top; /* the path of the first text */
	struct charmfile_at at;
	const char *next, *end;
	unsigned int line; /* of @next */
};

static int read_text(struct charmfile *cf, const char *top, const struct charmfile_text *in,
		     char *why);

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

static void free_step(struct charmfile_step *s)
{
	for (size_t j = 0; j < s->noperands; j++)
		free(s->operands[j]);
	free(s->operands);
	free(s->text);
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
			return charmfile_complain(&r->at, "a second %s; the first is in %.100s:%u",
						  charmfile_word_name(word), cf->steps[i].path,
						  cf->steps[i].line);
	return 0;
}

/* ---- INCLUDE ---- */

/* What messages call the file @name, whose directory is the first text's; the charmfile's from then on. */
static int name_included(const struct reader *r, const char *name, char **path)
{
	char **included = r->cf->included;
	const char *slash = strrchr(r->top, '/');
	size_t n = 0;
	while (n < CHARMFILE_INCLUDES_MAX && included[n])
		n++;
	if (n == CHARMFILE_INCLUDES_MAX)
		return charmfile_complain(
			&r->at, "INCLUDE %.80s: more than %d of them; does a file include itself?",
			name, CHARMFILE_INCLUDES_MAX);
	int dir = slash ? (int)(slash - r->top) + 1 : 0;
	if (asprintf(&included[n], "%.*s%s", dir, r->top, name) < 0) {
		included[n] = NULL;
		return -ENOMEM;
	}
	*path = included[n];
	return 0;
}

static int include(const struct reader *r, const char *name)
{
	char *path = NULL, *text = NULL;
	struct charmfile_text in = *r->in;
	int err = name_included(r, name, &path);
	if (err)
		return err;
	err = in.read ? in.read(in.opaque, name, &text, &in.len) : -ENOENT;
	if (err == -EXDEV)
		return charmfile_complain(&r->at, "INCLUDE %.80s: a link leads out of the context",
					  name);
	if (err)
		return charmfile_complain(&r->at, "INCLUDE %.80s: %s", name, strerror(-err));
	in.path = path;
	in.text = text;
	err = read_text(r->cf, r->top, &in, r->at.why);
	free(text);
	return err;
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
	*step = (struct charmfile_step){
		.word = word, .path = r->at.path, .line = r->at.line, .text = strdup(text)
	};
	err = step->text ? charmfile_check_step(&r->at, step) : -ENOMEM;
	if (err || word != CHARMFILE_INCLUDE)
		return err;
	struct charmfile_step is = *step;
	r->cf->nsteps--; /* what it includes takes its place */
	err = include(r, is.operands[0]);
	free_step(&is);
	return err;
}

static int read_steps(struct reader *r, char *buf)
{
	int err = 0;
	while (!err && next_instruction(r, buf))
		err = add_step(r, buf);
	if (err || r->cf->nsteps)
		return err;
	r->at.line = r->line ? r->line : 1;
	return charmfile_complain(&r->at,
				  "there is no FROM; the first instruction says what the image "
				  "is made from, such as FROM debian:12");
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

static int read_text(struct charmfile *cf, const char *top, const struct charmfile_text *in,
		     char *why)
{
	struct reader r = { .cf = cf,
			    .in = in,
			    .top = top,
			    .at = { .path = in->path, .why = why },
			    .next = in->text,
			    .end = in->text + in->len };
	int err = check_bytes(&r, in->len);
	char *buf = err ? NULL : malloc(in->len + 1);
	if (!err)
		err = buf ? read_steps(&r, buf) : -ENOMEM;
	free(buf);
	return err;
}

int charmfile_parse(struct charmfile *cf, const struct charmfile_text *in,
		    char why[CHARMFILE_WHY_BYTES])
{
	*cf = (struct charmfile){ 0 };
	*why = '\0';
	cf->steps = calloc(CHARMFILE_STEPS_MAX, sizeof(*cf->steps));
	return cf->steps ? read_text(cf, in->path, in, why) : -ENOMEM;
}

void charmfile_free(struct charmfile *cf)
{
	for (size_t i = 0; i < cf->nsteps; i++)
		free_step(&cf->steps[i]);
	for (size_t i = 0; i < CHARMFILE_INCLUDES_MAX; i++)
		free(cf->included[i]);
	free(cf->steps);
	*cf = (struct charmfile){ 0 };
}
