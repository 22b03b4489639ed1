/* SPDX-License-Identifier: Apache-2.0 */
/* What an image asks for. */
#include "vmm/image_wishes.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "firmware/image_fs.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"
#include "vmm/config.h"

enum {
	VALUE_CHARS = 32,
	HOST_PART = 2 /* so many such machines the host's memory is for, at least */
};

/* The value of the line @line where that is of @key: "mem = 2G". -> false: it is of another one, or too long. */
static bool value_of(const char *line, size_t len, const char *key, char value[VALUE_CHARS])
{
	size_t at = strlen(key);
	if (len <= at || strncmp(line, key, at) != 0 || len - at >= VALUE_CHARS)
		return false;
	memcpy(value, line + at, len - at);
	value[len - at] = '\0';
	return true;
}

void image_wishes_parse(const char *text, struct image_wishes *out)
{
	char value[VALUE_CHARS];
	uint64_t v;
	*out = (struct image_wishes){ 0 };
	while (*text) {
		size_t len = strcspn(text, "\n");
		if (value_of(text, len, "mem = ", value) && !options_parse_size(value, &v))
			out->mem_bytes = v;
		if (value_of(text, len, "cpus = ", value) &&
		    !options_parse_uint(value, 1, CONFIG_CPUS_MAX, &v))
			out->cpus = (unsigned int)v;
		text += len + (text[len] == '\n');
	}
}

static void give_memory(struct machine_config *cfg, uint64_t bytes)
{
	struct sysinfo si;
	uint64_t most = sysinfo(&si) ? 0 : (uint64_t)si.totalram * si.mem_unit / HOST_PART;
	if (bytes >= CONFIG_MEM_MIN_BYTES && bytes <= most)
		cfg->mem_bytes = align_down(bytes, MIB);
	else
		log_warn("%s: asks for %llu MiB of memory, and gets %llu MiB: from 64 MiB to half "
			 "of "
			 "this host's may be asked for; --mem gives what you say",
			 cfg->image, (unsigned long long)(bytes / MIB),
			 (unsigned long long)(cfg->mem_bytes / MIB));
}

static void give(struct machine_config *cfg, const struct image_wishes *w)
{
	int host_cpus = get_nprocs();
	if (w->mem_bytes && !cfg->mem_said)
		give_memory(cfg, w->mem_bytes);
	if (w->cpus && !cfg->cpus_said && host_cpus > 0)
		cfg->cpus = MIN(w->cpus, (unsigned int)host_cpus);
}

void image_wishes_apply(struct machine_config *cfg, struct blk_node *disk)
{
	struct image_fs im;
	struct image_wishes w;
	char *text = NULL;
	size_t len;
	if ((cfg->mem_said && cfg->cpus_said) || image_fs_open(&im, disk, true))
		return;
	for (unsigned int i = 0; i < im.n && !text; i++)
		if (extfs_read_text(im.fss[i].fs, "/etc/charmvm/machine.conf",
				    IMAGE_WISHES_BYTES_MAX, &text, &len))
			text = NULL;
	image_fs_close(&im);
	if (!text)
		return;
	image_wishes_parse(text, &w);
	give(cfg, &w);
	free(text);
}
