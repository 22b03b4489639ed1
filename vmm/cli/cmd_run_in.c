/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm run: a command in a machine of its own, which is thrown away after it. */
/*
 * How it works. Two processes. The child is the machine (own_machine.h), with every disk under an overlay without a name
 * and no console. The parent copies in, runs the command, copies out, as exec and cp do, and ends when the machine has let go
 * of all that others could see. Nothing of the machine has a name but
 * its record and socket, which go with it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/agent/agent_call.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/own_machine.h"
#include "vmm/config.h"

enum { COPIES_MAX = 16 };

struct copies {
	struct {
		char *from;
		char *to;
	} list[COPIES_MAX];
	unsigned int n;
};

struct run_in {
	struct machine_config machine; /* first: its options' functions take this for it */
	uint64_t time_s;
	const char *user;
	struct copies in;
	struct copies out;
	struct own_machine own;
};

/* ---- the command line ---- */

static int add_copy(struct copies *c, const char *option, const char *v)
{
	char *from = strdup(v);
	char *colon = from ? strchr(from, ':') : NULL;
	if (colon && colon != from && colon[1] && c->n < COPIES_MAX) {
		*colon = '\0';
		c->list[c->n].from = from;
		c->list[c->n++].to = colon + 1;
		return 0;
	}
	free(from);
	if (c->n == COPIES_MAX)
		log_error("--%s %s: at most %d of them", option, v, COPIES_MAX);
	else
		log_error("--%s %s: SOURCE:TARGET is wanted", option, v);
	return -EINVAL;
}

static int opt_copy_in(void *cfg, const char *v)
{
	return add_copy(&((struct run_in *)cfg)->in, "copy-in", v);
}

static int opt_copy_out(void *cfg, const char *v)
{
	return add_copy(&((struct run_in *)cfg)->out, "copy-out", v);
}

static int opt_time(void *cfg, const char *v)
{
	return agent_parse_time("time", v, &((struct run_in *)cfg)->time_s);
}

static int opt_user(void *cfg, const char *v)
{
	((struct run_in *)cfg)->user = v;
	return 0;
}

static const struct option_spec options[] = {
	{ "time", 't', "TIME", "all of it may take this long (60s, 5m, 1h): status 124", opt_time },
	{ "user", 'u', "USER", "run it as USER [charm, or root where there is no charm]",
	  opt_user },
	{ "copy-in", 0, "SRC:DST", "copy SRC of the host to DST in the guest first", opt_copy_in },
	{ "copy-out", 0, "SRC:DST", "copy SRC of the guest to DST on the host after it",
	  opt_copy_out },
};

static int operand(void *cfg, const char *v)
{
	(void)cfg;
	log_error("unexpected argument '%s'; the command goes behind --", v);
	return -EINVAL;
}

static const struct command_spec command = {
	.usage = "charmvm run --image FILE [OPTION...] -- COMMAND...",
	.about = "Runs a command in a machine of its own: boots the image, or goes on from a "
		 "snapshot "
		 "of it\n"
		 "(--from NAME), leaves it as it is, passes input, output and the command's status "
		 "on, "
		 "and throws\nthe machine away.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = operand,
};

/* ---- what is done in it ---- */

static int copy_in(struct run_in *r)
{
	int status = 0;
	for (unsigned int i = 0; i < r->in.n && !status; i++)
		status = (int)agent_copy_in(&r->own.link, r->user, r->in.list[i].from,
					    r->in.list[i].to);
	return status == EXIT_STATUS_FAILED ? EXIT_STATUS_NO_RUN : status;
}

/* All of them, whatever becomes of one. -> the first one's status that is not 0. */
static int copy_out(struct run_in *r)
{
	int first = 0;
	for (unsigned int i = 0; i < r->out.n; i++) {
		int status = (int)agent_copy_out(&r->own.link, r->user, r->out.list[i].from,
						 r->out.list[i].to);
		first = first ? first : status;
		if (status && status != EXIT_STATUS_FAILED)
			break; /* no time or no machine left: it is said once */
	}
	return first;
}

static int run_command(struct run_in *r, char **argv, int argc)
{
	bool tty = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	const struct agent_call call = {
		.flags = tty ? EXEC_TTY : 0,
		.argv = argv,
		.argc = argc,
		.user = r->user,
		.in = STDIN_FILENO,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
	};
	int status = copy_in(r);
	if (status)
		return status;
	status = agent_call_run(&r->own.link, &call);
	bool ended_itself = status < EXIT_STATUS_OUT_OF_MEMORY || status > EXIT_STATUS_NO_RUN;
	int copied = ended_itself ? copy_out(r) : 0;
	return status ? status : copied;
}

int cmd_run_in(int argc, char **argv)
{
	struct run_in *r = calloc(1, sizeof(*r));
	int rest;
	if (!r)
		return EXIT_STATUS_NO_RUN;
	int err = config_parse_as(&command, &r->machine, argc, argv, &rest);
	if (err > 0)
		return EXIT_STATUS_OK;
	if (!err && rest == argc) {
		log_error("a command is wanted: charmvm run --image FILE -- COMMAND");
		err = -EINVAL;
	}
	if (!err && r->machine.detach) {
		log_error("--detach does not go with charmvm run, which waits for the command");
		err = -EINVAL;
	}
	r->machine.throw_away = true;
	if (err || own_machine_start(&r->own, &r->machine, r->time_s))
		return EXIT_STATUS_NO_RUN;
	int status = own_machine_wait_for_agent(&r->own);
	if (!status) {
		status = run_command(r, argv + rest, argc - rest);
		own_machine_leave(&r->own);
		return status;
	}
	int machine = own_machine_stop(&r->own);
	/* A machine that could not be made has said why. */
	if (status == EXIT_STATUS_GUEST_GONE && machine)
		status = EXIT_STATUS_NO_RUN;
	else if (status == EXIT_STATUS_GUEST_GONE)
		log_error("the guest ended before its agent answered");
	return status;
}
