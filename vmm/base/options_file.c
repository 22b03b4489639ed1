/* SPDX-License-Identifier: Apache-2.0 */
/* Options out of a file. */
#include "vmm/base/options_file.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "vmm/base/log.h"

struct place {
	const struct options_file *file;
	unsigned int line;
};

/* Without blanks at either end, in place. */
static char *strip(char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	char *end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return s;
}

static bool is_one_of(const char *name, const char *const *names)
{
	while (*names && strcmp(*names, name) != 0)
		names++;
	return *names;
}

static int complain(const struct place *at, const char *key, const char *what)
{
	log_error("%s:%u: '%s': %s", at->file->path, at->line, key, what);
	return -EINVAL;
}

static int unknown(const struct place *at, const char *key)
{
	const char *near = options_nearest(key, at->file->keys);
	if (!near)
		return complain(at, key, "there is no such key; 'man charmvm' has them: FILES");
	log_error("%s:%u: there is no key '%s'; did you mean '%s'?", at->file->path, at->line, key,
		  near);
	return -EINVAL;
}

/* One without a value: yes or no. */
static int apply_flag(const struct place *at, const struct option_spec *o, void *cfg,
		      const char *value)
{
	if (strcmp(value, "yes") == 0)
		return o->apply(cfg, NULL);
	return strcmp(value, "no") == 0 ? 0 : complain(at, o->name, "yes or no is wanted");
}

static int apply_line(const struct place *at, const struct command_spec *cmd, void *cfg, char *line,
		      bool *given)
{
	char *value = strchr(line, '=');
	if (!value)
		return complain(at, line, "a line is key = value, or a comment that begins with #");
	*value++ = '\0';
	char *key = strip(line);
	value = strip(value);
	size_t i = 0;
	while (i < cmd->noptions && strcmp(cmd->options[i].name, key) != 0)
		i++;
	if (i == cmd->noptions || !is_one_of(key, at->file->keys))
		return unknown(at, key);
	if (given[i] && !is_one_of(key, at->file->repeated))
		return 0;
	given[i] = true;
	const struct option_spec *o = &cmd->options[i];
	int err = o->arg ? o->apply(cfg, value) : apply_flag(at, o, cfg, value);
	if (err && o->arg)
		log_error("%s:%u: that is in this line", at->file->path, at->line);
	return err;
}

int options_apply_text(const struct command_spec *cmd, void *cfg, char *text,
		       const struct options_file *file, bool *given)
{
	struct place at = { .file = file };
	int err = 0;
	while (text && !err) {
		char *next = strchr(text, '\n');
		if (next)
			*next++ = '\0';
		at.line++;
		char *line = strip(text);
		if (*line && *line != '#')
			err = apply_line(&at, cmd, cfg, line, given);
		text = next;
	}
	return err;
}
