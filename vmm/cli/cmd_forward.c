/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm forward add|remove|list: the ports of a running machine. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devices/net/forward.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control_client.h"

struct words {
	struct vm_args vm; /* its name stays NULL: words has it */
	const char *v[2];
	unsigned int n;
};

static int operand(void *cfg, const char *value)
{
	struct words *w = cfg;
	if (w->n == ARRAY_SIZE(w->v)) {
		log_error("'%s': a machine and one forward are wanted", value);
		return -EINVAL;
	}
	w->v[w->n++] = value;
	return 0;
}

/* [VM] SPEC: where there is one word, it is the forward. */
static bool parse(const struct command_spec *cmd, struct words *w, int argc, char **argv,
		  int *status)
{
	if (!vm_parse(cmd, w, argc, argv, status))
		return false;
	if (w->n)
		return true;
	log_error("which forward? %s", cmd->usage);
	*status = EXIT_STATUS_USAGE;
	return false;
}

static int ask(const struct words *w, const char *verb, json_t *args)
{
	struct control_client c;
	enum exit_status status = control_client_open(&c, w->n > 1 ? w->v[0] : NULL);
	if (!status)
		status = control_client_call(&c, verb, args, NULL, NULL, NULL);
	else
		json_decref(args);
	control_client_close(&c);
	return status;
}

static int forward_add(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm forward add [VM] [tcp:|udp:][ADDR:]PORT:GUESTPORT",
		.about = "Makes a port of this host lead to a running machine.",
		.operand = operand,
	};
	struct words w = { 0 };
	struct forward_spec spec;
	int over;
	if (!parse(&command, &w, argc, argv, &over))
		return over;
	const char *text = w.v[w.n - 1];
	if (forward_parse(text, &spec))
		return EXIT_STATUS_USAGE;
	return ask(&w, "forward-add", json_pack("{s:s}", "spec", text));
}

/* "8080", "udp:53", or a forward as it was given. */
static bool read_port(const char *text, bool *udp, uint16_t *port)
{
	struct forward_spec spec;
	const char *why, *digits = text;
	uint64_t v;
	*udp = !strncmp(text, "udp:", 4);
	if (*udp || !strncmp(text, "tcp:", 4))
		digits += 4;
	if (!options_parse_uint(digits, 1, UINT16_MAX, &v))
		*port = (uint16_t)v;
	else if (!forward_read(text, &spec, &why))
		*port = spec.host_port;
	else
		return false;
	return true;
}

static int forward_remove(int argc, char **argv)
{
	static const struct command_spec command = {
		.usage = "charmvm forward remove [VM] [tcp:|udp:]PORT",
		.about = "Closes a port of this host. Connections that are open stay.",
		.operand = operand,
	};
	struct words w = { 0 };
	uint16_t port;
	bool udp;
	int over;
	if (!parse(&command, &w, argc, argv, &over))
		return over;
	if (!read_port(w.v[w.n - 1], &udp, &port)) {
		log_error(
			"forward remove %s: a port of this host is wanted, such as 8080 or udp:53",
			w.v[w.n - 1]);
		return EXIT_STATUS_USAGE;
	}
	return ask(&w, "forward-remove", json_pack("{s:b, s:i}", "udp", udp, "port", (int)port));
}

static const struct {
	const char *name;
	int (*fn)(int argc, char **argv);
	const char *about;
} verbs[] = {
	{ "add", forward_add, "make a port of this host lead to a running machine" },
	{ "list", cmd_ports, "list the ports of this host that lead to one" },
	{ "remove", forward_remove, "close a port of this host" },
};

static void help(FILE *out)
{
	fprintf(out, "Usage: charmvm forward add [VM] [tcp:|udp:][ADDR:]PORT:GUESTPORT\n"
		     "       charmvm forward remove [VM] [tcp:|udp:]PORT\n"
		     "       charmvm forward list [VM] [--json]\n");
	if (out != stdout)
		return;
	printf("\nVerbs:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		options_help_verb(verbs[i].name, verbs[i].about);
}

int cmd_forward(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verb, verbs[i].name))
			return verbs[i].fn(argc - 1, argv + 1);
	bool asked = !strcmp(verb, "--help") || !strcmp(verb, "-h");
	help(asked ? stdout : stderr);
	return asked ? EXIT_STATUS_OK : EXIT_STATUS_USAGE;
}
