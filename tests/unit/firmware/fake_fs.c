/* SPDX-License-Identifier: Apache-2.0 */
/* Disks with ext file systems on them. */
#include "tests/unit/firmware/fake_fs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

bool fake_fs_can(void)
{
	return !system("PATH=$PATH:/usr/sbin:/sbin command -v mke2fs >/dev/null");
}

struct blk_node *fake_fs_new(unsigned int kib, const char *mke2fs, const char *script,
			     const char *after)
{
	char dir[] = "/tmp/charmvm-fs-XXXXXX", *cmd;
	if (!mkdtemp(dir))
		return NULL;
	int n = asprintf(&cmd,
			 "PATH=$PATH:/usr/sbin:/sbin; cd %s && mkdir t && (set -e; cd t; %s) && "
			 "mke2fs -q -F %s -d t img %uk >log 2>&1 && set -- img && (: ; %s)",
			 dir, script, mke2fs, kib, *after ? after : ":");
	int rc = n < 0 ? 1 : system(cmd);
	free(cmd);
	char path[64];
	snprintf(path, sizeof(path), "%s/img", dir);
	struct blk_node *d = rc ? NULL : fake_blk_file(path);
	snprintf(path, sizeof(path), "rm -rf %s", dir);
	if (system(path))
		perror(dir);
	return d;
}

struct blk_node *fake_fs_join(struct blk_node *const *parts, unsigned int n, uint32_t disk_id)
{
	enum { START = 2048, SECTOR = 512 };
	size_t sectors = START;
	for (unsigned int i = 0; i < n; i++)
		sectors += parts[i]->len_bytes / SECTOR;
	struct blk_node *d = fake_blk_new(sectors * SECTOR);
	put_le32(d->data + 440, disk_id);
	put_le16(d->data + 510, 0xaa55);
	uint32_t at = START;
	for (unsigned int i = 0; i < n; i++) {
		uint8_t *e = d->data + 446 + 16 * i;
		uint32_t len = (uint32_t)(parts[i]->len_bytes / SECTOR);
		e[4] = 0x83;
		put_le32(e + 8, at);
		put_le32(e + 12, len);
		memcpy(d->data + (size_t)at * SECTOR, parts[i]->data, parts[i]->len_bytes);
		at += len;
		fake_blk_free(parts[i]);
	}
	return d;
}
