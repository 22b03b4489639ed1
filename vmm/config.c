/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of a machine. */
#include "vmm/config.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/config_file.h"

enum { OWN_OPTIONS_MAX = 16 }; /* of a command beside a machine's */

#define MEM_DEFAULT_BYTES (1 * GIB)

static int add_disk(struct machine_config *cfg, struct disk_config disk)
{
	if (cfg->ndisks == CONFIG_DISKS_MAX) {
		log_error("--disk %s: a machine has at most %d disks", disk.path, CONFIG_DISKS_MAX);
		return -EINVAL;
	}
	cfg->disks[cfg->ndisks++] = disk;
	return 0;
}

/* -> 0, or -EINVAL when @word is neither. */
static int parse_on_error(const char *word, enum virtio_blk_on_error *out)
{
	if (strcmp(word, "stop") && strcmp(word, "report"))
		return -EINVAL;
	*out = *word == 's' ? VIRTIO_BLK_STOP : VIRTIO_BLK_REPORT;
	return 0;
}

static int opt_image(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	if (cfg->image) {
		log_error("--image was given twice; more disks go with --disk FILE");
		return -EINVAL;
	}
	cfg->image = v;
	return 0;
}

/* Ends the file's name at its first single comma and takes doubled ones for one, as QEMU does. -> what follows,
 * or NULL. */
static char *end_name(char *name)
{
	char *to = name;
	for (char *from = name; *from; from++) {
		if (*from == ',' && *++from != ',') {
			*to = '\0';
			return from;
		}
		*to++ = *from;
	}
	*to = '\0';
	return NULL;
}

/* FILE[,ro][,on-error=stop|report] */
static int opt_disk(void *opaque, const char *v)
{
	static const char on_error[] = "on-error=";
	char *name = (char *)(uintptr_t)v; /* argv's own memory */
	struct disk_config disk = { .path = name };
	for (char *word = end_name(name), *next; word; word = next) {
		next = strchr(word, ',');
		if (next)
			*next++ = '\0';
		if (!strcmp(word, "ro")) {
			disk.read_only = true;
		} else if (strncmp(word, on_error, strlen(on_error)) ||
			   parse_on_error(word + strlen(on_error), &disk.on_error)) {
			log_error("--disk %s: '%s' may not follow the file's name: ',ro' and "
				  "',on-error=stop' or ',on-error=report' may; a comma of the name "
				  "is written twice",
				  name, word);
			return -EINVAL;
		}
	}
	return add_disk(opaque, disk);
}

static int opt_on_disk_error(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	if (!parse_on_error(v, &cfg->on_disk_error))
		return 0;
	log_error("--on-disk-error %s: 'stop' (the machine waits) or 'report' (the guest is told)",
		  v);
	return -EINVAL;
}

static int opt_mem(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	struct sysinfo si;
	if (options_parse_size(v, &cfg->mem_bytes)) {
		log_error("--mem %s: not a size; give a number with M or G, such as --mem 2G", v);
		return -EINVAL;
	}
	if (cfg->mem_bytes < CONFIG_MEM_MIN_BYTES) {
		log_error("--mem %s: too little; a machine needs at least 64M", v);
		return -EINVAL;
	}
	if (!sysinfo(&si) && cfg->mem_bytes > (uint64_t)si.totalram * si.mem_unit) {
		log_error("--mem %s: more than this host has (%llu MiB); give less", v,
			  (unsigned long long)((uint64_t)si.totalram * si.mem_unit / MIB));
		return -EINVAL;
	}
	cfg->mem_bytes = align_down(cfg->mem_bytes, MIB);
	cfg->mem_given = cfg->mem_said = true;
	return 0;
}

static int opt_cpus(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	uint64_t n;
	if (options_parse_uint(v, 1, CONFIG_CPUS_MAX, &n)) {
		log_error("--cpus %s: a machine has 1 to %d vCPUs", v, CONFIG_CPUS_MAX);
		return -EINVAL;
	}
	cfg->cpus = (unsigned int)n;
	cfg->cpus_given = cfg->cpus_said = true;
	return 0;
}

static int opt_name(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	if (!config_name_ok(v)) {
		log_error("--name '%s': a name has 1 to %d characters, no '/' and no blanks", v,
			  CONFIG_NAME_MAX);
		return -EINVAL;
	}
	cfg->name = v;
	return 0;
}

static int opt_net(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	cfg->net = !strcmp(v, "user");
	cfg->net_given = true;
	if (!cfg->net && strcmp(v, "none")) {
		log_error("--net %s: 'user' (the default) or 'none'", v);
		return -EINVAL;
	}
	return 0;
}

static int append_to(const char **list, unsigned int *n, unsigned int max, const char *what,
		     const char *v)
{
	if (*n == max) {
		log_error("--%s %s: at most %u of them", what, v, max);
		return -EINVAL;
	}
	list[(*n)++] = v;
	return 0;
}

static int opt_forward(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	return append_to(cfg->forwards, &cfg->nforwards, CONFIG_FORWARDS_MAX, "forward", v);
}

static int opt_expose(void *opaque, const char *v)
{
	struct ports_exposed *e = &((struct machine_config *)opaque)->exposed;
	uint64_t port;
	if (!strcmp(v, "free")) {
		e->free = true;
	} else if (!strcmp(v, "ssh")) {
		e->ssh = true;
	} else if (!strcmp(v, "notebook")) {
		e->notebook = true;
	} else if (!options_parse_uint(v, 1, UINT16_MAX, &port) && e->nports < PORTS_SET_MAX) {
		e->ports[e->nports++] = (uint16_t)port;
	} else {
		log_error("--expose %s: 'free' (the ten free ports), 'ssh', 'notebook', or one of "
			  "the "
			  "machine's ports",
			  v);
		return -EINVAL;
	}
	return 0;
}

static int opt_channel(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	char *eq = strchr(v, '=');
	if (!eq || eq == v || (strncmp(eq + 1, "file:", 5) && strncmp(eq + 1, "socket:", 7))) {
		log_error("--channel %s: NAME=socket:PATH or NAME=file:PATH, such as "
			  "org.example.0=socket:/tmp/s",
			  v);
		return -EINVAL;
	}
	if (cfg->nchannels == CONFIG_CHANNELS_MAX) {
		log_error("--channel %s: at most %d of them", v, CONFIG_CHANNELS_MAX);
		return -EINVAL;
	}
	*eq = '\0'; /* argv's own memory */
	cfg->channels[cfg->nchannels++] = (struct channel_config){ v, eq + 1 };
	return 0;
}

static int opt_agent(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	cfg->agent = !strcmp(v, "on");
	cfg->agent_given = true;
	if (!cfg->agent && strcmp(v, "off")) {
		log_error("--agent %s: 'on' (the default) or 'off'", v);
		return -EINVAL;
	}
	return 0;
}

static int opt_cloud_init(void *opaque, const char *v)
{
	static const char *const words[] = { "auto", "on", "off" }; /* as the enum has them */
	struct machine_config *cfg = opaque;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(v, words[i])) {
			cfg->cloud_init = (enum config_cloud_init)i;
			cfg->cloud_init_given = cfg->cloud_init != CLOUD_INIT_AUTO;
			return 0;
		}
	log_error("--cloud-init %s: 'auto' (the default: where the image has cloud-init), 'on' or "
		  "'off'",
		  v);
	return -EINVAL;
}

static int opt_allow_backing(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	return append_to(cfg->allow_backing, &cfg->nallow_backing, CONFIG_DISKS_MAX,
			 "allow-backing", v);
}

static int opt_code(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	uint64_t n;
	if (options_parse_uint(v, 1, 99, &n)) {
		log_error("--code %s: two digits, 01 to 99: SSH is then on port 22NN", v);
		return -EINVAL;
	}
	cfg->code = (unsigned int)n;
	return 0;
}

static int opt_host_loopback(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	uint64_t n = 0;
	if (strcmp(v, "all") && options_parse_uint(v, 1, UINT16_MAX, &n)) {
		log_error("--host-loopback %s: a port of the host's loopback, or 'all'", v);
		return -EINVAL;
	}
	cfg->host_loopback = true;
	cfg->host_loopback_port = (uint16_t)n;
	return 0;
}

static int opt_verbose(void *opaque, const char *v)
{
	(void)v;
	((struct machine_config *)opaque)->verbose++;
	return 0;
}

static int opt_throw_away(void *opaque, const char *v)
{
	(void)v;
	((struct machine_config *)opaque)->throw_away = true;
	return 0;
}

static int opt_discard(void *opaque, const char *v)
{
	(void)v;
	((struct machine_config *)opaque)->discard = true;
	return 0;
}

static int opt_cold(void *opaque, const char *v)
{
	(void)v;
	((struct machine_config *)opaque)->cold = true;
	return 0;
}

static int opt_detach(void *opaque, const char *v)
{
	(void)v;
	((struct machine_config *)opaque)->detach = true;
	return 0;
}

static int opt_no_wait(void *opaque, const char *v)
{
	(void)v;
	((struct machine_config *)opaque)->wait = false;
	return 0;
}

static int opt_cpu(void *opaque, const char *v)
{
	if (x86_cpu_model_parse(v, &((struct machine_config *)opaque)->cpu))
		return 0;
	log_error("--cpu %s: 'host', 'baseline' (x86-64-v2) or 'v3' (x86-64-v3)", v);
	return -EINVAL;
}

static int opt_firmware(void *opaque, const char *v)
{
	static const char *const names[] = {
		[CONFIG_FIRMWARE_AUTO] = "auto",
		[CONFIG_FIRMWARE_NONE] = "none",
		[CONFIG_FIRMWARE_BIOS] = "bios",
	};
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(v, names[i]) != 0)
			continue;
		((struct machine_config *)opaque)->firmware = (enum config_firmware)i;
		return 0;
	}
	log_error("--firmware %s: 'bios' (the disk's boot loader), 'none' (the kernel inside), or "
		  "'auto' (a BIOS where there is no kernel inside)",
		  v);
	return -EINVAL;
}

static int opt_version(void *opaque, const char *v)
{
	(void)v;
	((struct machine_config *)opaque)->version = true;
	return 0;
}

#define STRING_OPTION(field)                                                                       \
	static int opt_##field(void *opaque, const char *v)                                        \
	{                                                                                          \
		((struct machine_config *)opaque)->field = v;                                      \
		return 0;                                                                          \
	}
STRING_OPTION(cdrom)
STRING_OPTION(from)
STRING_OPTION(kernel)
STRING_OPTION(initrd)
STRING_OPTION(append)
STRING_OPTION(console)
STRING_OPTION(pcap)
#undef STRING_OPTION

static const struct option_spec run_options[] = {
	{ "image", 'i', "FILE", "the machine's disk, raw or qcow2; its kernel is booted",
	  opt_image },
	{ "mem", 'm', "SIZE", "memory, 64M or more [1G]", opt_mem },
	{ "cpus", 'c', "N", "vCPUs, 1 to 64 [1]", opt_cpus },
	{ "cpu", 0, "MODEL",
	  "'host', or 'baseline' or 'v3' for snapshots that other hosts can restore [host]",
	  opt_cpu },
	{ "name", 'n', "NAME", "the machine's name [the image's, without its ending]", opt_name },
	{ "disk", 'd', "FILE[,ro]", "one more disk; may be repeated", opt_disk },
	{ "cdrom", 0, "FILE", "an ISO image in a CD-ROM drive; with a BIOS, booted first",
	  opt_cdrom },
	{ "from", 0, "NAME", "start from this snapshot of the image instead of booting", opt_from },
	{ "throw-away", 0, NULL,
	  "with --from: leave the image alone, even one in use; what is written is thrown away",
	  opt_throw_away },
	{ "discard", 0, NULL, "with --from: drop what the disk has and no snapshot has",
	  opt_discard },
	{ "on-disk-error", 0, "WHAT", "'stop' or 'report' [stop where the host has no room]",
	  opt_on_disk_error },
	{ "firmware", 0, "KIND",
	  "'bios' runs the disk's boot loader, 'none' the kernel inside [auto: bios without one]",
	  opt_firmware },
	{ "kernel", 'k', "FILE", "boot this bzImage or PVH ELF instead of the image's kernel",
	  opt_kernel },
	{ "initrd", 0, "FILE", "the initial RAM disk for --kernel", opt_initrd },
	{ "append", 'a', "TEXT", "kernel command line: added to the image's, or all with --kernel",
	  opt_append },
	{ "forward", 'f', "SPEC", "[tcp|udp:][addr:]port:guestport; may be repeated", opt_forward },
	{ "code", 0, "NN", "the two digits of the machine's ports (22NN is SSH)", opt_code },
	{ "expose", 0, "WHAT", "listen on all addresses: 'free', 'ssh', 'notebook' or a port",
	  opt_expose },
	{ "host-loopback", 0, "PORT",
	  "let the guest reach this port of the host's loopback, or 'all'", opt_host_loopback },
	{ "net", 0, "KIND", "'user' (the default) or 'none'", opt_net },
	{ "pcap", 0, "FILE", "write the network's packets into FILE", opt_pcap },
	{ "console", 0, "WHERE", "stdio, file:PATH, socket:PATH or none [stdio]", opt_console },
	{ "channel", 0, "NAME=WHERE",
	  "/dev/virtio-ports/NAME in the guest; socket:PATH or file:PATH", opt_channel },
	{ "agent", 0, "on|off",
	  "the port of the agent in the guest: exec, cp and wait need it [on]", opt_agent },
	{ "cloud-init", 0, "auto|on|off",
	  "a disk with name and keys for the guest's cloud-init [auto: where it has one]",
	  opt_cloud_init },
	{ "allow-backing", 0, "FILE", "a backing file outside the image's directory may be used",
	  opt_allow_backing },
	{ "cold", 0, NULL, "boot, though the image was suspended", opt_cold },
	{ "detach", 0, NULL, "run it in the background; return when SSH answers", opt_detach },
	{ "no-wait", 0, NULL, "with --detach: return as soon as it runs", opt_no_wait },
	{ "verbose", 'v', NULL, "say what is done; twice: say more", opt_verbose },
	{ "version", 'V', NULL, "print the version", opt_version },
};

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
	.options = run_options,
	.noptions = ARRAY_SIZE(run_options),
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
	int err = cfg->image ? add_disk(cfg, disk) : 0;
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
	struct option_spec all[ARRAY_SIZE(run_options) + OWN_OPTIONS_MAX];
	struct command_spec both = *cmd;
	assert(cmd->noptions <= OWN_OPTIONS_MAX);
	memcpy(all, cmd->options, cmd->noptions * sizeof(all[0]));
	memcpy(all + cmd->noptions, run_options, sizeof(run_options));
	both.options = all;
	both.noptions = cmd->noptions + ARRAY_SIZE(run_options);
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
	bool given[ARRAY_SIZE(run_options)] = { false };
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
