/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines: one table of options for each command, from which parsing, the help text and the
 * nearest-name suggestion all come. Main thread, at start-up.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct option_spec {
	const char *name; /* without the dashes */
	char letter;	  /* the short form, or 0 */
	const char *arg;  /* what its value is called in the help, or NULL: it takes none */
	const char *help; /* one line */
	/* Takes the value (NULL for an option that has none) into the command's struct. -> 0, or -EINVAL
	 * after it has logged what is wrong with the value. */
	int (*apply)(void *cfg, const char *value);
};

struct command_spec {
	const char *usage; /* "charmvm --image FILE [OPTION...]" */
	const char *about; /* a line or two */
	const struct option_spec *options;
	size_t noptions;
	/* The first word that is no option, or NULL when the command takes none. */
	int (*operand)(void *cfg, const char *value);
};

/*
 * Applies argv[1..argc-1] to @cfg. A word after "--" is an operand. "--help" prints the help and
 * gives 1. -> 0, 1 (help was printed), -EINVAL (one line was logged).
 * *rest: the index of the first word behind "--", or argc.
 */
int options_parse(const struct command_spec *cmd, void *cfg, int argc, char **argv, int *rest);
/* The same, with a mark in @given, which has a place for each option, for those that are there. */
int options_parse_noting(const struct command_spec *cmd, void *cfg, int argc, char **argv,
			 int *rest, bool *given);

/* The help text, on standard output. */
void options_help(const struct command_spec *cmd);

/* One line of a list of commands or verbs: its name, and the first sentence of @about. On standard output. */
void options_help_verb(const char *name, const char *about);

/* The name of @names (NULL-terminated) that is nearest to @word, or NULL when none is near. */
const char *options_nearest(const char *word, const char *const *names);

/* "512M", "2G", "64MiB", "1048576": bytes, with binary units. -> 0, or -EINVAL (not logged). */
int options_parse_size(const char *s, uint64_t *bytes);
/* A decimal number of @min..@max. -> 0, or -EINVAL (not logged). */
int options_parse_uint(const char *s, uint64_t min, uint64_t max, uint64_t *v);

#endif
