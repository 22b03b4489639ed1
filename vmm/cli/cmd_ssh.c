/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm ssh [NAME] [-- COMMAND...]: OpenSSH's client, told where the machine is and who it must be. */
#include "vmm/cli/commands.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/exit_status.h"
#include "vmm/base/options.h"
#include "vmm/cli/login_settle.h"
#include "vmm/cli/ssh_args.h"
#include "vmm/record.h"

struct ssh_config {
	const char *name;
	const char *user;
	bool x11;
};

static int opt_x11(void *opaque, const char *v)
{
	(void)v;
	((struct ssh_config *)opaque)->x11 = true;
	return 0;
}

static int opt_user(void *opaque, const char *v)
{
	((struct ssh_config *)opaque)->user = v;
	return 0;
}

static int operand(void *opaque, const char *v)
{
	struct ssh_config *cfg = opaque;
	if (cfg->name) {
		log_error("'%s': one machine at a time; a command goes behind --", v);
		return -EINVAL;
	}
	cfg->name = v;
	return 0;
}

static const struct option_spec ssh_options[] = {
	{ "login", 'l', "USER", "log in as USER [charm, or as its box says]", opt_user },
	{ "x11", 'X', NULL, "let its windows appear on this display", opt_x11 },
};

static const struct command_spec ssh_command = {
	.usage = "charmvm ssh [-X] [VM] [-- COMMAND...]",
	.about = "Logs in to a running machine, or runs a command in it; the status is the "
		 "command's.",
	.options = ssh_options,
	.noptions = ARRAY_SIZE(ssh_options),
	.operand = operand,
};

/* Becomes ssh. Returns only when that fails. */
static void exec_ssh(const struct record *r, const struct ssh_config *cfg, char **command, int n)
{
	enum { FIXED = 2 * SSH_SETTINGS_MAX + 4 };
	struct ssh_setting settings[SSH_SETTINGS_MAX];
	char words[SSH_SETTINGS_MAX][SSH_VALUE_MAX + 32];
	const char **argv = calloc(FIXED + (size_t)n + 1, sizeof(*argv));
	int at = 0;
	if (!argv) {
		log_error("out of memory");
		return;
	}
	unsigned int nsettings = ssh_settings(r, cfg->user, settings);
	argv[at++] = "ssh";
	if (cfg->x11)
		argv[at++] = "-X";
	for (unsigned int i = 0; i < nsettings; i++) {
		snprintf(words[i], sizeof(words[i]), "%s=%s", settings[i].key, settings[i].value);
		argv[at++] = "-o";
		argv[at++] = words[i];
	}
	argv[at++] = settings[0].value;
	argv[at++] = "--";
	memcpy(argv + at, command, (size_t)n * sizeof(*argv));
	execvp(argv[0], (char **)argv);
	log_error("cannot run ssh: %s; install openssh-client", strerror(errno));
	free(argv);
}

int cmd_ssh(int argc, char **argv)
{
	struct ssh_config cfg = { 0 };
	struct record r;
	int rest;
	int err = options_parse(&ssh_command, &cfg, argc, argv, &rest);
	if (err)
		return err > 0 ? EXIT_STATUS_OK : EXIT_STATUS_USAGE;
	if (record_find(&r, cfg.name))
		return EXIT_STATUS_FAILED;
	if (ssh_check(&r))
		return EXIT_STATUS_FAILED;
	login_settle(&r);
	exec_ssh(&r, &cfg, argv + rest, argc - rest);
	return EXIT_STATUS_FAILED;
}
