/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm up IMAGE|NAME: charmvm --image, with the image as a word, and made first where it is a recipe's. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/cli/build.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/guest_kit.h"
#include "vmm/cli/machine_files.h"
#include "vmm/config_options.h"
#include "vmm/exit_status.h"

static int help(bool asked)
{
	static const struct command_spec command = {
		.usage = "charmvm up IMAGE|NAME [OPTION...]",
		.about =
			"Boots IMAGE, or NAME.qcow2 of this directory, which is made first where "
			"it "
			"is not there\nand NAME is a recipe of the guest kit, such as charmed311. "
			"With "
			"--detach it runs in the\nbackground, and the command returns when SSH "
			"answers, and prints its name, and the URL\nof its notebook if it has one.",
		.options = config_options,
		.noptions = CONFIG_OPTIONS,
	};
	if (asked)
		options_help(&command);
	else
		log_error("up: which machine? charmvm up IMAGE|NAME; see charmvm up --help");
	return asked ? EXIT_STATUS_OK : EXIT_STATUS_USAGE;
}

static bool is_help(const char *word)
{
	return !strcmp(word, "--help") || !strcmp(word, "-h");
}

/* A recipe's name, and nothing that would lead out of where recipes are. */
static bool may_be_recipe(const char *word)
{
	return *word && !word[strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789-")];
}

static enum exit_status say_missing(const char *word, const char *kit)
{
	if (*kit)
		log_error("%s: no such image here, with or without .qcow2, and no recipe of the "
			  "guest kit (%s/recipes has them)",
			  word, kit);
	else
		log_error("%s: no such image here, with or without .qcow2, and the guest kit, "
			  "which makes some, is not found: set CHARMVM_GUEST_KIT",
			  word);
	return EXIT_STATUS_FILE;
}

/* Makes @word.qcow2 in this directory, where there is nothing of that name and a recipe that is called so. */
static enum exit_status make_image(const char *word)
{
	char kit[PATH_MAX] = "", made[PATH_MAX], path[PATH_MAX], recipe[PATH_MAX];
	const char *const convert[] = { "image", "convert", "-O", "qcow2", made, path, NULL };
	if (!access(machine_files_image(word, path), F_OK) || !may_be_recipe(word))
		return EXIT_STATUS_OK;
	bool found = guest_kit_find(kit);
	if (!found || !guest_kit_recipe(kit, word, recipe))
		return say_missing(word, found ? kit : "");
	fprintf(stderr, "%s is not here: making it from the guest kit's recipe\n", path);
	if (guest_kit_make(word, made))
		return build_image_command(convert) ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
	log_error("%s: its image could not be made; why is said above", word);
	return EXIT_STATUS_FAILED;
}

int cmd_up(int argc, char **argv)
{
	char path[PATH_MAX], image[] = "--image";
	if (argc < 2 || argv[1][0] == '-')
		return help(argc > 1 && is_help(argv[1]));
	if (argc == 3 && is_help(argv[2]))
		return help(true);
	enum exit_status made = make_image(argv[1]);
	if (made)
		return (int)made;
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
