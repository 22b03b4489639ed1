/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of a machine. */
#include "vmm/config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/config_file.h"
#include "vmm/config_options.h"

enum { OWN_OPTIONS_MAX = 16 }; /* of a command beside a machine's */

#define MEM_DEFAULT_BYTES (1 * GIB)

static int operand(void *opaque, const char *v)
{
	(void)opaque;
	log_error("unexpected argument '%s'; to start a machine: charmvm --image %s", v, v);
	return -EINVAL;
}

static const struct command_spec run_command = {
	.usage = "charmvm --image FILE [--mem SIZE] [--cpus N] [OPTION...]\n"
		 "       charmvm --kernel FILE [--initrd FILE] [--append TEXT] [OPTION...]\n"
		 "       charmvm ssh [NAME] [-- COMMAND...]",
	.about = "Boots a Linux disk image on KVM, as a plain user, with its console on the "
		 "terminal.",
	.options = config_options,
	.noptions = CONFIG_OPTIONS,
	.operand = operand,
};

void config_name_after(const char *path, char out[CONFIG_NAME_MAX + 1])
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t len = strlen(base);
	const char *dot = strrchr(base, '.');
	if (dot && dot != base)
		len = (size_t)(dot - base);
	snprintf(out, CONFIG_NAME_MAX + 1, "%.*s", (int)MIN(len, (size_t)CONFIG_NAME_MAX), base);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p <= ' ')
			*p = '_';
}

const char *config_named_after(const struct machine_config *cfg)
{
	return cfg->image ? cfg->image : cfg->kernel ? cfg->kernel : cfg->cdrom;
}

bool config_name_ok(const char *name)
{
	return *name && strlen(name) <= CONFIG_NAME_MAX && !strspn(name, "/.") &&
	       !strpbrk(name, "/\n\t ");
}

/* What no single option can tell. */
static int check_whole(struct machine_config *cfg)
{
	if (!cfg->image && !cfg->kernel && (!cfg->cdrom || cfg->firmware == CONFIG_FIRMWARE_NONE)) {
		log_error(
			"nothing to boot; give a disk: charmvm --image FILE (see charmvm --help)");
		return -EINVAL;
	}
	if (cfg->from && !cfg->image) {
		log_error("--from %s: a snapshot is in an image; give it: --image FILE", cfg->from);
		return -EINVAL;
	}
	if (cfg->throw_away && (!cfg->from || cfg->discard)) {
		log_error("--throw-away goes with --from NAME, and without --discard: it changes "
			  "nothing in "
			  "the image");
		return -EINVAL;
	}
	if (cfg->discard && !cfg->from) {
		log_error("--discard goes with --from NAME: a boot drops nothing");
		return -EINVAL;
	}
	if (cfg->firmware == CONFIG_FIRMWARE_BIOS && (cfg->kernel || cfg->append)) {
		log_error("--firmware bios leaves the kernel and its command line to the disk's "
			  "boot loader: leave out --kernel and --append");
		return -EINVAL;
	}
	if (cfg->user_data && cfg->cloud_init == CLOUD_INIT_OFF) {
		log_error("--user-data is for the guest's cloud-init: leave out --cloud-init off");
		return -EINVAL;
	}
	if (cfg->initrd && !cfg->kernel) {
		log_error("--initrd needs --kernel: the image's kernel has an initrd of its own");
		return -EINVAL;
	}
	if (!cfg->net && (cfg->nforwards || cfg->pcap)) {
		log_error("--net none leaves nothing for --forward or --pcap to work on");
		return -EINVAL;
	}
	if (cfg->detach && cfg->console && !strcmp(cfg->console, "stdio")) {
		log_error("--detach leaves the terminal: 'charmvm console' shows the machine's "
			  "console "
			  "there");
		return -EINVAL;
	}
	if (cfg->json && !cfg->detach) {
		log_error("--json goes with --detach: the machine's console is here");
		return -EINVAL;
	}
	if (!cfg->console)
		cfg->console = cfg->detach ? CONFIG_CONSOLE_DETACHED : "stdio";
	if (!cfg->name) {
		config_name_after(config_named_after(cfg), cfg->name_buf);
		cfg->name = cfg->name_buf;
	}
	return 0;
}

/* --image's disk comes first, wherever it stood among the --disk options. */
static int put_image_first(struct machine_config *cfg)
{
	const struct disk_config disk = { .path = cfg->image };
	int err = cfg->image ? config_add_disk(cfg, disk) : 0;
	if (err)
		return err;
	if (cfg->image) {
		memmove(&cfg->disks[1], &cfg->disks[0], (cfg->ndisks - 1) * sizeof(cfg->disks[0]));
		cfg->disks[0] = disk;
	}
	for (unsigned int i = 0; i < cfg->ndisks; i++)
		if (!cfg->disks[i].on_error)
			cfg->disks[i].on_error = cfg->on_disk_error;
	return 0;
}

static void set_defaults(struct machine_config *cfg, const char *console)
{
	*cfg = (struct machine_config){
		.mem_bytes = MEM_DEFAULT_BYTES,
		.cpus = 1,
		.net = true,
		.agent = true,
		.console = console,
		.wait = true,
		.agent_client = -1,
		.leash = -1,
	};
}

int config_parse_as(const struct command_spec *cmd, struct machine_config *cfg, int argc,
		    char **argv, int *rest)
{
	struct option_spec all[CONFIG_OPTIONS + OWN_OPTIONS_MAX];
	struct command_spec both = *cmd;
	assert(cmd->noptions <= OWN_OPTIONS_MAX);
	memcpy(all, cmd->options, cmd->noptions * sizeof(all[0]));
	memcpy(all + cmd->noptions, config_options, CONFIG_OPTIONS * sizeof(all[0]));
	both.options = all;
	both.noptions = cmd->noptions + CONFIG_OPTIONS;
	set_defaults(cfg, "none");
	int err = options_parse(&both, cfg, argc, argv, rest);
	err = err ? err : put_image_first(cfg);
	return err ? err : check_whole(cfg);
}

int config_parse(struct machine_config *cfg, int argc, char **argv)
{
	set_defaults(cfg, NULL);
	int rest;
	if (argc == 1) {
		options_help(&run_command);
		return -EINVAL;
	}
	bool given[CONFIG_OPTIONS] = { false };
	int err = options_parse_noting(&run_command, cfg, argc, argv, &rest, given);
	if (err)
		return err;
	if (cfg->version) {
		printf("charmvm %s\n", CHARMVM_VERSION);
		return 1;
	}
	err = config_files_apply(&run_command, cfg, given) ? -EINVAL : put_image_first(cfg);
	return err ? err : check_whole(cfg);
}

void config_free(struct machine_config *cfg)
{
	for (size_t i = 0; i < ARRAY_SIZE(cfg->texts); i++) {
		free(cfg->texts[i]);
		cfg->texts[i] = NULL;
	}
}
