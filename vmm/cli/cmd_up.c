/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm up IMAGE|NAME: charmvm --image, with the image as a word. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/machine_files.h"
#include "vmm/exit_status.h"

static const char usage[] =
	"Usage: charmvm up IMAGE|NAME [--detach] [OPTION...]\n\n"
	"Boots IMAGE, or NAME.qcow2 of this directory. The options are those of charmvm\n"
	"(charmvm --help); with --detach it runs in the background, and the command returns\n"
	"when SSH answers.\n";

int cmd_up(int argc, char **argv)
{
	char path[PATH_MAX], image[] = "--image";
	if (argc < 2 || argv[1][0] == '-') {
		bool asked = argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));
		fputs(usage, asked ? stdout : stderr);
		return asked ? EXIT_STATUS_OK : EXIT_STATUS_USAGE;
	}
	char **all = calloc((size_t)argc + 2, sizeof(*all));
	if (!all) {
		log_error("out of memory");
		return EXIT_STATUS_FAILED;
	}
	all[0] = argv[0];
	all[1] = image;
	all[2] = (char *)(uintptr_t)machine_files_image(argv[1], path);
	memcpy(all + 3, argv + 2, (size_t)(argc - 2) * sizeof(*all));
	int status = cmd_run(argc + 1, all);
	free(all);
	return status;
}
