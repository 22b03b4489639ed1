/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm exec: a command in a running machine's guest, through the agent. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/agent/agent_call.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"

enum { ENV_MAX = 64 };

struct exec {
	struct vm_args vm;
	struct agent_call call;
	const char *env[ENV_MAX + 2]; /* TERM, and a NULL behind the last one */
	size_t nenv;
	uint64_t time_s;
};

static int opt_user(void *cfg, const char *v)
{
	((struct exec *)cfg)->call.user = v;
	return 0;
}

static int opt_cwd(void *cfg, const char *v)
{
	((struct exec *)cfg)->call.cwd = v;
	return 0;
}

static int opt_env(void *cfg, const char *v)
{
	struct exec *e = cfg;
	const char *eq = strchr(v, '=');
	if (eq && eq != v && e->nenv < ENV_MAX) {
		e->env[e->nenv++] = v;
		return 0;
	}
	if (e->nenv == ENV_MAX)
		log_error("--env %s: at most %d of them", v, ENV_MAX);
	else
		log_error("--env %s: NAME=VALUE is wanted", v);
	return -EINVAL;
}

static int opt_tty(void *cfg, const char *v)
{
	(void)v;
	((struct exec *)cfg)->call.flags |= EXEC_TTY;
	return 0;
}

static int opt_time(void *cfg, const char *v)
{
	return agent_parse_time("time", v, &((struct exec *)cfg)->time_s);
}

static const struct option_spec options[] = {
	{ "user", 'u', "USER", "run it as USER [charm, or root where there is no charm]",
	  opt_user },
	{ "cwd", 'w', "DIR", "run it in DIR [the user's home]", opt_cwd },
	{ "env", 'e', "NAME=VALUE", "put this into its environment; may be repeated", opt_env },
	{ "tty", 't', NULL, "on a terminal, also where input or output is none", opt_tty },
	{ "time", 0, "TIME", "give up after this long (30s, 5m, 1h): status 124", opt_time },
};

static const struct command_spec command = {
	.usage = "charmvm exec [VM] [OPTION...] [-- COMMAND...]",
	.about = "Runs a command in a running machine, without a network; its status is the "
		 "command's.\nWithout a command: a shell.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

static void prepare(struct exec *e, char **argv, int argc)
{
	static const char term[] = "TERM=";
	char *name = getenv("TERM");
	e->call.argv = argv;
	e->call.argc = argc;
	if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
		e->call.flags |= EXEC_TTY;
	if (e->call.flags & EXEC_TTY && name) {
		char *text = malloc(sizeof(term) + strlen(name));
		if (text)
			sprintf(text, "%s%s", term, name);
		e->env[e->nenv] = text; /* the process's last allocation of its kind */
	}
}

static int run(struct exec *e)
{
	struct agent_link *l = malloc(sizeof(*l));
	int status = EXIT_STATUS_NO_RUN;
	if (l && !agent_connect(l, e->vm.name, e->time_s))
		status = agent_call_run(l, &e->call);
	free(l);
	return status;
}

int cmd_exec(int argc, char **argv)
{
	struct exec e = {
		.call = { .in = STDIN_FILENO, .out = STDOUT_FILENO, .err = STDERR_FILENO }
	};
	int rest;
	int err = options_parse(&command, &e, argc, argv, &rest);
	if (err)
		return err > 0 ? EXIT_STATUS_OK : EXIT_STATUS_NO_RUN;
	prepare(&e, argv + rest, argc - rest);
	e.call.env = e.env;
	return run(&e);
}
