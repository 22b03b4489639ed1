/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the GRUB interpreter:
 *
 *     grub_lex.c       text -> tokens
 *     grub_var.c       variables, and words with variables in them -> arguments
 *     grub_exec.c      control flow: if, for, while, functions, blocks
 *     grub_commands.c  commands
 *     grub_test.c      the "test" command
 *     grub.c           the menu: which entry, and what it boots
 */
#ifndef FIRMWARE_GRUB_PRIV_H
#define FIRMWARE_GRUB_PRIV_H

#include <stdint.h>

#include "firmware/arena.h"
#include "firmware/bls.h"
#include "firmware/grub.h"

enum {
	GRUB_ARENA_BYTES = 16 << 20,
	GRUB_STEPS_MAX = 300000, /* see grub_exec.c */
	GRUB_LOOKS_MAX = 512,
	GRUB_VARS_MAX = 256,
	GRUB_FUNCTIONS_MAX = 64,
	GRUB_NESTING_MAX = 48, /* of blocks, functions and sourced files */
	GRUB_WORD_CHARS = 8192,
	GRUB_ARGC_MAX = 256,
	GRUB_MENU_MAX = 1024, /* entries of one menu */
};

enum grub_tok_kind { GRUB_TOK_WORD, GRUB_TOK_SEP, GRUB_TOK_OPEN, GRUB_TOK_CLOSE };

struct grub_tok {
	enum grub_tok_kind kind;
	uint32_t off; /* of a word: with its quotes, in the script's text */
	uint32_t len;
};

struct grub_script {
	const char *text;
	const struct grub_tok *toks;
	size_t ntoks;
};

/* A range of tokens: a body between braces, or a whole script. */
struct grub_body {
	const struct grub_script *script;
	size_t from;
	size_t to;
};

struct grub_args {
	int argc;
	const char *argv[GRUB_ARGC_MAX];
};

struct grub_var {
	struct grub_var *next;
	const char *name;
	const char *value;
};

struct grub_function {
	struct grub_function *next;
	const char *name;
	struct grub_body body;
};

struct grub_entry {
	struct grub_entry *next;
	const char *title;
	const char *id;
	bool submenu;
	struct grub_body body;
	const struct bls_entry *bls; /* NULL: the body says what to boot */
};

struct grub_menu {
	struct grub_entry *first;
	struct grub_entry **tail;
	unsigned int n;
};

struct grub {
	const struct grub_ops *ops;
	void *opaque;
	struct arena arena;
	int err; /* a bound reached, or a syntax error: everything stops */

	struct grub_var *vars;
	unsigned int nvars;
	struct grub_function *functions;
	unsigned int nfunctions;
	const struct grub_args *params; /* of the function that runs; argv[0] is its name */
	struct grub_menu menu;
	struct grub_choice *choice; /* filled in by linux and initrd */

	unsigned int steps;
	unsigned int looks;
	unsigned int nesting;
	int status;	    /* of the last command, 0 is true */
	bool returning;	    /* out of a function */
	bool breaking;	    /* out of a loop */
	unsigned int loops; /* that are running */
};

/* -> NULL: the arena is exhausted. */
const struct grub_script *grub_lex(struct arena *arena, const char *text, size_t len);

const char *grub_get(const struct grub *g, const char *name); /* "" when there is none */
void grub_set(struct grub *g, const char *name, const char *value);
bool grub_is_name(const char *s, size_t len);
/* Adds the arguments that one word becomes. */
void grub_expand_word(struct grub *g, const struct grub_script *s, const struct grub_tok *t,
		      struct grub_args *args);
/* The same without quotes and splitting: only variables. */
const char *grub_expand_text(struct grub *g, const char *text);

void grub_run(struct grub *g, const struct grub_body *body);
/* A script file: read, lexed and run. -> 0, -errno of reading. */
int grub_source(struct grub *g, const char *name);

/* Runs a command; @block its body in braces, or NULL. Sets g->status. */
void grub_command(struct grub *g, const struct grub_args *args, const struct grub_body *block);
/* "(hd0,gpt1)/x" or "/x" on $root. -> false: not an absolute path, too long. */
bool grub_file_of(const struct grub *g, const char *name, struct grub_file *out);
bool grub_test(struct grub *g, int argc, const char *const *argv);

/* Bounds: false, and the script is stopped, when one is reached. */
bool grub_step(struct grub *g, unsigned int n);
bool grub_may_look(struct grub *g); /* before every use of the callbacks */
void grub_fail(struct grub *g, int err);

#endif
