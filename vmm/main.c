/* SPDX-License-Identifier: Apache-2.0 */
/* Which command it is. */
#include <stdbool.h>
#include <stdio.h>
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
	const char *about;
} commands[] = {
	/* clang-format off */ /* one command a line */
	{ "build", cmd_build, "make an image from a Charmfile" },
	{ "clone", cmd_clone, "make another machine like one" },
	{ "console", cmd_console, "be at the console of a machine in the background" },
	{ "cp", cmd_cp, "copy files into a machine or out of it" },
	{ "destroy", cmd_destroy, "delete a machine for good" },
	{ "doctor", cmd_doctor, "look whether this host can run machines" },
	{ "events", cmd_events, "tell what happens to a machine" },
	{ "exec", cmd_exec, "run a command in a machine, without a network" },
	{ "fork", cmd_fork, "start machines from a snapshot" },
	{ "forward", cmd_forward, "add, remove and list ports of a machine" },
	{ "image", image_main, "make, look at, convert and repair disk images" },
	{ "import", cmd_import, "make a machine of a box, an OVA or a disk" },
	{ "info", cmd_status, "tell how a machine is" },
	{ "logs", cmd_logs, "print the messages of a machine in the background" },
	{ "ls", cmd_ps, "list the running machines" },
	{ "open", cmd_open, "print the URL of a machine's notebook" },
	{ "pause", cmd_pause, "hold a machine still" },
	{ "ports", cmd_ports, "list the ports of a machine" },
	{ "ps", cmd_ps, "the same as ls" },
	{ "reboot", cmd_reboot, "shut a machine down and boot it again" },
	{ "rename", cmd_rename, "give a machine another name" },
	{ "reset", cmd_reset, "press the reset button" },
	{ "resume", cmd_resume, "let a paused machine go on" },
	{ "run", cmd_run_in, "run a command in a machine of its own" },
	{ "selftest", cmd_selftest, "test a machine" },
	{ "snapshot", cmd_snapshot, "save, list and revert to snapshots" },
	{ "ssh", cmd_ssh, "log in to a machine" },
	{ "ssh-config", cmd_ssh_config, "print how ssh, scp and rsync reach a machine" },
	{ "start", cmd_up, "the same as up" },
	{ "status", cmd_status, "the same as info" },
	{ "stop", cmd_stop, "power a machine down" },
	{ "suspend", cmd_suspend, "save a machine and end it" },
	{ "up", cmd_up, "start a machine" },
	{ "version", cmd_version, "print the version" },
	{ "wait", cmd_wait, "wait until a machine is ready" },
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
		log_error("unknown command '%s'; see charmvm --help; to start a machine: charmvm "
			  "up FILE",
			  word);
	return EXIT_STATUS_USAGE;
}

static int run_command(int argc, char **argv)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[0], commands[i].name))
			return commands[i].fn(argc, argv);
	return unknown_command(argv[0]);
}

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

/* The options of a machine, and the commands. */
static int print_help(void)
{
	char self[] = "charmvm", help[] = "--help";
	char *argv[] = { self, help, NULL };
	int status = cmd_run(2, argv);
	printf("\nCommands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		options_help_verb(commands[i].name, commands[i].about);
	printf("\ncharmvm COMMAND --help tells of one, and so does man charmvm.\n");
	return status;
}

/* charmvm help [COMMAND [VERB]]: what --help behind it says. */
static int print_help_of(int argc, char **argv)
{
	enum { WORDS = 2 };
	char help[] = "--help";
	char *words[WORDS + 2] = { NULL };
	int n = 0;
	while (n < WORDS && n + 1 < argc && argv[n + 1][0] != '-') {
		words[n] = argv[n + 1];
		n++;
	}
	if (!n || !strcmp(words[0], "help"))
		return print_help();
	words[n] = help;
	return run_command(n + 1, words);
}

int main(int argc, char **argv)
{
	if (argc == 2 && is_help(argv[1]))
		return print_help();
	if (argc < 2 || argv[1][0] == '-')
		return cmd_run(argc, argv);
	if (!strcmp(argv[1], "help"))
		return print_help_of(argc - 1, argv + 1);
	return run_command(argc - 1, argv + 1);
}
