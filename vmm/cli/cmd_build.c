/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm build: an image from a Charmfile. */
/*
 * How it works. The Charmfile is read and all that can be said against it is said first. Then there is one machine, over the
 * base, from the last state that is kept (build_cache.c) and not yet a different one: RAM and all, so that nothing is
 * booted. It does the steps that are left, and after each one its state is kept. At the end the machine powers off, its
 * disk is kept, too, and copied to its name; with --ready, it is booted once more before (build_ready.c). A build of which nothing has changed is that copy alone; so is one of a base
 * of the guest kit and packages only, which needs no machine.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/cli/build.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/cli/commands.h"
#include "vmm/paths.h"
#include "vmm/x86/cpu_model.h"

enum { TIME_DEFAULT_S = 3600 };

/* ---- the command line ---- */

static int opt_file(void *cfg, const char *v)
{
	((struct build *)cfg)->file = v;
	return 0;
}

static int opt_output(void *cfg, const char *v)
{
	((struct build *)cfg)->out_given = v;
	return 0;
}

static int opt_time(void *cfg, const char *v)
{
	return agent_parse_time("time", v, &((struct build *)cfg)->time_s);
}

static int opt_size(void *cfg, const char *v)
{
	uint64_t *bytes = &((struct build *)cfg)->disk_bytes;
	if (!options_parse_size(v, bytes) && *bytes && *bytes <= INT64_MAX / 2)
		return 0;
	log_error("--size %s: a size is wanted, such as 20G", v);
	return -EINVAL;
}

static int opt_mem(void *cfg, const char *v)
{
	((struct build *)cfg)->mem = v; /* judged as a machine's own option is */
	return 0;
}

static int opt_cpus(void *cfg, const char *v)
{
	((struct build *)cfg)->cpus = v;
	return 0;
}

static int opt_no_cache(void *cfg, const char *v)
{
	(void)v;
	((struct build *)cfg)->no_cache = true;
	return 0;
}

static int opt_debug(void *cfg, const char *v)
{
	(void)v;
	((struct build *)cfg)->debug = true;
	return 0;
}

static int opt_cached(void *cfg, const char *v)
{
	(void)v;
	((struct build *)cfg)->cached = true;
	return 0;
}

static int opt_ready(void *cfg, const char *v)
{
	(void)v;
	((struct build *)cfg)->ready = true;
	return 0;
}

static int opt_cpu(void *cfg, const char *v)
{
	enum x86_cpu_model model;
	((struct build *)cfg)->ready_cpu = v;
	if (x86_cpu_model_parse(v, &model))
		return 0;
	log_error("--cpu %s: 'host', 'baseline' (x86-64-v2) or 'v3' (x86-64-v3)", v);
	return -EINVAL;
}

static int operand(void *cfg, const char *v)
{
	struct build *b = cfg;
	if (!b->recipe && !b->file) {
		b->recipe = v;
		return 0;
	}
	log_error("unexpected argument '%s'; one recipe of the guest kit, or -f and a Charmfile",
		  v);
	return -EINVAL;
}

static const struct option_spec options[] = {
	{ "file", 'f', "CHARMFILE", "the recipe; COPY's sources are beside it [Charmfile]",
	  opt_file },
	{ "output", 'o', "IMAGE", "the qcow2 image to make", opt_output },
	{ "cached", 0, NULL, "keep RECIPE's image in the cache, and print where", opt_cached },
	{ "no-cache", 0, NULL, "do every step anew", opt_no_cache },
	{ "debug", 0, NULL, "leave the machine running when a step fails", opt_debug },
	{ "time", 't', "TIME", "how long a step may take (60s, 5m, 2h): status 124 [1h]",
	  opt_time },
	{ "size", 's', "SIZE", "how large its disk is, and the file system in it [as FROM's]",
	  opt_size },
	{ "ready", 0, NULL, "have it booted: its first start goes on from there", opt_ready },
	{ "cpu", 0, "MODEL", "with --ready: what processor that saw, as of charmvm --cpu [host]",
	  opt_cpu },
	{ "mem", 'm', "SIZE", "memory of the machine it is built in [1G]", opt_mem },
	{ "cpus", 'c', "N", "its vCPUs [1]", opt_cpus },
};

static const struct command_spec command = {
	.usage = "charmvm build [RECIPE | -f CHARMFILE] [-o IMAGE | --cached] [OPTION...]",
	.about = "Builds a disk image from a Charmfile, see Charmfile(5), or a recipe of the guest "
		 "kit (charmed311): its\nsteps are done in a machine, without root on the host. "
		 "What "
		 "was done before and has not changed is not\ndone again.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = operand,
};

/* ---- before anything is done ---- */

static enum exit_status plan(struct build *b)
{
	char why[CHARMFILE_WHY_BYTES], *finish;
	if (asprintf(&finish, "%s\n%s", build_finish_script, b->name) < 0)
		return EXIT_STATUS_FAILED;
	const struct plan_of of = { .cf = &b->cf,
				    .context = b->context,
				    .out = b->out,
				    .finish = finish,
				    .in_base = b->in_base };
	int err = plan_make(&b->plan, &of, why);
	free(finish);
	if (err)
		log_error("%s", *why ? why : strerror(-err));
	b->steps = b->in_base + b->plan.nsteps + 2 + b->ready; /* FROM, and the image itself */
	return err ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

static enum exit_status check_base(struct build *b)
{
	struct stat base, out;
	b->step = 1;
	build_say(b, &b->cf.steps[0], "");
	enum exit_status status = build_make_base(b);
	if (status)
		return status;
	for (size_t i = 1; i <= b->in_base; i++) {
		b->step++;
		build_say(b, &b->cf.steps[i], " (in the base)");
	}
	if (!stat(b->base, &base) && !stat(b->out, &out) && base.st_dev == out.st_dev &&
	    base.st_ino == out.st_ino) {
		log_error("-o %s: it is what the image is made from (FROM); take another name",
			  b->out_given);
		return EXIT_STATUS_FILE;
	}
	return EXIT_STATUS_OK;
}

/* ---- doing it ---- */

/* How many steps need not be done. */
static size_t count_kept(const struct build *b)
{
	size_t n = b->plan.nsteps;
	while (n && !build_cache_has(b, b->plan.steps[n - 1].key))
		n--;
	return n;
}

static void say_kept(struct build *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		b->step = b->in_base + i + 2;
		build_say(b, b->plan.steps[i].step, " (cached)");
	}
}

static enum exit_status start(struct build *b, size_t kept)
{
	const char *state = kept			       ? b->plan.steps[kept - 1].key
			    : build_cache_has(b, BUILD_BOOTED) ? BUILD_BOOTED
							       : NULL;
	if (!state)
		fprintf(stderr, "      booting it, once\n");
	enum exit_status status = build_machine_start(b, state);
	if (!status && !state)
		status = build_machine_keep(b, BUILD_BOOTED);
	return status;
}

static enum exit_status do_steps(struct build *b, size_t first)
{
	enum exit_status status = EXIT_STATUS_OK;
	for (size_t i = first; i < b->plan.nsteps && !status; i++) {
		uint64_t start_ns = clock_now_ns();
		b->step = b->in_base + i + 2;
		build_say(b, b->plan.steps[i].step, "");
		status = build_do_step(b, &b->plan.steps[i]);
		if (!status)
			fprintf(stderr, "      done in %.1f s\n",
				(double)(clock_now_ns() - start_ns) / (double)NS_PER_S);
	}
	return status;
}

/* Where a step has failed with @status and the guest is there. -> whether it is left */
static bool leave_machine(struct build *b, enum exit_status status)
{
	bool there = status == EXIT_STATUS_FAILED || status == EXIT_STATUS_TIMEOUT ||
		     status == EXIT_STATUS_OUT_OF_MEMORY;
	if (!b->debug || !b->runs || !*b->vm || !there)
		return false;
	own_machine_let_go(&b->own);
	b->runs = false;
	fprintf(stderr,
		"The machine is as the step left it: 'charmvm exec %s --user root' enters it, "
		"'charmvm stop %s --now' ends it.\n",
		b->vm, b->vm);
	return true;
}

static enum exit_status run_machine(struct build *b, size_t kept)
{
	const char *const snapshot[] = { "image",     "snapshot", "-q", "-c",
					 b->plan.key, b->image,	  NULL };
	enum exit_status status = start(b, kept);
	status = status ? status : do_steps(b, kept);
	if (!status) {
		b->step = b->steps - b->ready;
		fprintf(stderr, "[%zu/%zu] finishing\n", b->step, b->steps);
		status = build_finish(b);
	}
	bool left = status && leave_machine(b, status);
	build_machine_stop(b);
	if (status && !left)
		build_cache_make_room(b);
	if (!status && build_image_command(snapshot))
		status = EXIT_STATUS_FILE;
	return status;
}

/* Nothing is to be done that the guest kit has not. */
static enum exit_status make_from_base(struct build *b)
{
	const char *const convert[] = { "image", "convert", "-O", "qcow2", b->base, b->out, NULL };
	if (b->cached) {
		puts(b->base);
		return EXIT_STATUS_OK;
	}
	if (build_image_command(convert))
		return EXIT_STATUS_FILE;
	build_tell_use(b);
	return EXIT_STATUS_OK;
}

static enum exit_status make_in_machine(struct build *b)
{
	enum exit_status status = build_cache_open(b);
	if (status)
		return status;
	bool finished = build_cache_has(b, b->plan.key);
	size_t kept = finished ? b->plan.nsteps : count_kept(b);
	say_kept(b, kept);
	if (!finished)
		status = run_machine(b, kept);
	if (!status && b->ready)
		status = build_make_ready(b);
	if (!status && build_give_away(b))
		status = EXIT_STATUS_FILE;
	if (!status)
		build_tell_use(b);
	return status;
}

/* Where the recipe's image is kept: beside the bases, by what it is made from and how. */
static enum exit_status find_cached(struct build *b)
{
	char dir[PATH_MAX], file[CONFIG_NAME_MAX + PLAN_KEY_TEXT + 16], key[PLAN_KEY_TEXT];
	char what[PLAN_KEY_TEXT + 24];
	snprintf(what, sizeof(what), "%s%s%s", b->plan.key, b->ready ? " ready " : "",
		 b->ready_cpu ? b->ready_cpu : "");
	plan_base_key(b->base, what, key);
	snprintf(file, sizeof(file), "%s-%s.qcow2", b->name, key);
	int err = paths_cache_dir("images", dir);
	err = err ? err : paths_join(b->out, dir, file, NULL);
	b->out_given = b->out;
	if (err)
		log_error("the cache of images: %s", strerror(-err));
	return err ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

static enum exit_status make(struct build *b)
{
	if (b->from == BUILD_FROM_BASE && plan_is_empty(&b->plan) && !b->disk_bytes && !b->ready)
		return make_from_base(b);
	if (!b->cached)
		return make_in_machine(b);
	enum exit_status status = find_cached(b);
	if (!status && (b->no_cache || access(b->out, R_OK)))
		status = make_in_machine(b);
	if (!status)
		puts(b->out);
	return status;
}

static enum exit_status build(struct build *b)
{
	enum exit_status status = build_find_recipe(b);
	if (!status)
		config_name_after(b->cached ? b->recipe : b->out_given, b->name);
	status = status ? status : build_find_output(b);
	status = status ? status : build_read(b);
	status = status ? status : build_find_base(b);
	status = status ? status : plan(b);
	status = status ? status : check_base(b);
	status = status ? status : make(b);
	build_cache_close(b);
	plan_free(&b->plan);
	charmfile_free(&b->cf);
	return status;
}

/* What options cannot be without, or beside, each other. */
static int check_words(struct build *b)
{
	if (b->recipe && b->file)
		log_error("%s is a recipe of the guest kit, -f %s another one; one of them",
			  b->recipe, b->file);
	else if (b->cached && (!b->recipe || b->out_given))
		log_error("--cached is for a recipe of the guest kit, and without -o");
	else if (b->ready_cpu && !b->ready)
		log_error("--cpu goes with --ready: steps have this host's processor");
	else if (!b->recipe && !b->out_given)
		log_error("say what the image is to be called: charmvm build -o FILE.qcow2");
	else
		return 0;
	return -EINVAL;
}

int cmd_build(int argc, char **argv)
{
	struct build *b = calloc(1, sizeof(*b));
	int rest;
	if (!b)
		return EXIT_STATUS_FAILED;
	b->mem = "1G";
	b->cpus = "1";
	b->time_s = TIME_DEFAULT_S;
	b->lock_fd = -1;
	int err = options_parse(&command, b, argc, argv, &rest);
	if (!err && rest < argc)
		err = operand(b, argv[rest]);
	err = err ? err : check_words(b);
	if (!b->file)
		b->file = "Charmfile";
	signal(SIGPIPE, SIG_IGN);
	int status = err > 0 ? EXIT_STATUS_OK : err ? EXIT_STATUS_USAGE : (int)build(b);
	free(b);
	return status;
}
