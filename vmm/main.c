/* SPDX-License-Identifier: Apache-2.0 */
/* Which command it is. */
#include <stdlib.h>
#include <string.h>

#include "tools/image/image.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/commands.h"
#include "vmm/exit_status.h"
#include "vmm/base/options.h"

static const struct {
	const char *name;
	int (*fn)(int argc, char **argv);
} commands[] = {
	/* clang-format off */ /* one command a line */
	{ "build", cmd_build },
	{ "clone", cmd_clone },
	{ "console", cmd_console },
	{ "cp", cmd_cp },
	{ "destroy", cmd_destroy },
	{ "doctor", cmd_doctor },
	{ "events", cmd_events },
	{ "exec", cmd_exec },
	{ "fork", cmd_fork },
	{ "forward", cmd_forward },
	{ "image", image_main },
	{ "import", cmd_import },
	{ "info", cmd_status },
	{ "logs", cmd_logs },
	{ "ls", cmd_ps },
	{ "open", cmd_open },
	{ "pause", cmd_pause },
	{ "ports", cmd_ports },
	{ "ps", cmd_ps },
	{ "reboot", cmd_reboot },
	{ "rename", cmd_rename },
	{ "reset", cmd_reset },
	{ "resume", cmd_resume },
	{ "run", cmd_run_in },
	{ "selftest", cmd_selftest },
	{ "snapshot", cmd_snapshot },
	{ "ssh", cmd_ssh },
	{ "ssh-config", cmd_ssh_config },
	{ "start", cmd_up },
	{ "status", cmd_status },
	{ "stop", cmd_stop },
	{ "suspend", cmd_suspend },
	{ "up", cmd_up },
	{ "version", cmd_version },
	{ "wait", cmd_wait },
	/* clang-format on */
};

static int unknown_command(const char *word)
{
	const char *names[ARRAY_SIZE(commands) + 1] = { NULL };
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].name;
	const char *near = options_nearest(word, names);
	if (near)
		log_error("unknown command '%s'; did you mean 'charmvm %s'?", word, near);
	else
		log_error("unknown command '%s'; to start a machine: charmvm --image FILE", word);
	return EXIT_STATUS_USAGE;
}

int main(int argc, char **argv)
{
	if (argc < 2 || argv[1][0] == '-')
		return cmd_run(argc, argv);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].fn(argc - 1, argv + 1);
	return unknown_command(argv[1]);
}
