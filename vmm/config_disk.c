/* SPDX-License-Identifier: Apache-2.0 */
/* The options that say which disks a machine has. */
#include <errno.h>
#include <string.h>

#include "vmm/base/log.h"
#include "vmm/config_options.h"

int config_add_disk(struct machine_config *cfg, struct disk_config disk)
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

int config_opt_image(void *opaque, const char *v)
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
int config_opt_disk(void *opaque, const char *v)
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
	return config_add_disk(opaque, disk);
}

int config_opt_on_disk_error(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	if (!parse_on_error(v, &cfg->on_disk_error))
		return 0;
	log_error("--on-disk-error %s: 'stop' (the machine waits) or 'report' (the guest is told)",
		  v);
	return -EINVAL;
}

int config_opt_allow_backing(void *opaque, const char *v)
{
	struct machine_config *cfg = opaque;
	return config_append(cfg->allow_backing, &cfg->nallow_backing, CONFIG_DISKS_MAX,
			     "allow-backing", v);
}
