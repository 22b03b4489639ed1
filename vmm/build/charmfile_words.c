/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a Charmfile, and what each takes. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "vmm/base/checked.h"
#include "vmm/base/options.h"
#include "vmm/build/charmfile_priv.h"

enum { USER_CHARS_MAX = 32 }; /* useradd(8) */

static const char *const words[CHARMFILE_WORDS + 1] = {
	[CHARMFILE_FROM] = "FROM",     [CHARMFILE_PACKAGES] = "PACKAGES",
	[CHARMFILE_RUN] = "RUN",       [CHARMFILE_COPY] = "COPY",
	[CHARMFILE_ENV] = "ENV",       [CHARMFILE_USER] = "USER",
	[CHARMFILE_EXPOSE] = "EXPOSE", [CHARMFILE_MEM] = "MEM",
	[CHARMFILE_CPUS] = "CPUS",     [CHARMFILE_ENTRYPOINT] = "ENTRYPOINT",
	[CHARMFILE_SHARE] = "SHARE",   [CHARMFILE_INCLUDE] = "INCLUDE",
};

/* Words of a Dockerfile that a Charmfile has not, and what does the same. */
static const char *const others[][2] = {
	{ "ADD", "COPY copies files, and RUN can fetch and unpack" },
	{ "ARG", "ENV sets a variable" },
	{ "CMD", "ENTRYPOINT is what starts with the machine" },
	{ "LABEL", "write a comment, which begins with #" },
	{ "WORKDIR", "begin a RUN with 'cd DIR &&'" },
	{ "VOLUME", "the machine's disk keeps everything" },
};

const char *charmfile_word_name(enum charmfile_word word)
{
	return words[word];
}

int charmfile_find_word(const struct charmfile_at *at, const char *name, enum charmfile_word *word)
{
	char upper[24] = "";
	for (size_t i = 0; i < sizeof(upper) - 1 && name[i]; i++)
		upper[i] = (char)toupper((unsigned char)name[i]);
	for (size_t i = 0; i < CHARMFILE_WORDS; i++) {
		if (strcasecmp(words[i], name) == 0) {
			*word = (enum charmfile_word)i;
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (strcasecmp(others[i][0], name) == 0)
			return charmfile_complain(at, "%s is not a Charmfile's: %s", others[i][0],
						  others[i][1]);
	const char *near = options_nearest(upper, words);
	if (near)
		return charmfile_complain(at, "unknown word '%.40s'; did you mean %s?", name, near);
	return charmfile_complain(
		at,
		"unknown word '%.40s'; a line begins with FROM, PACKAGES, RUN, COPY, ENV, "
		"USER, EXPOSE, MEM, CPUS, ENTRYPOINT or INCLUDE",
		name);
}

/* What a program of the guest will get as an argument: never an option. */
static bool is_package(const char *s)
{
	size_t name = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.+-:");
	if (name < 2 || !isalnum((unsigned char)*s))
		return false;
	if (!s[name])
		return true;
	const char *version = s + name + 1;
	return s[name] == '=' && isalnum((unsigned char)*version) &&
	       version[strspn(
		       version,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.+-:~")] ==
		       '\0';
}

static bool is_user(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	return n && !s[n] && n <= USER_CHARS_MAX && (islower((unsigned char)*s) || *s == '_');
}

static bool is_assignment(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
	return n && s[n] == '=' && !isdigit((unsigned char)*s);
}

static bool is_port(const char *s)
{
	char digits[6] = "";
	uint64_t port;
	size_t n = strspn(s, "0123456789");
	if (n >= sizeof(digits) ||
	    (s[n] && strcmp(s + n, "/tcp") != 0 && strcmp(s + n, "/udp") != 0))
		return false;
	memcpy(digits, s, n);
	return options_parse_uint(digits, 1, UINT16_MAX, &port) == 0;
}

/* Relative, and of no way out of the context; links in it are for whoever opens it to mind. */
static bool is_inside(const char *s)
{
	if (!*s || *s == '/')
		return false;
	while (*s) {
		size_t n = strcspn(s, "/");
		if (n == 2 && strncmp(s, "..", 2) == 0)
			return false;
		s += n + (s[n] == '/');
	}
	return true;
}

static int check_copy(const struct charmfile_at *at, const struct charmfile_step *s)
{
	if (strncmp(s->text, "--", 2) == 0)
		return charmfile_complain(
			at, "COPY %.60s: COPY has no options; chown and chmod go into a RUN",
			s->operands[0]);
	if (s->noperands < 2)
		return charmfile_complain(
			at, "COPY wants a source and a target: COPY notebooks /home/charm/");
	const char *target = s->operands[s->noperands - 1];
	for (size_t i = 0; i + 1 < s->noperands; i++)
		if (!is_inside(s->operands[i]))
			return charmfile_complain(
				at,
				"COPY %.80s: outside the context; sources are relative to its "
				"directory, without '..'",
				s->operands[i]);
	if (*target != '/')
		return charmfile_complain(
			at, "COPY: the target '%.80s' is to be an absolute path in the machine",
			target);
	if (s->noperands > 2 && target[strlen(target) - 1] != '/')
		return charmfile_complain(at, "COPY: several sources want a directory: '%.80s/'",
					  target);
	return 0;
}

static int check_number(const struct charmfile_at *at, const struct charmfile_step *s)
{
	uint64_t v;
	const char *text = s->operands[0];
	if (s->word == CHARMFILE_MEM) {
		bool ok = !options_parse_size(text, &v) && v >= CHARMFILE_MEM_MIN_MIB * MIB;
		return ok ? 0
			  : charmfile_complain(
				    at, "MEM %.40s: a size of 64M or more is wanted, such as 2G",
				    text);
	}
	if (options_parse_uint(text, 1, CHARMFILE_CPUS_MAX, &v))
		return charmfile_complain(at, "CPUS %.40s: a machine has 1 to %d vCPUs", text,
					  CHARMFILE_CPUS_MAX);
	return 0;
}

static int check_include(const struct charmfile_at *at, const struct charmfile_step *s)
{
	if (is_inside(s->operands[0]))
		return 0;
	return charmfile_complain(at,
				  "INCLUDE %.80s: outside the context; what is included is named "
				  "relative to its directory, without '..'",
				  s->operands[0]);
}

/* Each operand is to be of the kind that @is tells. */
static int check_each(const struct charmfile_at *at, const struct charmfile_step *s,
		      bool (*is)(const char *), const char *wanted)
{
	for (size_t i = 0; i < s->noperands; i++)
		if (!is(s->operands[i]))
			return charmfile_complain(at, "%s %.80s: %s", words[s->word],
						  s->operands[i], wanted);
	return 0;
}

static int check_operands(const struct charmfile_at *at, const struct charmfile_step *s)
{
	bool one = s->word == CHARMFILE_FROM || s->word == CHARMFILE_USER ||
		   s->word == CHARMFILE_MEM || s->word == CHARMFILE_CPUS ||
		   s->word == CHARMFILE_INCLUDE;
	if (!s->noperands || !*s->operands[0])
		return charmfile_complain(at, "%s: what it is to take is missing", words[s->word]);
	if (one && s->noperands > 1)
		return charmfile_complain(at, "%s takes one word; '%.80s' is too many",
					  words[s->word], s->operands[1]);
	switch (s->word) {
	case CHARMFILE_PACKAGES: return check_each(at, s, is_package, "not the name of a package");
	case CHARMFILE_ENV: return check_each(at, s, is_assignment, "NAME=VALUE is wanted");
	case CHARMFILE_USER: return check_each(at, s, is_user, "not the name of a user");
	case CHARMFILE_EXPOSE:
		return check_each(at, s, is_port, "a port is 1 to 65535, with /tcp or /udp");
	case CHARMFILE_COPY: return check_copy(at, s);
	case CHARMFILE_INCLUDE: return check_include(at, s);
	case CHARMFILE_MEM:
	case CHARMFILE_CPUS: return check_number(at, s);
	default: return 0;
	}
}

/* RUN and ENTRYPOINT: the shell of the machine reads the rest. */
static int check_command(const struct charmfile_at *at, const struct charmfile_step *s)
{
	const char *name = words[s->word];
	if (!*s->text)
		return charmfile_complain(at, "%s: the command is missing", name);
	if (strncmp(s->text, "[\"", 2) == 0)
		return charmfile_complain(at, "%s: write the command as in a shell, not as a list",
					  name);
	if (strncmp(s->text, "<<", 2) == 0)
		return charmfile_complain(at, "%s: no here-documents; end a line with \\ to go on",
					  name);
	return 0;
}

int charmfile_check_step(const struct charmfile_at *at, struct charmfile_step *s)
{
	if (s->word == CHARMFILE_SHARE)
		return charmfile_complain(
			at, "SHARE: machines have no shared directories yet; COPY puts files into "
			    "the image, 'charmvm cp' into a running machine");
	if (s->word == CHARMFILE_RUN || s->word == CHARMFILE_ENTRYPOINT)
		return check_command(at, s);
	int err = charmfile_split(at, s);
	return err ? err : check_operands(at, s);
}
