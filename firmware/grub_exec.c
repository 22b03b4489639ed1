/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control flow of a GRUB script, by recursive descent over its tokens:
 *
 *     list     := { SEP | command }
 *     command  := if list then list { elif list then list } [ else list ] fi
 *              |  for NAME in WORDS SEP do list done
 *              |  (while | until) list do list done
 *              |  function NAME { list }
 *              |  WORDS [ { list } ]
 *
 * The same functions skip what is not to run: they walk the tokens with run == false, and then only
 * the structure is looked at. So a loop's body is found by skipping it once.
 *
 * Bounds: g->steps counts every command, every token that is walked and every variable that is
 * looked up; g->nesting is the depth of recursion; g->looks counts what is asked of the disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/grub_priv.h"
#include "vmm/base/checked.h"

struct cursor {
	const struct grub_script *script;
	size_t pos;
	size_t end;
};

static void run_list(struct grub *g, struct cursor *c, bool run);

void grub_fail(struct grub *g, int err)
{
	if (!g->err)
		g->err = err;
}

bool grub_step(struct grub *g, unsigned int n)
{
	g->steps += n;
	if (g->arena.failed || g->steps > GRUB_STEPS_MAX)
		grub_fail(g, -E2BIG);
	return !g->err;
}

bool grub_may_look(struct grub *g)
{
	if (++g->looks > GRUB_LOOKS_MAX)
		grub_fail(g, -E2BIG);
	return !g->err;
}

static const struct grub_tok *peek(const struct cursor *c)
{
	return c->pos < c->end ? &c->script->toks[c->pos] : NULL;
}

static bool is_word(const struct cursor *c, const char *word)
{
	const struct grub_tok *t = peek(c);
	return t && t->kind == GRUB_TOK_WORD && t->len == strlen(word) &&
	       !memcmp(c->script->text + t->off, word, t->len);
}

static bool is_one_of(const struct cursor *c, const char *const *words)
{
	for (; *words; words++)
		if (is_word(c, *words))
			return true;
	return false;
}

/* Steps over @word, which has to be here. */
static void expect(struct grub *g, struct cursor *c, const char *word)
{
	if (is_word(c, word))
		c->pos++;
	else
		grub_fail(g, -EINVAL);
}

static void skip_separators(struct cursor *c)
{
	const struct grub_tok *t;
	while ((t = peek(c)) && t->kind == GRUB_TOK_SEP)
		c->pos++;
}

/* Whether commands are still to be run here, and not only walked over. */
static bool running(const struct grub *g, bool run)
{
	return run && !g->err && !g->returning && !g->breaking;
}

static void run_if(struct grub *g, struct cursor *c, bool run)
{
	bool done = false;
	do {
		c->pos++; /* if, elif */
		run_list(g, c, running(g, run) && !done);
		bool taken = running(g, run) && !done && g->status == 0;
		expect(g, c, "then");
		run_list(g, c, taken);
		done |= taken;
	} while (!g->err && is_word(c, "elif"));
	if (is_word(c, "else")) {
		c->pos++;
		run_list(g, c, running(g, run) && !done);
	}
	expect(g, c, "fi");
	if (running(g, run) && !done)
		g->status = 0;
}

/* One turn of a loop's body; a break in it ends here. -> go on. */
static bool turn(struct grub *g, struct cursor *c, size_t body)
{
	c->pos = body;
	g->loops++;
	run_list(g, c, true);
	g->loops--;
	bool broken = g->breaking;
	g->breaking = false;
	return grub_step(g, 1) && !broken && !g->returning;
}

/* Words up to the next separator or brace. */
static void collect_words(struct grub *g, struct cursor *c, bool run, struct grub_args *args)
{
	const struct grub_tok *t;
	args->argc = 0;
	for (; (t = peek(c)) && t->kind == GRUB_TOK_WORD && grub_step(g, 1); c->pos++)
		if (run)
			grub_expand_word(g, c->script, t, args);
}

static struct grub_args *new_args(struct grub *g)
{
	/* On the heap: the recursion may be deep, and an arena would not give it back. */
	struct grub_args *args = malloc(sizeof(*args));
	if (!args)
		grub_fail(g, -ENOMEM);
	return args;
}

static void run_for(struct grub *g, struct cursor *c, bool run)
{
	struct grub_args *name = new_args(g), *words = new_args(g);
	if (!name || !words)
		goto out;
	c->pos++;
	name->argc = words->argc = 0;
	if (peek(c) && peek(c)->kind == GRUB_TOK_WORD)
		grub_expand_word(g, c->script, &c->script->toks[c->pos++], name);
	expect(g, c, "in");
	collect_words(g, c, run, words);
	skip_separators(c);
	expect(g, c, "do");
	size_t body = c->pos;
	run_list(g, c, false);
	size_t after = c->pos;
	for (int i = 0; running(g, run) && name->argc == 1 && i < words->argc; i++) {
		grub_set(g, name->argv[0], words->argv[i]);
		if (!turn(g, c, body))
			break;
	}
	c->pos = after;
	expect(g, c, "done");
out:
	free(name);
	free(words);
}

static void run_while(struct grub *g, struct cursor *c, bool run)
{
	bool until = is_word(c, "until");
	size_t condition = ++c->pos;
	run_list(g, c, false);
	expect(g, c, "do");
	size_t body = c->pos;
	run_list(g, c, false);
	size_t after = c->pos;
	while (running(g, run)) {
		c->pos = condition;
		run_list(g, c, true);
		if (!running(g, run) || (g->status == 0) == until)
			break;
		if (!turn(g, c, body))
			break;
	}
	c->pos = after;
	expect(g, c, "done");
}

/* The block at an opening brace, stepped over. */
static struct grub_body take_block(struct grub *g, struct cursor *c)
{
	struct grub_body b = { .script = c->script, .from = ++c->pos };
	unsigned int depth = 1;
	for (; peek(c) && grub_step(g, 1); c->pos++) {
		depth += peek(c)->kind == GRUB_TOK_OPEN;
		depth -= peek(c)->kind == GRUB_TOK_CLOSE;
		if (!depth)
			break;
	}
	b.to = c->pos++;
	if (depth)
		grub_fail(g, -EINVAL);
	return b;
}

static void define_function(struct grub *g, struct cursor *c, bool run)
{
	const struct grub_tok *name = &c->script->toks[++c->pos];
	if (!peek(c) || name->kind != GRUB_TOK_WORD) {
		grub_fail(g, -EINVAL);
		return;
	}
	c->pos++;
	skip_separators(c);
	if (!peek(c) || peek(c)->kind != GRUB_TOK_OPEN) {
		grub_fail(g, -EINVAL);
		return;
	}
	struct grub_body body = take_block(g, c);
	if (!running(g, run))
		return;
	struct grub_function *f = NULL;
	if (g->nfunctions++ < GRUB_FUNCTIONS_MAX)
		f = arena_alloc(&g->arena, sizeof(*f));
	if (!f) {
		grub_fail(g, -E2BIG);
		return;
	}
	f->name = arena_strndup(&g->arena, c->script->text + name->off, name->len);
	f->body = body;
	f->next = g->functions;
	g->functions = f;
}

static const struct grub_function *find_function(const struct grub *g, const char *name)
{
	const struct grub_function *f = g->functions;
	while (f && strcmp(f->name, name))
		f = f->next;
	return f;
}

static void call(struct grub *g, const struct grub_function *f, const struct grub_args *args)
{
	const struct grub_args *caller = g->params;
	g->params = args;
	grub_run(g, &f->body);
	g->params = caller;
	g->returning = false;
}

static void run_simple(struct grub *g, struct cursor *c, bool run)
{
	struct grub_body block;
	bool has_block = false;
	struct grub_args *args = new_args(g);
	if (!args)
		return;
	collect_words(g, c, running(g, run), args);
	if (peek(c) && peek(c)->kind == GRUB_TOK_OPEN) {
		block = take_block(g, c);
		has_block = true;
	}
	if (running(g, run) && args->argc) {
		const struct grub_function *f = find_function(g, args->argv[0]);
		if (f)
			call(g, f, args);
		else
			grub_command(g, args, has_block ? &block : NULL);
	}
	free(args);
}

static void run_command(struct grub *g, struct cursor *c, bool run)
{
	if (is_word(c, "if"))
		run_if(g, c, run);
	else if (is_word(c, "for"))
		run_for(g, c, run);
	else if (is_word(c, "while") || is_word(c, "until"))
		run_while(g, c, run);
	else if (is_word(c, "function"))
		define_function(g, c, run);
	else
		run_simple(g, c, run);
}

/* Up to the word or brace that ends the list, or to the end. */
static void run_list(struct grub *g, struct cursor *c, bool run)
{
	static const char *const ends[] = { "then", "elif", "else", "fi", "do", "done", NULL };
	if (++g->nesting > GRUB_NESTING_MAX)
		grub_fail(g, -E2BIG);
	for (skip_separators(c); peek(c) && grub_step(g, 1); skip_separators(c)) {
		if (is_one_of(c, ends) || peek(c)->kind == GRUB_TOK_CLOSE)
			break;
		run_command(g, c, run);
	}
	g->nesting--;
}

void grub_run(struct grub *g, const struct grub_body *body)
{
	struct cursor c = { body->script, body->from, body->to };
	run_list(g, &c, true);
	if (c.pos < c.end)
		grub_fail(g, -EINVAL);
}

int grub_source(struct grub *g, const char *name)
{
	struct grub_file file;
	char *text;
	size_t len;
	if (!grub_file_of(g, name, &file) || !grub_may_look(g))
		return -ENOENT;
	int err = g->ops->read(g->opaque, file.dev, file.path, &text, &len);
	if (err)
		return err;
	/* The tokens point into it for as long as the interpreter lives. */
	const char *copy = arena_strndup(&g->arena, text, len);
	free(text);
	const struct grub_script *s = g->arena.failed ? NULL : grub_lex(&g->arena, copy, len);
	if (s)
		grub_run(g, &(struct grub_body){ s, 0, s->ntoks });
	else
		grub_fail(g, -E2BIG);
	g->returning = false;
	return 0;
}
