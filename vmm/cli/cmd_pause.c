/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm pause, resume, reset: verbs that take a machine and answer nothing. */
#include <string.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/machine_files.h"
#include "vmm/control/control_client.h"

/* One that was suspended is on disk, and it is "up" that lets it go on. */
static bool is_only_on_disk(const char *name)
{
	char path[PATH_MAX];
	if (!name || machine_files_runs(name) || access(machine_files_image(name, path), F_OK))
		return false;
	log_error("machine '%s' does not run; charmvm up %s starts it, and one that was suspended "
		  "goes on where it was",
		  name, name);
	return true;
}

static int ask(const struct command_spec *cmd, const char *verb, int argc, char **argv)
{
	struct vm_args a = { 0 };
	struct control_client c;
	int over;
	if (!vm_parse(cmd, &a, argc, argv, &over))
		return over;
	if (!strcmp(verb, "resume") && is_only_on_disk(a.name))
		return EXIT_STATUS_NO_MACHINE;
	enum exit_status status = control_client_open(&c, a.name);
	if (!status)
		status = control_client_call(&c, verb, NULL, NULL, NULL, NULL);
	control_client_close(&c);
	return status;
}

int cmd_pause(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm pause [VM]",
		.about = "Holds a running machine still; its memory and its ports stay.",
		.operand = vm_operand,
	};
	return ask(&command, "pause", argc, argv);
}

int cmd_resume(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm resume [VM]",
		.about = "Lets a paused machine go on. (A suspended one does with charmvm up.)",
		.operand = vm_operand,
	};
	return ask(&command, "resume", argc, argv);
}

int cmd_reset(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm reset [VM]",
		.about = "Presses the reset button of a running machine: it boots again, and what "
			 "its "
			 "guest has not written is lost.",
		.operand = vm_operand,
	};
	return ask(&command, "reset", argc, argv);
}
