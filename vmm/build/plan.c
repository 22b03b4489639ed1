/* SPDX-License-Identifier: Apache-2.0 */
/* A Charmfile's instructions as things to do, with their keys. */
#include "vmm/build/plan.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/build/charmfile_priv.h"
#include "vmm/build/tree_hash.h"

struct planner {
	struct plan *p;
	const struct plan_of *of;
	const char *before; /* the key of what is there so far */
	size_t nenv, nports;
	char *why;
};

/* ---- keys ---- */

/* With its NUL, so that two strings are not one. */
static void add_text(struct sha256 *s, const char *text)
{
	sha256_add(s, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void add_texts(struct sha256 *s, const char *const *texts)
{
	for (; *texts; texts++)
		add_text(s, *texts);
	add_text(s, NULL);
}

void plan_key_end(struct sha256 *s, char key[PLAN_KEY_TEXT])
{
	uint8_t digest[SHA256_BYTES];
	sha256_end(s, digest);
	for (size_t i = 0; i < (PLAN_KEY_TEXT - 1) / 2; i++)
		snprintf(key + 2 * i, 3, "%02x", digest[i]);
}

void plan_base_key(const char *path, const char *what, char key[PLAN_KEY_TEXT])
{
	struct sha256 s;
	sha256_init(&s);
	add_text(&s, path);
	add_text(&s, what);
	plan_key_end(&s, key);
}

/* ---- COPY ---- */

bool plan_is_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);
	if (len == 1) /* the root */
		return true;
	return !strncmp(path, dir, len) && (!path[len] || path[len] == '/');
}

static int add_source(const struct planner *pl, const struct charmfile_at *at, struct sha256 *s,
		      const char *source)
{
	char path[PATH_MAX], real[PATH_MAX], bad[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", pl->of->context, source);
	if (n >= (int)sizeof(path) || !realpath(path, real)) {
		charmfile_complain(at, "COPY %.80s: %s; sources are looked for in %.100s", source,
				   n >= (int)sizeof(path) ? strerror(ENAMETOOLONG)
							  : strerror(errno),
				   pl->of->context);
		return -ENOENT;
	}
	if (!plan_is_in(real, pl->of->context))
		return charmfile_complain(
			at, "COPY %.80s: a link leads out of the context, to %.100s", source, real);
	if (plan_is_in(pl->of->out, real))
		return charmfile_complain(
			at, "COPY %.80s: the new image would be in it; have it elsewhere (-o)",
			source);
	int err = tree_hash(s, path, bad);
	return err ? charmfile_complain(at, "COPY %.80s: %.120s: %s", source, bad, strerror(-err))
		   : 0;
}

static int add_sources(const struct planner *pl, const struct charmfile_step *step,
		       struct sha256 *s)
{
	const struct charmfile_at at = { step->path, step->line, pl->why };
	int err = 0;
	for (size_t i = 0; i + 1 < step->noperands && !err; i++)
		err = add_source(pl, &at, s, step->operands[i]);
	return err;
}

/* ---- steps ---- */

static size_t name_len(const char *assignment)
{
	return strcspn(assignment, "=") + 1;
}

/* A later value takes the place of an earlier one. */
static void set_env(struct planner *pl, const char *assignment)
{
	size_t i = 0, len = name_len(assignment);
	while (i < pl->nenv && strncmp(pl->p->env[i], assignment, len) != 0)
		i++;
	pl->p->env[i] = assignment;
	pl->nenv += i == pl->nenv;
}

static const char **copy_env(const struct planner *pl)
{
	const char **copy = calloc(pl->nenv + 1, sizeof(*copy));
	if (copy)
		memcpy(copy, pl->p->env, pl->nenv * sizeof(*copy));
	return copy;
}

static int add_step(struct planner *pl, const struct charmfile_step *step)
{
	struct plan_step *ps = &pl->p->steps[pl->p->nsteps++];
	struct sha256 s;
	ps->step = step;
	ps->user = pl->p->user;
	ps->env = copy_env(pl);
	if (!ps->env)
		return -ENOMEM;
	sha256_init(&s);
	add_text(&s, pl->before);
	add_text(&s, charmfile_word_name(step->word));
	add_text(&s, ps->user);
	add_texts(&s, ps->env);
	if (!step->operands)
		add_text(&s, step->text);
	for (size_t i = 0; i < step->noperands; i++)
		add_text(&s, step->operands[i]);
	int err = step->word == CHARMFILE_COPY ? add_sources(pl, step, &s) : 0;
	plan_key_end(&s, ps->key);
	pl->before = ps->key;
	return err;
}

static int take(struct planner *pl, const struct charmfile_step *step)
{
	struct plan *p = pl->p;
	switch (step->word) {
	case CHARMFILE_PACKAGES:
	case CHARMFILE_RUN:
	case CHARMFILE_COPY: return add_step(pl, step);
	case CHARMFILE_ENV:
		for (size_t i = 0; i < step->noperands; i++)
			set_env(pl, step->operands[i]);
		return 0;
	case CHARMFILE_EXPOSE:
		for (size_t i = 0; i < step->noperands; i++)
			p->ports[pl->nports++] = step->operands[i];
		return 0;
	case CHARMFILE_USER: p->user = step->operands[0]; return 0;
	case CHARMFILE_MEM: p->mem = step->operands[0]; return 0;
	case CHARMFILE_CPUS: p->cpus = step->operands[0]; return 0;
	case CHARMFILE_ENTRYPOINT: p->entrypoint = step->text; return 0;
	default: return 0; /* SHARE was refused, and INCLUDE is none */
	}
}

static size_t count_operands(const struct charmfile *cf, enum charmfile_word word)
{
	size_t n = 0;
	for (size_t i = 0; i < cf->nsteps; i++)
		if (cf->steps[i].word == word)
			n += cf->steps[i].noperands;
	return n;
}

static void end_plan(struct planner *pl)
{
	struct plan *p = pl->p;
	struct sha256 s;
	sha256_init(&s);
	add_text(&s, pl->before);
	add_text(&s, pl->of->finish);
	add_texts(&s, p->env);
	add_texts(&s, p->ports);
	add_text(&s, p->entrypoint);
	add_text(&s, p->entrypoint ? p->user : NULL);
	add_text(&s, p->mem);
	add_text(&s, p->cpus);
	plan_key_end(&s, p->key);
}

int plan_make(struct plan *p, const struct plan_of *of, char why[CHARMFILE_WHY_BYTES])
{
	struct planner pl = { .p = p, .of = of, .before = "", .why = why };
	*p = (struct plan){ 0 };
	*why = '\0';
	p->steps = calloc(of->cf->nsteps + 1, sizeof(*p->steps));
	p->env = calloc(count_operands(of->cf, CHARMFILE_ENV) + 1, sizeof(*p->env));
	p->ports = calloc(count_operands(of->cf, CHARMFILE_EXPOSE) + 1, sizeof(*p->ports));
	int err = p->steps && p->env && p->ports ? 0 : -ENOMEM;
	for (size_t i = 1 + of->in_base; i < of->cf->nsteps && !err; i++)
		err = take(&pl, &of->cf->steps[i]);
	if (!err)
		end_plan(&pl);
	return err;
}

bool plan_is_empty(const struct plan *p)
{
	return !p->nsteps && !p->env[0] && !p->entrypoint && !p->mem && !p->cpus;
}

void plan_free(struct plan *p)
{
	for (size_t i = 0; i < p->nsteps; i++)
		free(p->steps[i].env);
	free(p->steps);
	free(p->env);
	free(p->ports);
	*p = (struct plan){ 0 };
}
