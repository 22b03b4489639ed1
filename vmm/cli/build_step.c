/* SPDX-License-Identifier: Apache-2.0 */
/* One instruction of a Charmfile, done in the machine. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/cli/build.h"
#include "vmm/cli/cmd_agent.h"

enum { SHOWN_CHARS = 60 };

/* Nothing of the lists and archives stays: the next PACKAGES fetches what is there then. */
static const char install[] = "export DEBIAN_FRONTEND=noninteractive\n"
			      "apt-get update -q -o Acquire::Languages=none &&\n"
			      "	apt-get install -y -q --no-install-recommends -- \"$@\" &&\n"
			      "	apt-get clean && rm -rf /var/lib/apt/lists/*\n";

/* A command that has filled the disk says so in its own words, or not at all. */
static const char is_disk_full[] = "set -- $(df -kP / | tail -n 1) && [ \"$4\" -lt 1024 ]\n";

/* ---- what people are told ---- */

/* The beginning of the text, without what a terminal would obey. */
static void show(const struct charmfile_step *s, char out[SHOWN_CHARS + 4])
{
	int n = snprintf(out, SHOWN_CHARS + 1, "%s", s->text);
	if (n > SHOWN_CHARS)
		memcpy(out + SHOWN_CHARS, "...", 4);
	for (char *p = out; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

void build_say(const struct build *b, const struct charmfile_step *step, const char *what)
{
	char text[SHOWN_CHARS + 4];
	show(step, text);
	fprintf(stderr, "[%zu/%zu] %s %s%s\n", b->step, b->steps, charmfile_word_name(step->word),
		text, what);
}

static bool was_interrupted(int status)
{
	return status == EXIT_STATUS_SIGNAL + SIGINT || status == EXIT_STATUS_SIGNAL + SIGTERM ||
	       status == EXIT_STATUS_SIGNAL + SIGHUP;
}

static bool disk_is_full(struct build *b)
{
	static const char *const no_words[] = { NULL };
	b->time_s = b->time_s ? b->time_s : 60;
	build_machine_set_deadline(b);
	return build_machine_script(b, NULL, NULL, is_disk_full, no_words) == 0;
}

enum exit_status build_step_failed(struct build *b, const struct charmfile_step *step, int status)
{
	char at[PATH_MAX + 128], text[SHOWN_CHARS + 4];
	show(step, text);
	snprintf(at, sizeof(at), "%s:%u: %s %s", step->path, step->line,
		 charmfile_word_name(step->word), text);
	if (status == EXIT_STATUS_TIMEOUT) {
		log_error("%s: not done after %llu s; --time gives it longer", at,
			  (unsigned long long)b->time_s);
		return EXIT_STATUS_TIMEOUT;
	}
	if (status == EXIT_STATUS_GUEST_GONE || status == EXIT_STATUS_OUT_OF_MEMORY) {
		log_error("%s: %s", at,
			  status == EXIT_STATUS_GUEST_GONE ? "the machine ended in it"
							   : "out of memory");
		return (enum exit_status)status;
	}
	if (was_interrupted(status)) {
		log_error("%s: interrupted", at);
		return (enum exit_status)status;
	}
	if (build_cache_is_full(b)) /* the guest was told of I/O errors, and may say anything */
		log_error("%s: status %d; the host has no room left where %s is", at, status,
			  b->image);
	else
		log_error(disk_is_full(b) ? "%s: status %d; the machine's disk is full: --size "
					    "makes it larger"
					  : "%s: failed with status %d",
			  at, status);
	return EXIT_STATUS_FAILED;
}

/* ---- COPY ---- */

/* "." and "DIR/.": what is in it, and not the directory itself. */
static bool means_contents(const char *source)
{
	size_t len = strlen(source);
	return !strcmp(source, ".") || (len > 1 && !strcmp(source + len - 2, "/."));
}

static int copy_contents(struct build *b, const char *user, const char *dir, const char *target)
{
	char path[PATH_MAX];
	DIR *d = opendir(dir);
	const struct dirent *e;
	int status = d ? 0 : EXIT_STATUS_FAILED;
	while (d && !status && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		int n = snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		status = n < (int)sizeof(path)
				 ? (int)agent_copy_in(&b->own.link, user, path, target)
				 : EXIT_STATUS_FAILED;
	}
	if (d)
		closedir(d);
	return status;
}

/* The directory that the copies go into, or that the one of another name is in. */
static int make_target(struct build *b, const struct plan_step *ps, const char *target)
{
	char dir[PATH_MAX];
	const char *const argv[] = { "mkdir", "-p", "--", dir, NULL };
	snprintf(dir, sizeof(dir), "%s", target);
	if (!means_contents(ps->step->operands[0]) && dir[strlen(dir) - 1] != '/')
		*(strrchr(dir, '/') + 1) = '\0';
	return build_machine_call(b, ps->user, NULL, argv);
}

static int copy(struct build *b, const struct plan_step *ps)
{
	const struct charmfile_step *s = ps->step;
	const char *target = s->operands[s->noperands - 1];
	const char *user = ps->user ? ps->user : "root";
	char path[PATH_MAX];
	int status = make_target(b, ps, target);
	for (size_t i = 0; i + 1 < s->noperands && !status; i++) {
		const char *source = s->operands[i];
		int n = snprintf(path, sizeof(path), "%s/%s", b->context, source);
		if (n >= (int)sizeof(path))
			return EXIT_STATUS_FAILED;
		status = means_contents(source)
				 ? copy_contents(b, user, path, target)
				 : (int)agent_copy_in(&b->own.link, user, path, target);
	}
	return status;
}

/* ---- all of them ---- */

static int run(struct build *b, const struct plan_step *ps)
{
	static const char *const no_words[] = { NULL };
	const char *words[CHARMFILE_OPERANDS_MAX + 1] = { NULL };
	const struct charmfile_step *s = ps->step;
	switch (s->word) {
	case CHARMFILE_COPY: return copy(b, ps);
	case CHARMFILE_PACKAGES:
		for (size_t i = 0; i < s->noperands; i++)
			words[i] = s->operands[i];
		return build_machine_script(b, NULL, ps->env, install, words);
	default: return build_machine_script(b, ps->user, ps->env, s->text, no_words);
	}
}

enum exit_status build_do_step(struct build *b, const struct plan_step *ps)
{
	build_machine_set_deadline(b);
	int status = run(b, ps);
	if (status)
		return build_step_failed(b, ps->step, status);
	enum exit_status kept = build_machine_keep(b, ps->key);
	if (kept)
		log_error("%s:%u: the state after it cannot be kept in %s", ps->step->path,
			  ps->step->line, b->image);
	return kept;
}
