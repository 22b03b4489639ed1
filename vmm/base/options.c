/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines. */
#include "vmm/base/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"

enum { WORD_MAX = 64, NEAR_DISTANCE = 3, NAMES_MAX = 64, HELP_COLUMN = 30 };

/* Edit distance (insert, delete, replace) of two words, each at most WORD_MAX long. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned int row[WORD_MAX + 1];
	size_t na = strnlen(a, WORD_MAX), nb = strnlen(b, WORD_MAX);
	for (size_t j = 0; j <= nb; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned int diagonal = row[0];
		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= nb; j++) {
			unsigned int replace = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			unsigned int grow = MIN(row[j], row[j - 1]) + 1;
			row[j] = MIN(replace, grow);
		}
	}
	return row[nb];
}

const char *options_nearest(const char *word, const char *const *names)
{
	const char *best = NULL;
	unsigned int best_distance = NEAR_DISTANCE + 1;
	for (; *names; names++) {
		unsigned int d = distance(word, *names);
		if (d < best_distance && d < strlen(*names)) {
			best = *names;
			best_distance = d;
		}
	}
	return best;
}

/* The words at the head of its usage, "charmvm image check": what --help is given to. -> how long. */
static int name_bytes(const struct command_spec *cmd)
{
	const char *s = cmd->usage;
	int n = 0;
	while (islower((unsigned char)s[n]) || (n && s[n] == '-' && s[n - 1] != ' ') ||
	       (s[n] == ' ' && islower((unsigned char)s[n + 1])))
		n++;
	return n;
}

static void complain_unknown(const struct command_spec *cmd, const char *word, size_t len)
{
	const char *names[NAMES_MAX + 1] = { NULL };
	char name[WORD_MAX + 1];
	snprintf(name, sizeof(name), "%.*s", (int)MIN(len, (size_t)WORD_MAX), word);
	for (size_t i = 0; i < cmd->noptions && i < NAMES_MAX; i++)
		names[i] = cmd->options[i].name;
	const char *near = options_nearest(name, names);
	if (near)
		log_error("unknown option --%s; did you mean --%s?", name, near);
	else
		log_error("unknown option --%s; see %.*s --help", name, name_bytes(cmd),
			  cmd->usage);
}

static const struct option_spec *by_name(const struct command_spec *cmd, const char *s, size_t len)
{
	for (size_t i = 0; i < cmd->noptions; i++)
		if (strlen(cmd->options[i].name) == len && !memcmp(cmd->options[i].name, s, len))
			return &cmd->options[i];
	return NULL;
}

static const struct option_spec *by_letter(const struct command_spec *cmd, char c)
{
	for (size_t i = 0; i < cmd->noptions; i++)
		if (c && cmd->options[i].letter == c)
			return &cmd->options[i];
	return NULL;
}

/* @value is what stood in the same word, or NULL; the next word is taken where one is needed. */
static int apply(const struct option_spec *o, void *cfg, const char *value, int argc, char **argv,
		 int *i)
{
	if (!o->arg && value) {
		log_error("--%s takes no value", o->name);
		return -EINVAL;
	}
	if (o->arg && !value) {
		if (*i + 1 >= argc) {
			log_error("--%s needs a value: --%s %s", o->name, o->name, o->arg);
			return -EINVAL;
		}
		value = argv[++*i];
	}
	return o->apply(cfg, value);
}

static int parse_long(const struct command_spec *cmd, void *cfg, int argc, char **argv, int *i,
		      bool *given)
{
	const char *word = argv[*i] + 2;
	const char *eq = strchr(word, '=');
	size_t len = eq ? (size_t)(eq - word) : strlen(word);
	if (len == 4 && !memcmp(word, "help", 4)) {
		options_help(cmd);
		return 1;
	}
	const struct option_spec *o = by_name(cmd, word, len);
	if (!o) {
		complain_unknown(cmd, word, len);
		return -EINVAL;
	}
	given[o - cmd->options] = true;
	return apply(o, cfg, eq ? eq + 1 : NULL, argc, argv, i);
}

/* Letters may stand together; the last one may have its value in the same word. */
static int parse_short(const struct command_spec *cmd, void *cfg, int argc, char **argv, int *i,
		       bool *given)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		if (*p == 'h') {
			options_help(cmd);
			return 1;
		}
		const struct option_spec *o = by_letter(cmd, *p);
		if (!o) {
			log_error("unknown option -%c; see %.*s --help", *p, name_bytes(cmd),
				  cmd->usage);
			return -EINVAL;
		}
		given[o - cmd->options] = true;
		bool takes_rest = o->arg && p[1];
		int err = apply(o, cfg, takes_rest ? p + 1 : NULL, argc, argv, i);
		if (err || o->arg)
			return err;
	}
	return 0;
}

int options_parse(const struct command_spec *cmd, void *cfg, int argc, char **argv, int *rest)
{
	bool given[NAMES_MAX];
	assert(cmd->noptions <= NAMES_MAX);
	return options_parse_noting(cmd, cfg, argc, argv, rest, given);
}

int options_parse_noting(const struct command_spec *cmd, void *cfg, int argc, char **argv,
			 int *rest, bool *given)
{
	*rest = argc;
	for (int i = 1; i < argc; i++) {
		int err;
		if (!strcmp(argv[i], "--")) {
			*rest = i + 1;
			return 0;
		}
		if (!strncmp(argv[i], "--", 2)) {
			err = parse_long(cmd, cfg, argc, argv, &i, given);
		} else if (argv[i][0] == '-' && argv[i][1]) {
			err = parse_short(cmd, cfg, argc, argv, &i, given);
		} else if (cmd->operand) {
			err = cmd->operand(cfg, argv[i]);
		} else {
			log_error("unexpected argument '%s'; see %.*s --help", argv[i],
				  name_bytes(cmd), cmd->usage);
			err = -EINVAL;
		}
		if (err)
			return err;
	}
	return 0;
}

void options_help(const struct command_spec *cmd)
{
	printf("Usage: %s\n\n%s\n\nOptions:\n", cmd->usage, cmd->about);
	for (size_t i = 0; i < cmd->noptions; i++) {
		const struct option_spec *o = &cmd->options[i];
		char left[WORD_MAX];
		char letter[5] = "    ";
		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		snprintf(left, sizeof(left), "  %s--%s%s%s", letter, o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		printf("%-*s", HELP_COLUMN, left);
		if (strlen(left) >= HELP_COLUMN)
			printf("\n%*s", HELP_COLUMN, "");
		printf(" %s\n", o->help);
	}
	printf("  -h, --help%*s this text\n", HELP_COLUMN - 12, "");
}

void options_help_verb(const char *name, const char *about)
{
	const char *end = strstr(about, ". ");
	int len = end ? (int)(end - about) : (int)strcspn(about, ".");
	printf("  %-11s %.*s\n", name, len, about);
}

int options_parse_uint(const char *s, uint64_t min, uint64_t max, uint64_t *v)
{
	char *end;
	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	unsigned long long n = strtoull(s, &end, 10);
	if (errno || *end || n < min || n > max)
		return -EINVAL;
	*v = n;
	return 0;
}

/* The power of 1024 that a unit stands for, or -1. */
static int unit_power(const char *unit)
{
	static const char letters[] = "KMGTPE";
	if (!*unit || !strcasecmp(unit, "B"))
		return 0;
	const char *at = strchr(letters, toupper((unsigned char)*unit));
	if (!at || (unit[1] && strcasecmp(unit + 1, "B") && strcasecmp(unit + 1, "iB")))
		return -1;
	return (int)(at - letters) + 1;
}

int options_parse_size(const char *s, uint64_t *bytes)
{
	char *end;
	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	unsigned long long n = strtoull(s, &end, 10);
	int power = unit_power(end);
	if (errno || power < 0)
		return -EINVAL;
	uint64_t v = n;
	for (; power; power--)
		if (!ck_mul(v, KIB, &v))
			return -EINVAL;
	*bytes = v;
	return 0;
}
