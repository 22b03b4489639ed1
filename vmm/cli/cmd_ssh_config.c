/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm ssh-config: the machine as a host of ssh_config(5), so that scp, rsync and editors reach it by its name. */
#include <stdio.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/ssh_args.h"
#include "vmm/exit_status.h"

struct ssh_config_args {
	struct vm_args vm;
	const char *user;
};

static int set_user(void *cfg, const char *value)
{
	((struct ssh_config_args *)cfg)->user = value;
	return 0;
}

static const struct option_spec options[] = {
	{ "login", 'l', "USER", "log in as USER [charm, or as its box says]", set_user },
	VM_OPTION_JSON,
};

static const struct command_spec command = {
	.usage = "charmvm ssh-config [-l USER] [VM] [--json]",
	.about = "Prints how ssh, scp, rsync and editors reach a running machine: a Host of\n"
		 "ssh_config(5), to be used with 'ssh -F FILE VM' or included by ~/.ssh/config.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = vm_operand,
};

/* What is said twice becomes a list. */
static json_t *as_json(const struct record *r, const struct ssh_setting *settings, unsigned int n)
{
	json_t *o = json_pack("{s:s}", "Host", r->name);
	for (unsigned int i = 0; i < n; i++) {
		json_t *v = json_string(settings[i].value);
		json_t *first = json_object_get(o, settings[i].key);
		json_object_set_new(o, settings[i].key, first ? json_pack("[O, o]", first, v) : v);
	}
	return o;
}

int cmd_ssh_config(int argc, char **argv)
{
	struct ssh_config_args a = { 0 };
	struct ssh_setting settings[SSH_SETTINGS_MAX];
	struct record r;
	int over;
	if (!vm_parse(&command, &a, argc, argv, &over))
		return over;
	if (record_find(&r, a.vm.name))
		return EXIT_STATUS_NO_MACHINE;
	if (ssh_check(&r))
		return EXIT_STATUS_FAILED;
	unsigned int n = ssh_settings(&r, a.user, settings);
	if (a.vm.json) {
		vm_print_json(as_json(&r, settings, n));
		return EXIT_STATUS_OK;
	}
	printf("Host %s\n", r.name);
	for (unsigned int i = 0; i < n; i++)
		printf("  %s %s\n", settings[i].key, settings[i].value);
	return EXIT_STATUS_OK;
}
