/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm selftest: whether a machine can do what it was made for. What is tested is in the guest: guest-kit's selftest. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/agent/agent_call.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"

enum { PACKAGES_MAX = 64 };

struct selftest {
	struct vm_args vm; /* .name unused: words[] */
	const char *words[2];
	unsigned int nwords;
	uint64_t time_s;
};

static int opt_time(void *cfg, const char *v)
{
	return agent_parse_time("time", v, &((struct selftest *)cfg)->time_s);
}

static int operand(void *cfg, const char *v)
{
	struct selftest *s = cfg;
	if (s->nwords == ARRAY_SIZE(s->words)) {
		log_error("'%s': one machine and one tier at a time; packages go behind --", v);
		return -EINVAL;
	}
	s->words[s->nwords++] = v;
	return 0;
}

static const struct option_spec options[] = {
	{ "time", 't', "TIME", "give up after this long (30s, 5m, 1h): status 124", opt_time },
	VM_OPTION_JSON,
};

static const struct command_spec command = {
	.usage = "charmvm selftest [VM] fast|notebook|slow [--time TIME] [--json] [-- PACKAGE...]",
	.about = "Tests a running machine. fast: imports every package of its recipe and fetches "
		 "the "
		 "notebook's\npage; notebook: executes Hello World; slow: the test suites of the "
		 "packages named [numpy].\nStatus 1: something failed.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = operand,
};

/* -> the tier, or NULL (logged). */
static const char *tier_of(const struct selftest *s)
{
	static const char *const tiers[] = { "fast", "notebook", "slow" };
	const char *word = s->nwords ? s->words[s->nwords - 1] : "";
	for (size_t i = 0; i < ARRAY_SIZE(tiers); i++)
		if (!strcmp(word, tiers[i]))
			return tiers[i];
	log_error("which tests? 'fast', 'notebook' or 'slow', as in: charmvm selftest VM fast");
	return NULL;
}

static enum exit_status run(const struct selftest *s, const char *tier, char **packages, int n)
{
	static const char script[] =
		"[ -x /usr/lib/charmvm/selftest ] && exec /usr/lib/charmvm/selftest \"$@\"\n"
		"echo 'selftest: this image was not made by guest-kit' >&2; exit 125";
	char *argv[8 + PACKAGES_MAX] = { "sh", "-c", (char *)(uintptr_t)script, "selftest",
					 (char *)tier };
	struct agent_call call = {
		.argv = argv, .argc = 5, .in = -1, .out = STDOUT_FILENO, .err = STDERR_FILENO
	};
	if (s->vm.json)
		argv[call.argc++] = "--json";
	argv[call.argc++] = "--";
	memcpy(argv + call.argc, packages, (size_t)n * sizeof(*argv));
	call.argc += n;
	struct agent_link *l = malloc(sizeof(*l));
	const char *vm = s->nwords == 2 ? s->words[0] : NULL;
	enum exit_status status = l ? agent_connect(l, vm, s->time_s) : EXIT_STATUS_FAILED;
	if (!status) {
		status = agent_call_run(l, &call);
		close(l->fd);
	}
	free(l);
	return status;
}

int cmd_selftest(int argc, char **argv)
{
	struct selftest s = { .nwords = 0 };
	int rest;
	int err = options_parse(&command, &s, argc, argv, &rest);
	if (err)
		return err > 0 ? EXIT_STATUS_OK : EXIT_STATUS_USAGE;
	const char *tier = tier_of(&s);
	if (!tier)
		return EXIT_STATUS_USAGE;
	if (argc - rest > PACKAGES_MAX || (argc > rest && strcmp(tier, "slow"))) {
		log_error(argc - rest > PACKAGES_MAX ? "too many packages: at most 64"
						     : "packages are for the tier slow");
		return EXIT_STATUS_USAGE;
	}
	return run(&s, tier, argv + rest, argc - rest);
}
