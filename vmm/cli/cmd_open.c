/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm open: where a running machine's notebook is. */
/*
 * How it works. The guest says which port its notebook server has and which token it wants, since a guest that goes on from a
 * snapshot makes a token of its own; the machine says which port of this host leads there. The guest is not trusted: what
 * it says is a number and a token (vmm/notebook_token.h), or it is refused. A browser is given a file of this user's that sends it
 * on, and not the URL, which everybody on this host would see among its arguments.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/agent/agent_call.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_agent.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control_client.h"
#include "vmm/notebook_token.h"
#include "vmm/record.h"

enum { TIME_DEFAULT_S = 120, SAID_MAX = 256, URL_MAX = 512 };

struct open_args {
	struct vm_args vm;
	bool no_browser;
	uint64_t time_s;
};

struct notebook {
	unsigned int guest_port;
	char token[NOTEBOOK_TOKEN_MAX + 1];
	char url[URL_MAX];
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

/* ---- what the guest says ---- */

/* "8811 0123abcd...\n". -> whether it is that. */
static bool understand(char *said, struct notebook *nb)
{
	uint64_t port;
	said[strcspn(said, "\n")] = '\0';
	char *space = strchr(said, ' ');
	if (!space)
		return false;
	*space = '\0';
	if (options_parse_uint(said, 1, UINT16_MAX, &port) || !notebook_token_ok(space + 1))
		return false;
	nb->guest_port = (unsigned int)port;
	snprintf(nb->token, sizeof(nb->token), "%s", space + 1);
	return true;
}

/* The command's output into @said: a pipe holds more than that, and who writes more waits until the time is up. */
static enum exit_status ask_guest(struct agent_link *l, char said[SAID_MAX])
{
	static const char script[] =
		"[ -x /usr/lib/charmvm/notebook-url ] && exec /usr/lib/charmvm/notebook-url\n"
		"echo 'no notebook server of guest-kit is in this image' >&2; exit 1";
	char *argv[] = { "sh", "-c", (char *)(uintptr_t)script };
	struct agent_call call = { .argv = argv, .argc = ARRAY_SIZE(argv), .in = -1, .err = -1 };
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0) {
		log_error("cannot make a pipe: %s", strerror(errno));
		return EXIT_STATUS_FAILED;
	}
	call.out = fds[1];
	enum exit_status status = agent_call_run(l, &call);
	close(fds[1]);
	ssize_t n = read(fds[0], said, SAID_MAX - 1);
	said[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	return status;
}

static enum exit_status find_server(const struct open_args *a, const char *vm, struct notebook *nb)
{
	char said[SAID_MAX];
	struct agent_link *l = malloc(sizeof(*l));
	enum exit_status status = l ? agent_connect(l, vm, a->time_s) : EXIT_STATUS_FAILED;
	if (!status) {
		status = ask_guest(l, said);
		close(l->fd);
	}
	free(l);
	if (status || understand(said, nb))
		return status;
	log_error("machine '%s' does not say where its notebook is: '%s'", vm, said);
	return EXIT_STATUS_FAILED;
}

/* ---- the way there ---- */

/* How good a forward's address is for a browser on this host: 0: none. */
static int rank(const char *address)
{
	if (!strcmp(address, "127.0.0.1") || !strcmp(address, "0.0.0.0"))
		return 3;
	return !strcmp(address, "::1") || !strcmp(address, "::") ? 2 : 1;
}

/* The best of the forwards in @ports. -> whether there is one. */
static bool make_url(const json_t *ports, struct notebook *nb)
{
	size_t i;
	const json_t *f;
	int best = 0;
	json_array_foreach (json_object_get(ports, "forwards"), i, f) {
		const char *proto = "", *address = "";
		int host_port = 0, guest_port = 0;
		json_unpack((json_t *)f, "{s:s, s:s, s:i, s:i}", "proto", &proto, "address",
			    &address, "host_port", &host_port, "guest_port", &guest_port);
		if (strcmp(proto, "tcp") || guest_port != (int)nb->guest_port ||
		    rank(address) <= best)
			continue;
		best = rank(address);
		bool v6 = strchr(address, ':');
		snprintf(nb->url, sizeof(nb->url), "http://%s%.100s%s:%d/tree?token=%s",
			 best == 1 && v6 ? "[" : "", best > 1 ? "localhost" : address,
			 best == 1 && v6 ? "]" : "", host_port, nb->token);
	}
	return best;
}

static enum exit_status find_way(struct control_client *c, struct notebook *nb)
{
	json_t *ports = NULL;
	enum exit_status status = control_client_call(c, "ports", NULL, NULL, NULL, &ports);
	if (!status && !make_url(ports, nb)) {
		log_error("no port of this host leads to the notebook, which is on port %u in the "
			  "guest; add one: charmvm forward add %u:%u",
			  nb->guest_port, nb->guest_port, nb->guest_port);
		status = EXIT_STATUS_PORT;
	}
	json_decref(ports);
	return status;
}

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
	struct notebook nb = { .guest_port = 0 };
	struct control_client c;
	struct record r;
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	if (record_find(&r, a.vm.name))
		return EXIT_STATUS_NO_MACHINE;
	enum exit_status status = find_server(&a, r.name, &nb);
	if (status)
		return status;
	status = control_client_open(&c, r.name);
	status = status ? status : find_way(&c, &nb);
	control_client_close(&c);
	if (status)
		return status;
	print(&a, &r, &nb);
	if (!a.no_browser && !a.vm.json)
		open_browser(&r, &nb);
	return EXIT_STATUS_OK;
}
