/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm logs: the messages of a machine that runs, or ran, in the background. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/exit_status.h"
#include "vmm/paths.h"
#include "vmm/record.h"

/* Also of one that has ended: the log is what is left of it. */
static int log_path(const char *name, char path[PATH_MAX])
{
	char dir[PATH_MAX], file[RECORD_NAME_MAX + 8];
	struct record r;
	if (!name)
		return record_find(&r, NULL) ? -ENOENT : record_beside(&r, ".log", path);
	if (strlen(name) > RECORD_NAME_MAX || strchr(name, '/')) {
		log_error("'%.100s' is no machine's name", name);
		return -EINVAL;
	}
	snprintf(file, sizeof(file), "%s.log", name);
	int err = paths_run_dir(dir);
	return err ? err : paths_join(path, dir, file, NULL);
}

int cmd_logs(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm logs [VM]",
		.about = "Prints the messages of a machine that was started with --detach.",
		.operand = vm_operand,
	};
	struct vm_args a = { 0 };
	char path[PATH_MAX], line[1024];
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	if (log_path(a.name, path))
		return EXIT_STATUS_NO_MACHINE;
	FILE *f = fopen(path, "re");
	if (!f) {
		log_error("%s: %s; only a machine that was started with --detach has a log", path,
			  strerror(errno));
		return EXIT_STATUS_NO_MACHINE;
	}
	while (fgets(line, sizeof(line), f))
		fputs(line, stdout);
	fclose(f);
	return EXIT_STATUS_OK;
}
