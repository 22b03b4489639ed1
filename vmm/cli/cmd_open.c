/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm open: where a running machine's notebook is. */
/*
 * A browser is given a file of this user's that sends it on, and not the URL, which everybody on this host would see among its
 * arguments.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/notebook_find.h"
#include "vmm/record.h"

enum { TIME_DEFAULT_S = 120 };

struct open_args {
	struct vm_args vm;
	bool no_browser;
	uint64_t time_s;
};

static int opt_time(void *cfg, const char *v)
{
	return agent_parse_time("time", v, &((struct open_args *)cfg)->time_s);
}

static int opt_no_browser(void *cfg, const char *v)
{
	(void)v;
	((struct open_args *)cfg)->no_browser = true;
	return 0;
}

static const struct option_spec options[] = {
	{ "no-browser", 0, NULL, "print the URL, and that is all", opt_no_browser },
	{ "time", 't', "TIME", "how long to wait for the server (30s, 5m, 1h) [2m]", opt_time },
	VM_OPTION_JSON,
};

static const struct command_spec command = {
	.usage = "charmvm open [VM] [--no-browser] [--time TIME] [--json]",
	.about = "Prints the URL of a running machine's notebook, with its token, as soon as the "
		 "server there\nanswers; on a terminal with a display, opens it in a browser too.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

/* ---- a browser ---- */

/* -> 0 or -errno. */
static int write_page(const struct record *r, const struct notebook *nb, char path[PATH_MAX])
{
	int err = record_beside(r, RECORD_NOTEBOOK, path);
	if (err)
		return err;
	unlink(path); /* whatever it is: ours is made anew, for nobody else to read */
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (dprintf(fd,
		    "<!DOCTYPE html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" "
		    "content=\"0;url=%s\"><title>%s</title>\n<a href=\"%s\">%s</a>\n",
		    nb->url, r->name, nb->url, r->name) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Where there is one to look at. It goes on by itself, and what it says is for nobody. */
static void open_browser(const struct record *r, const struct notebook *nb)
{
	char path[PATH_MAX];
	char *argv[] = { "xdg-open", path, NULL };
	extern char **environ;
	const char *display = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
	if (!isatty(STDOUT_FILENO) || !((display && *display) || (wayland && *wayland)))
		return;
	int err = write_page(r, nb, path);
	if (err) {
		log_warn("no browser is opened: %s: %s", path, strerror(-err));
		return;
	}
	posix_spawn_file_actions_t quiet;
	posix_spawnattr_t apart;
	pid_t pid;
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawnattr_init(&apart);
	posix_spawnattr_setflags(&apart, POSIX_SPAWN_SETSID);
	err = posix_spawnp(&pid, argv[0], &quiet, &apart, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	posix_spawnattr_destroy(&apart);
	if (err)
		log_warn("no browser is opened: xdg-open: %s; install xdg-utils", strerror(err));
}

/* ---- the command ---- */

static void print(const struct open_args *a, const struct record *r, const struct notebook *nb)
{
	if (a->vm.json)
		vm_print_json(json_pack("{s:s, s:s, s:s, s:i}", "name", r->name, "url", nb->url,
					"token", nb->token, "guest_port", (int)nb->guest_port));
	else
		printf("%s\n", nb->url);
	fflush(stdout);
}

int cmd_open(int argc, char **argv)
{
	struct open_args a = { .time_s = TIME_DEFAULT_S };
	struct notebook nb;
	struct record r;
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	if (record_find(&r, a.vm.name))
		return EXIT_STATUS_NO_MACHINE;
	enum exit_status status = notebook_find(r.name, a.time_s, &nb);
	if (status)
		return status;
	print(&a, &r, &nb);
	if (!a.no_browser && !a.vm.json)
		open_browser(&r, &nb);
	return EXIT_STATUS_OK;
}
