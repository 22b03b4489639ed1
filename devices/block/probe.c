/* SPDX-License-Identifier: Apache-2.0 */
/* Magic numbers of disk images. */
#include "devices/block/probe.h"

#include <string.h>

#include "vmm/base/checked.h"

static const struct {
	const char *format;
	size_t off;
	const char *bytes;
	size_t len;
} magics[] = {
	{ "qcow2", 0, "QFI\xfb", 4 },
	{ "qed", 0, "QED\0", 4 },
	{ "vmdk", 0, "KDMV", 4 },
	{ "vmdk", 0, "COWD", 4 },
	{ "vmdk", 0, "# Disk D", 8 },
	{ "vdi", 64, "\x7f\x10\xda\xbe", 4 },
	{ "vhdx", 0, "vhdxfile", 8 },
	{ "vpc", 0, "conectix", 8 },
	{ "luks", 0, "LUKS\xba\xbe", 6 },
	{ "parallels", 0, "WithoutFreeSpace", 16 },
	{ "parallels", 0, "WithouFreSpacExt", 16 },
};

const char *probe_format(const void *head, size_t bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++)
		if (ck_range(magics[i].off, magics[i].len, bytes) &&
		    memcmp((const char *)head + magics[i].off, magics[i].bytes, magics[i].len) == 0)
			return magics[i].format;
	return NULL;
}
