/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm stop: asks the guest to power down, waits for it, and then stops the machine. */
#include "vmm/cli/cmd_stop.h"

#include <errno.h>
#include <time.h>

#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/control/control_client.h"

enum { TIME_DEFAULT_S = 60, TIME_MAX_S = 86400, END_TIME_S = 60 };
#define LOOK_AGAIN_NS (20 * NS_PER_MS)

struct stop {
	struct vm_args vm;
	bool now;
	uint64_t time_s;
};

static int set_now(void *cfg, const char *value)
{
	(void)value;
	((struct stop *)cfg)->now = true;
	return 0;
}

static int set_time(void *cfg, const char *value)
{
	if (!options_parse_uint(value, 0, TIME_MAX_S, &((struct stop *)cfg)->time_s))
		return 0;
	log_error("--time %s: a number of seconds is wanted, 0 to %d", value, TIME_MAX_S);
	return -EINVAL;
}

static const struct option_spec options[] = {
	{ "force", 'f', NULL, "do not ask the guest; disks are flushed all the same", set_now },
	{ "now", 0, NULL, "the same", set_now },
	{ "time", 't', "SECONDS", "how long the guest has to power down [60]", set_time },
};

static const struct command_spec command = {
	.usage = "charmvm stop [VM] [--time SECONDS] [--force]",
	.about = "Presses the power button of a running machine, waits until it has ended, and "
		 "stops "
		 "it when its guest does not listen.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

bool stop_has_ended(const struct record *r, uint64_t seconds)
{
	uint64_t end_ns = clock_now_ns() + seconds * NS_PER_S;
	const struct timespec pause = { .tv_nsec = LOOK_AGAIN_NS };
	while (record_is_running(r)) {
		if (clock_now_ns() >= end_ns)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

static enum exit_status ask(struct control_client *c, bool now)
{
	json_t *answer = NULL;
	int err =
		control_client_ask(c, "stop", json_pack("{s:b}", "now", now), NULL, NULL, &answer);
	json_decref(answer);
	if (!err || err == -EPIPE)
		return EXIT_STATUS_OK; /* it ended on its own in between */
	log_error("machine '%s' cannot be asked to stop; kill -TERM %lld does it", c->record.name,
		  (long long)c->record.pid);
	return EXIT_STATUS_FAILED;
}

static enum exit_status stop(struct control_client *c, const struct stop *s)
{
	const struct record *r = &c->record;
	enum exit_status status = ask(c, s->now);
	if (status || stop_has_ended(r, s->now ? END_TIME_S : s->time_s))
		return status;
	if (!s->now) {
		log_warn("machine '%s': its guest has not powered down; stopping it", r->name);
		status = ask(c, true);
		if (status || stop_has_ended(r, END_TIME_S))
			return status;
	}
	log_error("machine '%s' does not end; its process is %lld", r->name, (long long)r->pid);
	return EXIT_STATUS_FAILED;
}

int cmd_stop(int argc, char **argv)
{
	struct stop s = { .time_s = TIME_DEFAULT_S };
	struct control_client c;
	int over;
	if (!vm_parse(&command, &s, argc, argv, &over))
		return over;
	enum exit_status status = control_client_open(&c, s.vm.name);
	if (!status)
		status = stop(&c, &s);
	control_client_close(&c);
	return status;
}
