/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm version: which charmvm this is, and what it speaks. */
#include <stdio.h>

#include "vmm/base/checked.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control.h"
#include "vmm/exit_status.h"
#include "vmm/snapshot/snapshot_head.h"

static const struct option_spec options[] = { VM_OPTION_JSON };

static const struct command_spec command = {
	.usage = "charmvm version [--json]",
	.about = "Prints the version; with --json also those of the control protocol and of "
		 "snapshots.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
};

int cmd_version(int argc, char **argv)
{
	struct vm_args a = { 0 };
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	if (a.json)
		vm_print_json(json_pack("{s:s, s:i, s:s}", "version", CHARMVM_VERSION, "protocol",
					CONTROL_PROTOCOL, "snapshot", SNAPSHOT_COMPATIBLE));
	else
		printf("charmvm %s\n", CHARMVM_VERSION);
	return EXIT_STATUS_OK;
}
