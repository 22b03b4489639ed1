/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm events: what happens to a machine, as it happens. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control_client.h"

enum { CLOCK_BYTES = 16 };

static const struct option_spec options[] = { VM_OPTION_JSON };

static const struct command_spec command = {
	.usage = "charmvm events [VM] [--json]",
	.about = "Prints what happens to a running machine, a line each, until it ends: paused, "
		 "resumed, reset,\n"
		 "snapshots saved and reverted to, a disk that waits for room on the host.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

static void print_text(const char *event, const char *of, time_t when)
{
	char clock[CLOCK_BYTES] = "?";
	struct tm tm;
	if (localtime_r(&when, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	printf("%s  ", clock);
	vm_print_text(event, 0);
	if (of) {
		putchar(' ');
		vm_print_text(of, 0);
	}
	putchar('\n');
}

static void print(void *opaque, const json_t *o)
{
	const struct vm_args *a = opaque;
	const char *event = json_string_value(json_object_get(o, "event"));
	if (a->json) {
		json_dumpf(o, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (event) {
		print_text(event, json_string_value(json_object_get(o, "of")),
			   (time_t)json_integer_value(json_object_get(o, "time")));
	}
	fflush(stdout);
}

/* The machine's last event is that it hangs up. */
static void print_end(struct vm_args *a)
{
	json_t *o = json_pack("{s:s, s:I}", "event", "ended", "time", (json_int_t)time(NULL));
	if (o)
		print(a, o);
	json_decref(o);
}

int cmd_events(int argc, char **argv)
{
	struct vm_args a = { 0 };
	struct control_client c;
	json_t *answer = NULL;
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	enum exit_status status = control_client_open(&c, a.name);
	if (status)
		return status;
	c.timeout_ms = -1;
	int err = control_client_ask(&c, "events", NULL, print, &a, &answer);
	if (err == -EPIPE)
		print_end(&a);
	else if (err)
		log_error("the machine's events cannot be read: %s", strerror(-err));
	json_decref(answer);
	control_client_close(&c);
	return err && err != -EPIPE ? EXIT_STATUS_FAILED : EXIT_STATUS_OK;
}
