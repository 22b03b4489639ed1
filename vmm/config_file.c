/* SPDX-License-Identifier: Apache-2.0 */
/* The user's configuration files. */
#include "vmm/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/base/options_file.h"
#include "vmm/paths.h"

enum { TEXT_BYTES_MAX = 64 * 1024 };

static const char *const keys[] = { "mem",	     "cpus",	      "cpu",	 "disk",
				    "on-disk-error", "firmware",      "kernel",	 "initrd",
				    "append",	     "forward",	      "code",	 "expose",
				    "host-loopback", "net",	      "console", "channel",
				    "agent",	     "allow-backing", "detach",	 "no-wait",
				    "cloud-init",    "user-data",     NULL };
static const char *const repeated[] = { "disk",	   "forward",	    "expose",
					"channel", "allow-backing", NULL };

/* The whole of it, with a NUL behind. *text NULL: there is none. */
static int read_text(const char *path, char **text)
{
	struct stat st;
	*text = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	int err = fd < 0 || fstat(fd, &st) < 0 ? -errno : 0;
	if (!err && (!S_ISREG(st.st_mode) || st.st_size > TEXT_BYTES_MAX))
		err = -EINVAL;
	if (!err && !(*text = calloc(1, (size_t)st.st_size + 1)))
		err = -ENOMEM;
	if (!err && read(fd, *text, (size_t)st.st_size) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	if (err)
		log_error("%s: %s", path,
			  err == -EINVAL ? "not a file of at most 64 KiB" : strerror(-err));
	return err;
}

static int apply_file(const struct command_spec *cmd, struct machine_config *cfg, bool *given,
		      char **text, const char *path)
{
	const struct options_file file = { .path = path, .keys = keys, .repeated = repeated };
	int err = read_text(path, text);
	return err || !*text ? err : options_apply_text(cmd, cfg, *text, &file, given);
}

int config_file_of(const char *name, char *path)
{
	char dir[PATH_MAX], file[CONFIG_NAME_MAX + 8];
	snprintf(file, sizeof(file), "%s.conf", name);
	int err = paths_config_dir(dir);
	return err ? err : paths_join(path, dir, "machines", file, NULL);
}

int config_files_apply(const struct command_spec *cmd, struct machine_config *cfg, bool *given)
{
	char dir[PATH_MAX], path[PATH_MAX], name[CONFIG_NAME_MAX + 1];
	const struct machine_config before = *cfg;
	if (cfg->throw_away) /* all of it is as the snapshot has it, and its ports are not asked for */
		return 0;
	if (cfg->name)
		snprintf(name, sizeof(name), "%s", cfg->name);
	else if (config_named_after(cfg))
		config_name_after(config_named_after(cfg), name);
	else
		return 0;
	int err = config_file_of(name, path);
	err = err ? err : apply_file(cmd, cfg, given, &cfg->texts[0], path);
	err = err ? err : paths_config_dir(dir);
	err = err ? err : paths_join(path, dir, "config", NULL);
	err = err ? err : apply_file(cmd, cfg, given, &cfg->texts[1], path);
	/* Nobody asked for this on the command line: a snapshot's own word counts more. */
	cfg->mem_given = before.mem_given;
	cfg->cpus_given = before.cpus_given;
	cfg->net_given = before.net_given;
	cfg->agent_given = before.agent_given;
	cfg->cloud_init_given = before.cloud_init_given;
	if (cfg->from)
		cfg->cpu = before.cpu;
	return err;
}
