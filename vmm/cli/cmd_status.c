/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm status, charmvm ports: what a running machine says of itself. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control_client.h"

static const struct option_spec options[] = { VM_OPTION_JSON };

static const struct command_spec status_command = {
	.usage = "charmvm status [VM] [--json]",
	.about = "Tells how a running machine is: memory, time, ports.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

static const struct command_spec ports_command = {
	.usage = "charmvm ports [VM] [--json]",
	.about = "Lists the ports of this host that lead to a running machine.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? s : "";
}

/* "127.0.0.1:2211 -> 22", one a line. */
static void print_forwards(const json_t *o, const char *indent)
{
	size_t i;
	const json_t *f;
	json_array_foreach (json_object_get(o, "forwards"), i, f) {
		bool v6 = strchr(text(f, "address"), ':');
		printf("%s%s %s", indent, text(f, "proto"), v6 ? "[" : "");
		vm_print_text(text(f, "address"), 0);
		printf("%s:%" JSON_INTEGER_FORMAT " -> %" JSON_INTEGER_FORMAT "\n", v6 ? "]" : "",
		       number(f, "host_port"), number(f, "guest_port"));
	}
}

static void print_status(const json_t *o)
{
	char memory[IMAGE_SIZE_TEXT], resident[IMAGE_SIZE_TEXT], up[VM_TIME_TEXT];
	image_size_text((uint64_t)number(o, "memory"), memory);
	image_size_text((uint64_t)number(o, "resident"), resident);
	vm_time_text(number(o, "uptime"), up);
	printf("name:     ");
	vm_print_text(text(o, "name"), 0);
	printf("\nstate:    ");
	vm_print_text(text(o, "state"), 0);
	printf("\nimage:    ");
	vm_print_text(*text(o, "image") ? text(o, "image") : "none", 0);
	printf("\npid:      %" JSON_INTEGER_FORMAT "\nuptime:   %s\n", number(o, "pid"), up);
	printf("memory:   %s, %s of the host's in use\n", memory, resident);
	printf("cpus:     %" JSON_INTEGER_FORMAT ", %.1f s used\n", number(o, "cpus"),
	       json_number_value(json_object_get(o, "cpu_seconds")));
	if (json_array_size(json_object_get(o, "forwards")))
		printf("ports:\n");
	print_forwards(o, "  ");
}

static int ask(const struct command_spec *cmd, const char *verb, int argc, char **argv,
	       void (*print)(const json_t *o))
{
	struct vm_args a = { 0 };
	struct control_client c;
	json_t *o = NULL;
	int over;
	if (!vm_parse(cmd, &a, argc, argv, &over))
		return over;
	enum exit_status status = control_client_open(&c, a.name);
	if (!status)
		status = control_client_call(&c, verb, NULL, NULL, NULL, &o);
	control_client_close(&c);
	if (status)
		return status;
	if (a.json) {
		vm_print_json(o);
	} else {
		print(o);
		json_decref(o);
	}
	return EXIT_STATUS_OK;
}

static void print_ports(const json_t *o)
{
	print_forwards(o, "");
}

int cmd_status(int argc, char **argv)
{
	return ask(&status_command, "status", argc, argv, print_status);
}

int cmd_ports(int argc, char **argv)
{
	return ask(&ports_command, "ports", argc, argv, print_ports);
}
