/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm reboot: the guest shuts down in good order and boots again, in the same process. */
#include <errno.h>
#include <time.h>

#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control_client.h"

enum { TIME_DEFAULT_S = 60, TIME_MAX_S = 86400 };
#define LOOK_AGAIN_NS (100 * NS_PER_MS)

struct reboot {
	struct vm_args vm;
	uint64_t time_s;
};

static int set_time(void *cfg, const char *value)
{
	if (!options_parse_uint(value, 0, TIME_MAX_S, &((struct reboot *)cfg)->time_s))
		return 0;
	log_error("--time %s: a number of seconds is wanted, 0 to %d", value, TIME_MAX_S);
	return -EINVAL;
}

static const struct option_spec options[] = {
	{ "time", 't', "SECONDS", "how long the guest has to shut down [60]", set_time },
};

static const struct command_spec command = {
	.usage = "charmvm reboot [VM] [--time SECONDS]",
	.about = "Presses the power button of a running machine and boots it again when its guest\n"
		 "has shut down; a guest that does not listen is reset. Returns when it boots;\n"
		 "charmvm wait tells when it is ready.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

/* How often it has begun anew. */
static enum exit_status resets(struct control_client *c, json_int_t *n)
{
	json_t *o = NULL;
	enum exit_status status = control_client_call(c, "status", NULL, NULL, NULL, &o);
	*n = json_integer_value(json_object_get(o, "resets"));
	json_decref(o);
	return status;
}

static enum exit_status reboot(struct control_client *c, uint64_t seconds)
{
	const struct timespec pause = { .tv_nsec = LOOK_AGAIN_NS };
	json_int_t before, now;
	enum exit_status status = resets(c, &before);
	uint64_t end_ns = clock_now_ns() + seconds * NS_PER_S;
	status = status ? status : control_client_call(c, "reboot", NULL, NULL, NULL, NULL);
	while (!status) {
		status = resets(c, &now);
		if (status || now != before)
			return status;
		if (clock_now_ns() >= end_ns)
			break;
		nanosleep(&pause, NULL);
	}
	if (status)
		return status;
	log_warn("machine '%s': its guest has not shut down; resetting it", c->record.name);
	return control_client_call(c, "reset", NULL, NULL, NULL, NULL);
}

int cmd_reboot(int argc, char **argv)
{
	struct reboot r = { .time_s = TIME_DEFAULT_S };
	struct control_client c;
	int over;
	if (!vm_parse(&command, &r, argc, argv, &over))
		return over;
	enum exit_status status = control_client_open(&c, r.vm.name);
	if (!status)
		status = reboot(&c, r.time_s);
	control_client_close(&c);
	return status;
}
