/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a machine's options, and what sets those that are neither disk nor network. */
#include "vmm/config_options.h"

#include <errno.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"

int config_append(const char **list, unsigned int *n, unsigned int max, const char *what,
		  const char *v)
{
	if (*n == max) {
		log_error("--%s %s: at most %u of them", what, v, max);
		return -EINVAL;
	}
	list[(*n)++] = v;
	return 0;
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

/* Which of @words it is, or -EINVAL. */
static int word_index(const char *v, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(v, words[i]))
			return (int)i;
	return -EINVAL;
}

static int opt_cloud_init(void *opaque, const char *v)
{
	static const char *const words[] = {
		[CLOUD_INIT_AUTO] = "auto", [CLOUD_INIT_ON] = "on", [CLOUD_INIT_OFF] = "off"
	};
	struct machine_config *cfg = opaque;
	int i = word_index(v, words, ARRAY_SIZE(words));
	if (i < 0) {
		log_error("--cloud-init %s: 'auto' (the default: where the image has cloud-init), "
			  "'on' or 'off'",
			  v);
		return i;
	}
	cfg->cloud_init = (enum config_cloud_init)i;
	cfg->cloud_init_given = cfg->cloud_init != CLOUD_INIT_AUTO;
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

static int opt_json(void *opaque, const char *v)
{
	(void)v;
	((struct machine_config *)opaque)->json = true;
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
	static const char *const words[] = {
		[CONFIG_FIRMWARE_AUTO] = "auto",
		[CONFIG_FIRMWARE_NONE] = "none",
		[CONFIG_FIRMWARE_BIOS] = "bios",
	};
	int i = word_index(v, words, ARRAY_SIZE(words));
	if (i < 0) {
		log_error("--firmware %s: 'bios' (the disk's boot loader), 'none' (the kernel "
			  "inside), or 'auto' (a BIOS where there is no kernel inside)",
			  v);
		return i;
	}
	((struct machine_config *)opaque)->firmware = (enum config_firmware)i;
	return 0;
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
STRING_OPTION(user_data)
#undef STRING_OPTION

const struct option_spec config_options[] = {
	{ "image", 'i', "FILE", "the machine's disk, raw or qcow2; its kernel is booted",
	  config_opt_image },
	{ "mem", 'm', "SIZE", "memory, 64M or more [1G]", opt_mem },
	{ "cpus", 'c', "N", "vCPUs, 1 to 64 [1]", opt_cpus },
	{ "cpu", 0, "MODEL",
	  "'host', or 'baseline' or 'v3' for snapshots that other hosts can restore [host]",
	  opt_cpu },
	{ "name", 'n', "NAME", "the machine's name [the image's, without its ending]", opt_name },
	{ "disk", 0, "FILE[,ro]", "one more disk; may be repeated", config_opt_disk },
	{ "cdrom", 0, "FILE", "an ISO image in a CD-ROM drive; with a BIOS, booted first",
	  opt_cdrom },
	{ "from", 0, "NAME", "start from this snapshot of the image instead of booting", opt_from },
	{ "throw-away", 0, NULL,
	  "with --from: leave the image alone, even one in use; what is written is thrown away",
	  opt_throw_away },
	{ "discard", 0, NULL, "with --from: drop what the disk has and no snapshot has",
	  opt_discard },
	{ "on-disk-error", 0, "WHAT", "'stop' or 'report' [stop where the host has no room]",
	  config_opt_on_disk_error },
	{ "firmware", 0, "KIND",
	  "'bios' runs the disk's boot loader, 'none' the kernel inside [auto: bios without one]",
	  opt_firmware },
	{ "kernel", 'k', "FILE", "boot this bzImage or PVH ELF instead of the image's kernel",
	  opt_kernel },
	{ "initrd", 0, "FILE", "the initial RAM disk for --kernel", opt_initrd },
	{ "append", 'a', "TEXT", "kernel command line: added to the image's, or all with --kernel",
	  opt_append },
	{ "forward", 'f', "SPEC", "[tcp|udp:][addr:]port:guestport; may be repeated",
	  config_opt_forward },
	{ "code", 0, "NN", "the two digits of the machine's ports (22NN is SSH)", config_opt_code },
	{ "expose", 0, "WHAT", "listen on all addresses: 'free', 'ssh', 'notebook' or a port",
	  config_opt_expose },
	{ "host-loopback", 0, "PORT",
	  "let the guest reach this port of the host's loopback, or 'all'",
	  config_opt_host_loopback },
	{ "net", 0, "KIND", "'user' (the default) or 'none'", config_opt_net },
	{ "pcap", 0, "FILE", "write the network's packets into FILE", opt_pcap },
	{ "console", 0, "WHERE", "stdio, file:PATH, socket:PATH or none [stdio]", opt_console },
	{ "channel", 0, "NAME=WHERE",
	  "/dev/virtio-ports/NAME in the guest; socket:PATH or file:PATH", config_opt_channel },
	{ "agent", 0, "on|off",
	  "the port of the agent in the guest: exec, cp and wait need it [on]", opt_agent },
	{ "cloud-init", 0, "auto|on|off",
	  "a disk with name and keys for the guest's cloud-init [auto: where it has one]",
	  opt_cloud_init },
	{ "user-data", 0, "FILE", "a cloud-config or script of your own for the guest's cloud-init",
	  opt_user_data },
	{ "allow-backing", 0, "FILE", "a backing file outside the image's directory may be used",
	  config_opt_allow_backing },
	{ "cold", 0, NULL, "boot, though the image was suspended or is ready", opt_cold },
	{ "detach", 'd', NULL, "run it in the background; return when SSH answers", opt_detach },
	{ "no-wait", 0, NULL, "with --detach: return as soon as it runs", opt_no_wait },
	{ "json", 0, NULL, "with --detach: print JSON", opt_json },
	{ "verbose", 'v', NULL, "say what is done; twice: say more", opt_verbose },
	{ "version", 'V', NULL, "print the version", opt_version },
};

_Static_assert(ARRAY_SIZE(config_options) == CONFIG_OPTIONS, "every option is counted");
