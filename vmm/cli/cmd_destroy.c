/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm destroy: deletes a machine, after it has said what that is and was told to. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_stop.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/machine_files.h"
#include "vmm/config_file.h"
#include "vmm/control/control_client.h"
#include "vmm/keys.h"

enum { END_TIME_S = 60, ANSWER_MAX = 16 };

struct destroy {
	struct vm_args vm;
	bool yes;
};

static int set_yes(void *cfg, const char *value)
{
	(void)value;
	((struct destroy *)cfg)->yes = true;
	return 0;
}

static const struct option_spec options[] = {
	{ "yes", 'y', NULL, "do not ask", set_yes },
};

static const struct command_spec command = {
	.usage = "charmvm destroy VM|IMAGE [--yes]",
	.about = "Deletes a machine for good: its image with all snapshots, its host key, and its\n"
		 "configuration file. A running one is stopped at once. On a terminal it asks "
		 "first;\n"
		 "elsewhere it needs --yes. Images that have this one as their backing file become "
		 "useless.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

static void say_what(const struct machine_files *f)
{
	char dir[PATH_MAX], size[IMAGE_SIZE_TEXT];
	struct stat st;
	if (f->running)
		printf("This stops the machine %s, which is running.\n", f->name);
	printf("This deletes for good:\n");
	if (!stat(f->image, &st)) {
		image_size_text((uint64_t)st.st_blocks * 512, size);
		printf("  %s (%s, with its snapshots)\n", f->image, size);
	}
	if (!keys_machine_dir(f->name, dir) && !access(dir, F_OK))
		printf("  %s (its host key, and its login)\n", dir);
	if (!config_file_of(f->name, dir) && !access(dir, F_OK))
		printf("  %s (what was written down for it)\n", dir);
}

/* -> EXIT_STATUS_OK: go on. */
static enum exit_status ask(const struct machine_files *f)
{
	char answer[ANSWER_MAX];
	if (!isatty(STDIN_FILENO)) {
		log_error("destroy %s: there is no terminal to ask on; --yes deletes without a "
			  "question",
			  f->name);
		return EXIT_STATUS_USAGE;
	}
	printf("Delete? [y/N] ");
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y'))
		return EXIT_STATUS_OK;
	printf("Nothing was deleted.\n");
	return EXIT_STATUS_FAILED;
}

static enum exit_status stop(const struct machine_files *f)
{
	struct control_client c;
	json_t *answer = NULL;
	enum exit_status status = control_client_open(&c, f->name);
	if (!status)
		control_client_ask(&c, "stop", json_pack("{s:b}", "now", 1), NULL, NULL, &answer);
	json_decref(answer);
	control_client_close(&c);
	if (status == EXIT_STATUS_NO_MACHINE || stop_has_ended(&f->record, END_TIME_S))
		return EXIT_STATUS_OK;
	log_error("machine '%s' does not end; its process is %lld", f->name,
		  (long long)f->record.pid);
	return EXIT_STATUS_FAILED;
}

static enum exit_status destroy(struct machine_files *f, bool yes)
{
	say_what(f);
	enum exit_status status = yes ? EXIT_STATUS_OK : ask(f);
	status = status || !f->running ? status : stop(f);
	status = status ? status : machine_files_lock(f, true);
	if (status)
		return status;
	if (unlink(f->image) < 0) {
		log_error("%s: %s", f->image, strerror(errno));
		return EXIT_STATUS_FILE;
	}
	/* Another image's machine of that name may have it in use. */
	if (machine_files_runs(f->name))
		return EXIT_STATUS_OK;
	char path[PATH_MAX];
	if (!config_file_of(f->name, path) && unlink(path) < 0 && errno != ENOENT &&
	    errno != ENOTDIR)
		log_warn("%s is still there: %s", path, strerror(errno));
	int err = keys_forget(f->name);
	if (err)
		log_warn("the host key of '%s' is still there: %s", f->name, strerror(-err));
	return EXIT_STATUS_OK;
}

int cmd_destroy(int argc, char **argv)
{
	struct destroy d = { 0 };
	struct machine_files f;
	int over;
	if (!vm_parse(&command, &d, argc, argv, &over))
		return over;
	if (!d.vm.name) {
		log_error("destroy: which machine? see charmvm destroy --help");
		return EXIT_STATUS_USAGE;
	}
	enum exit_status status = machine_files_find(d.vm.name, &f);
	status = status ? status : destroy(&f, d.yes);
	machine_files_close(&f);
	return status;
}
