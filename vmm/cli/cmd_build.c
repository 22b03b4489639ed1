/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm build: an image from a Charmfile. */
/*
 * How it works. The Charmfile is read and all that can be said against it is said first. Then there is one machine, over the
 * base, from the last state that is kept (build_cache.c) and not yet a different one: RAM and all, so that nothing is
 * booted. It does the steps that are left, and after each one its state is kept. At the end the machine powers off, its
 * disk is kept, too, and copied to its name. A build of which nothing has changed is that copy alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/lock.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/cli/build.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/cli/commands.h"

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

static int operand(void *cfg, const char *v)
{
	(void)cfg;
	log_error("unexpected argument '%s'; the Charmfile goes behind -f, the image behind -o", v);
	return -EINVAL;
}

static const struct option_spec options[] = {
	{ "file", 'f', "CHARMFILE", "the recipe; COPY's sources are beside it [Charmfile]",
	  opt_file },
	{ "output", 'o', "IMAGE", "the qcow2 image to make", opt_output },
	{ "no-cache", 0, NULL, "do every step anew", opt_no_cache },
	{ "debug", 0, NULL, "leave the machine running when a step fails", opt_debug },
	{ "time", 't', "TIME", "how long a step may take (60s, 5m, 2h): status 124 [1h]",
	  opt_time },
	{ "size", 's', "SIZE", "how large its disk is, and the file system in it [as FROM's]",
	  opt_size },
	{ "mem", 'm', "SIZE", "memory of the machine it is built in [1G]", opt_mem },
	{ "cpus", 'c', "N", "its vCPUs [1]", opt_cpus },
};

static const struct command_spec command = {
	.usage = "charmvm build [-f CHARMFILE] -o IMAGE [OPTION...]",
	.about = "Builds a disk image from a Charmfile, see Charmfile(5): its steps are done in a "
		 "machine, without\nroot on the host. What was done before and has not changed is "
		 "not done again.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = operand,
};

/* ---- before anything is done ---- */

static enum exit_status read_file(const char *path, char **text, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n = 0;
	*len = 0;
	*text = malloc(CHARMFILE_BYTES_MAX + 1);
	while (fd >= 0 && *text && *len <= CHARMFILE_BYTES_MAX &&
	       (n = read(fd, *text + *len, CHARMFILE_BYTES_MAX + 1 - *len)) > 0)
		*len += (size_t)n;
	if (fd < 0 || n < 0)
		log_error("%s: %s%s", path, strerror(errno),
			  errno == ENOENT ? "; say where the Charmfile is: -f FILE" : "");
	if (fd >= 0)
		close(fd);
	return fd < 0 || n < 0 || !*text ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

/* @path's directory with links resolved, and in *base the last part of @path. -> 0 or -errno. */
static int split_path(const char *path, char dir[PATH_MAX], const char **base)
{
	char copy[PATH_MAX];
	const char *slash = strrchr(path, '/');
	*base = slash ? slash + 1 : path;
	int n = snprintf(copy, sizeof(copy), "%.*s", slash ? (int)(slash - path) + 1 : 1,
			 slash ? path : ".");
	if (n >= (int)sizeof(copy))
		return -ENAMETOOLONG;
	return realpath(copy, dir) ? 0 : -errno;
}

/* Whether @b->out can be made in the end; one that is in use cannot. */
static enum exit_status check_output(struct build *b)
{
	struct stat st;
	int fd = open(b->out, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return EXIT_STATUS_OK;
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		log_error("-o %s: %s", b->out_given, fd < 0 ? strerror(errno) : "this is no file");
		if (fd >= 0)
			close(fd);
		return EXIT_STATUS_FILE;
	}
	int err = lock_image(fd, b->out_given, true);
	close(fd);
	return err ? EXIT_STATUS_IN_USE : EXIT_STATUS_OK;
}

static enum exit_status find_output(struct build *b)
{
	char dir[PATH_MAX];
	const char *base;
	int err = split_path(b->out_given, dir, &base);
	if (!err && access(dir, W_OK))
		err = -errno;
	if (!err && snprintf(b->out, sizeof(b->out), "%s/%s", strcmp(dir, "/") ? dir : "", base) >=
			    (int)sizeof(b->out))
		err = -ENAMETOOLONG;
	config_name_after(b->out_given, b->name);
	if (!err && !config_name_ok(b->name))
		err = -EISDIR;
	if (!err)
		return check_output(b);
	log_error("-o %s: %s", b->out_given, strerror(-err));
	return EXIT_STATUS_FILE;
}

static enum exit_status parse(struct build *b)
{
	char why[CHARMFILE_WHY_BYTES], *text = NULL;
	const char *base;
	size_t len;
	enum exit_status status = read_file(b->file, &text, &len);
	int err = status ? 0 : charmfile_parse(&b->cf, b->file, text, len, why);
	free(text);
	if (err)
		log_error("%s", *why ? why : strerror(-err));
	if (!status && !err) {
		err = split_path(b->file, b->context, &base);
		if (err)
			log_error("%s: %s", b->file, strerror(-err));
	}
	return status ? status : err ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

static enum exit_status plan(struct build *b)
{
	char why[CHARMFILE_WHY_BYTES], *finish;
	if (asprintf(&finish, "%s\n%s", build_finish_script, b->name) < 0)
		return EXIT_STATUS_FAILED;
	const struct plan_of of = { .cf = &b->cf,
				    .path = b->file,
				    .context = b->context,
				    .out = b->out,
				    .finish = finish };
	int err = plan_make(&b->plan, &of, why);
	free(finish);
	if (err)
		log_error("%s", *why ? why : strerror(-err));
	b->steps = b->plan.nsteps + 2; /* FROM, and the image itself */
	return err ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

static enum exit_status check_base(struct build *b)
{
	struct stat base, out;
	b->step = 1;
	build_say(b, &b->cf.steps[0], "");
	enum exit_status status = build_find_base(b);
	if (status)
		return status;
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
		b->step = i + 2;
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
		b->step = i + 2;
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
		b->step = b->steps;
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

static enum exit_status make(struct build *b)
{
	const char *const convert[] = { "image",     "convert", "-O",	"qcow2", "-l",
					b->plan.key, b->image,	b->out, NULL };
	enum exit_status status = build_cache_open(b);
	if (status)
		return status;
	bool finished = build_cache_has(b, b->plan.key);
	size_t kept = finished ? b->plan.nsteps : count_kept(b);
	say_kept(b, kept);
	if (!finished)
		status = run_machine(b, kept);
	if (!status && build_image_command(convert))
		status = EXIT_STATUS_FILE;
	if (!status)
		build_tell_use(b);
	return status;
}

static enum exit_status build(struct build *b)
{
	enum exit_status status = find_output(b);
	status = status ? status : parse(b);
	status = status ? status : plan(b);
	status = status ? status : check_base(b);
	status = status ? status : make(b);
	build_cache_close(b);
	plan_free(&b->plan);
	charmfile_free(&b->cf);
	return status;
}

int cmd_build(int argc, char **argv)
{
	struct build *b = calloc(1, sizeof(*b));
	int rest;
	if (!b)
		return EXIT_STATUS_FAILED;
	b->file = "Charmfile";
	b->mem = "1G";
	b->cpus = "1";
	b->time_s = TIME_DEFAULT_S;
	b->lock_fd = -1;
	int err = options_parse(&command, b, argc, argv, &rest);
	if (!err && rest < argc)
		err = operand(b, argv[rest]);
	if (!err && !b->out_given) {
		log_error("say what the image is to be called: charmvm build -o FILE.qcow2");
		err = -EINVAL;
	}
	signal(SIGPIPE, SIG_IGN);
	int status = err > 0 ? EXIT_STATUS_OK : err ? EXIT_STATUS_USAGE : (int)build(b);
	free(b);
	return status;
}
