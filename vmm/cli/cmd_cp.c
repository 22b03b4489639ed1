/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm cp: files and directories into a running machine's guest and out of it, through the agent. */
#include <errno.h>
#include <stdlib.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/cli/commands.h"

struct cp {
	const char *user;
	uint64_t time_s;
	const char *places[2];
	unsigned int nplaces;
};

static int opt_user(void *cfg, const char *v)
{
	((struct cp *)cfg)->user = v;
	return 0;
}

static int opt_time(void *cfg, const char *v)
{
	return agent_parse_time("time", v, &((struct cp *)cfg)->time_s);
}

static int operand(void *cfg, const char *v)
{
	struct cp *c = cfg;
	if (c->nplaces == ARRAY_SIZE(c->places)) {
		log_error("'%s': one source and one target at a time", v);
		return -EINVAL;
	}
	c->places[c->nplaces++] = v;
	return 0;
}

static const struct option_spec options[] = {
	{ "user", 'u', "USER", "read or write in the guest as USER [charm, else root]", opt_user },
	{ "time", 0, "TIME", "give up after this long (30s, 5m, 1h)", opt_time },
};

static const struct command_spec command = {
	.usage = "charmvm cp SOURCE VM:TARGET\n       charmvm cp VM:SOURCE TARGET",
	.about = "Copies a file, or a directory with all that is in it, into a running machine or "
		 "out of it.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = operand,
};

static enum exit_status copy(struct agent_link *l, const struct cp *c,
			     const struct agent_place *from, const struct agent_place *to)
{
	const struct agent_place *remote = from->remote ? from : to;
	enum exit_status status = agent_connect(l, *remote->vm ? remote->vm : NULL, c->time_s);
	if (status)
		return status;
	return from->remote ? agent_copy_out(l, c->user, from->path, to->path)
			    : agent_copy_in(l, c->user, from->path, to->path);
}

int cmd_cp(int argc, char **argv)
{
	struct cp c = { 0 };
	struct agent_place from, to;
	int rest;
	int err = options_parse(&command, &c, argc, argv, &rest);
	if (err > 0)
		return EXIT_STATUS_OK;
	for (; !err && rest < argc; rest++)
		err = operand(&c, argv[rest]);
	if (err)
		return EXIT_STATUS_USAGE;
	if (c.nplaces < ARRAY_SIZE(c.places)) {
		log_error("a source and a target are wanted: charmvm cp FILE VM:PATH, or VM:PATH "
			  "FILE");
		return EXIT_STATUS_USAGE;
	}
	if (agent_parse_place(c.places[0], &from) || agent_parse_place(c.places[1], &to))
		return EXIT_STATUS_USAGE;
	if (from.remote == to.remote) {
		log_error("one of '%s' and '%s' is to be in a machine, as VM:PATH", c.places[0],
			  c.places[1]);
		return EXIT_STATUS_USAGE;
	}
	struct agent_link *l = malloc(sizeof(*l));
	enum exit_status status = l ? copy(l, &c, &from, &to) : EXIT_STATUS_FAILED;
	free(l);
	return status;
}
