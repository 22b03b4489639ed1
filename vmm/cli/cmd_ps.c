/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm ps, charmvm ls: the machines of this user that run. */
#include <stdio.h>
#include <string.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control_client.h"

enum { ANSWER_TIMEOUT_MS = 3000, PORTS_SHOWN = 3, PORTS_TEXT = 64, CPU_TEXT = 16 };

static const struct option_spec options[] = { VM_OPTION_JSON };

static const struct command_spec command = {
	.usage = "charmvm ls [--json]",
	.about = "Lists this user's running machines.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
};

/* What a machine that does not answer is known by. */
static json_t *silent(const struct record *r)
{
	return json_pack("{s:s, s:I, s:s, s:i}", "name", r->name, "pid", (json_int_t)r->pid,
			 "state", "not answering", "ssh_port", (int)r->ssh_port);
}

/* "snapshot": the name behind snapshot_id, or null. */
static void add_snapshot_name(struct control_client *c, json_t *o)
{
	const char *id = json_string_value(json_object_get(o, "snapshot_id"));
	json_t *answer = NULL;
	const json_t *s;
	json_t *name = NULL;
	size_t i;
	if (id && *id)
		control_client_ask(c, "snapshot-list", NULL, NULL, NULL, &answer);
	json_array_foreach (json_object_get(json_object_get(answer, "ok"), "snapshots"), i, s) {
		const char *its = json_string_value(json_object_get(s, "id"));
		if (its && !strcmp(its, id))
			name = json_object_get(s, "name");
	}
	json_object_set_new(o, "snapshot", name ? json_incref(name) : json_null());
	json_decref(answer);
}

static void add_one(void *opaque, const struct record *r)
{
	struct control_client c;
	json_t *answer = NULL, *o = NULL;
	if (!control_client_connect(&c, r, ANSWER_TIMEOUT_MS) &&
	    !control_client_ask(&c, "status", NULL, NULL, NULL, &answer))
		o = json_incref(json_object_get(answer, "ok"));
	if (o)
		add_snapshot_name(&c, o);
	control_client_close(&c);
	json_decref(answer);
	json_array_append_new(opaque, o ? o : silent(r));
}

/* The host's ports, of both families once: "2211,8811,9011,+9". */
static void ports_text(const json_t *o, char out[PORTS_TEXT])
{
	json_int_t seen = 0, port;
	unsigned int n = 0;
	size_t i, len = 0;
	const json_t *f;
	out[0] = '\0';
	json_array_foreach (json_object_get(o, "forwards"), i, f) {
		port = json_integer_value(json_object_get(f, "host_port"));
		if (port == seen)
			continue;
		seen = port;
		if (n++ < PORTS_SHOWN)
			len += (size_t)snprintf(out + len, PORTS_TEXT - len, "%s%u",
						n > 1 ? "," : "", (unsigned int)port % 65536);
	}
	if (n > PORTS_SHOWN)
		snprintf(out + len, PORTS_TEXT - len, ",+%u", n - PORTS_SHOWN);
}

/* The share of a host's processor that it has had since its start, as ps(1) has it. */
static void cpu_text(const json_t *o, char out[CPU_TEXT])
{
	double used = json_number_value(json_object_get(o, "cpu_seconds"));
	json_int_t up = json_integer_value(json_object_get(o, "uptime"));
	if (json_object_get(o, "uptime"))
		snprintf(out, CPU_TEXT, "%.0f%%", used * 100 / (double)(up > 0 ? up : 1));
	else
		snprintf(out, CPU_TEXT, "-");
}

static void print_one(const json_t *o)
{
	char memory[IMAGE_SIZE_TEXT] = "-", up[VM_TIME_TEXT] = "-", ports[PORTS_TEXT],
	     cpu[CPU_TEXT];
	const char *snapshot = json_string_value(json_object_get(o, "snapshot"));
	const json_t *bytes = json_object_get(o, "memory"), *uptime = json_object_get(o, "uptime");
	if (bytes)
		image_size_text((uint64_t)json_integer_value(bytes), memory);
	if (uptime)
		vm_time_text(json_integer_value(uptime), up);
	ports_text(o, ports);
	vm_print_text(json_string_value(json_object_get(o, "name")), 18);
	putchar(' ');
	vm_print_text(json_string_value(json_object_get(o, "state")), 10);
	cpu_text(o, cpu);
	printf(" %7" JSON_INTEGER_FORMAT " %9s %5s %8s  %-18s ",
	       json_integer_value(json_object_get(o, "pid")), memory, cpu, up, ports);
	vm_print_text(snapshot ? snapshot : "-", 12);
	putchar(' ');
	vm_print_text(json_string_value(json_object_get(o, "image")), 0);
	putchar('\n');
}

static void print_table(const json_t *all)
{
	size_t i;
	const json_t *o;
	if (json_array_size(all))
		printf("%-18s %-10s %7s %9s %5s %8s  %-18s %-12s %s\n", "NAME", "STATE", "PID",
		       "MEMORY", "CPU", "UPTIME", "PORTS", "SNAPSHOT", "IMAGE");
	json_array_foreach (all, i, o) {
		print_one(o);
	}
}

int cmd_ps(int argc, char **argv)
{
	struct vm_args a = { 0 };
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	json_t *all = json_array();
	record_each(add_one, all);
	if (a.json) {
		vm_print_json(all);
	} else {
		print_table(all);
		json_decref(all);
	}
	return EXIT_STATUS_OK;
}
