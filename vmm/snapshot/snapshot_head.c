/* SPDX-License-Identifier: Apache-2.0 */
/* The front of a snapshot's VM state: made, read and checked. */
#include "vmm/snapshot/snapshot_head.h"

#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "devices/block/block.h"
#include "devices/block/qcow2/qcow2.h"
#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

enum {
	TRAILER_BYTES = 16,
	TRAILER_CRC = 8,
	RAM_UNIT_MIN = 4096,
	RAM_UNIT_MAX = 2 * 1024 * 1024, /* qcow2's largest cluster */
	FDT_HEADER_BYTES = 40,
};
#define TREE_BYTES_MAX (64 * MIB)

static const char trailer_magic[8] = { 'C', 'H', 'A', 'R', 'M', 'C', 'R', 'C' };

static uint64_t trailer_at(uint64_t tree_bytes)
{
	return align_up(tree_bytes, 8);
}

uint64_t snapshot_ram_offset(uint64_t tree_bytes, uint32_t ram_unit)
{
	return align_up(trailer_at(tree_bytes) + TRAILER_BYTES, ram_unit);
}

static uint32_t checksum(const void *tree, size_t bytes)
{
	return (uint32_t)crc32_z(crc32_z(0, NULL, 0), tree, bytes);
}

uint8_t *snapshot_head_make(const void *tree, size_t tree_bytes, uint32_t ram_unit)
{
	uint64_t bytes = snapshot_ram_offset(tree_bytes, ram_unit);
	void *head = NULL;
	if (tree_bytes > TREE_BYTES_MAX || posix_memalign(&head, RAM_UNIT_MIN, bytes))
		return NULL;
	memset(head, 0, bytes);
	memcpy(head, tree, tree_bytes);
	uint8_t *trailer = (uint8_t *)head + trailer_at(tree_bytes);
	memcpy(trailer, trailer_magic, sizeof(trailer_magic));
	put_be32(trailer + TRAILER_CRC, checksum(tree, tree_bytes));
	return head;
}

/* ---- reading ---- */

/* The id is preferred to a name, as everywhere. */
static const struct qcow2_snapshot *pick(const struct qcow2_snapshot *v, uint32_t count,
					 const char *what)
{
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(v[i].id, what) == 0)
			return &v[i];
	for (uint32_t i = 0; i < count; i++)
		if (strcmp(v[i].name, what) == 0)
			return &v[i];
	return NULL;
}

int snapshot_co_identify(struct blk_node *n, struct snapshot *s)
{
	struct qcow2_snapshot *v;
	uint32_t count;
	int err = qcow2_co_snapshots(n, &v, &count);
	if (err)
		return err;
	const struct qcow2_snapshot *found = pick(v, count, s->name);
	if (!found)
		err = -ENOENT;
	else if (strlen(found->id) > SNAPSHOT_ID_MAX || strlen(found->name) >= sizeof(s->name))
		err = -EINVAL;
	if (!err) {
		memcpy(s->id, found->id, strlen(found->id) + 1);
		memcpy(s->name, found->name, strlen(found->name) + 1);
		s->disk_bytes = found->disk_bytes;
	}
	qcow2_snapshots_free(v, count);
	return err;
}

/* How long the tree says it is, from its first bytes. */
static int co_tree_bytes(struct blk_node *n, struct snapshot *s)
{
	uint8_t first[BLK_SECTOR_BYTES];
	int err = qcow2_co_vm_read(n, s->extents, s->n_extents, first, sizeof(first), 0);
	if (err)
		return err;
	if (get_be32(first) != FDT_MAGIC)
		return -ENODATA;
	s->blob_bytes = get_be32(first + 4);
	return s->blob_bytes < FDT_HEADER_BYTES || s->blob_bytes > TREE_BYTES_MAX ? -EINVAL : 0;
}

static int co_read_tree(struct blk_node *n, struct snapshot *s)
{
	int err = co_tree_bytes(n, s);
	if (err)
		return err;
	uint64_t at = trailer_at(s->blob_bytes);
	uint64_t bytes = align_up(at + TRAILER_BYTES, BLK_SECTOR_BYTES);
	s->blob = malloc(bytes);
	if (!s->blob)
		return -ENOMEM;
	err = qcow2_co_vm_read(n, s->extents, s->n_extents, s->blob, bytes, 0);
	if (err)
		return err;
	if (memcmp(s->blob + at, trailer_magic, sizeof(trailer_magic)) != 0 ||
	    get_be32(s->blob + at + TRAILER_CRC) != checksum(s->blob, s->blob_bytes))
		return -EINVAL;
	return state_open(s->blob, s->blob_bytes, &s->root);
}

/* A text that may be missing, or longer than this charmvm keeps. */
static void optional_text(struct state_node n, const char *name, char *out, size_t bytes)
{
	if (state_get_str(n, name, out, bytes))
		*out = '\0';
}

static int read_root(struct snapshot *s)
{
	struct snapshot_info *i = &s->info;
	uint64_t disk_bytes = 0;
	int err = state_check(s->root, SNAPSHOT_COMPATIBLE);
	err = err ? err : state_get_u64(s->root, "mem-bytes", &i->mem_bytes);
	err = err ? err : state_get_u32(s->root, "cpus", &i->cpus);
	err = err ? err : state_get_u32(s->root, "ram-unit", &s->ram_unit);
	err = err ? err : state_get_u64(s->root, "time-s", &i->time_s);
	err = err ? err : state_get_u64(s->root, "disk-bytes", &disk_bytes);
	if (err)
		return err == -ENOENT ? -EINVAL : err;
	if (!is_pow2(s->ram_unit) || s->ram_unit < RAM_UNIT_MIN || s->ram_unit > RAM_UNIT_MAX ||
	    disk_bytes != s->disk_bytes || !i->mem_bytes || i->mem_bytes % MIB || !i->cpus)
		return -EINVAL;
	s->ram_off = snapshot_ram_offset(s->blob_bytes, s->ram_unit);
	optional_text(s->root, "writer", i->writer, sizeof(i->writer));
	optional_text(s->root, "note", i->note, sizeof(i->note));
	uint32_t unclaimed;
	i->unclaimed = !state_get_u32(s->root, "unclaimed", &unclaimed) && unclaimed;
	return 0;
}

int snapshot_co_open(struct blk_node *n, const char *id_or_name, struct snapshot *s)
{
	*s = (struct snapshot){ .n_extents = 0 };
	if (!blk_is_qcow2(n))
		return -ENOTSUP;
	snprintf(s->name, sizeof(s->name), "%s", id_or_name);
	int err = snapshot_co_identify(n, s);
	if (!err && strcmp(s->name, SNAPSHOT_UNFINISHED) == 0)
		err = -ENODATA;
	err = err ? err : qcow2_co_vm_extents(n, s->id, &s->extents, &s->n_extents);
	err = err ? err : co_read_tree(n, s);
	return err ? err : read_root(s);
}

void snapshot_close(struct snapshot *s)
{
	free(s->blob);
	free(s->extents);
	*s = (struct snapshot){ .n_extents = 0 };
}

void snapshot_free(struct snapshot *s)
{
	if (s)
		snapshot_close(s);
	free(s);
}

bool snapshot_has_device(const struct snapshot *s, const char *name)
{
	struct state_node devices, n;
	return !state_child(s->root, "devices", &devices) && !state_child(devices, name, &n);
}

int snapshot_co_info(struct blk_node *n, const char *id_or_name, struct snapshot_info *out)
{
	struct snapshot s = { .n_extents = 0 };
	int err = snapshot_co_open(n, id_or_name, &s);
	if (!err)
		*out = s.info;
	snapshot_close(&s);
	return err;
}

void snapshot_explain(int err, const char *image, const char *name, char *out, size_t bytes)
{
	const char *why = strerror(-err);
	switch (err) {
	case -ENOENT:
		why = "there is none of that name; `charmvm image snapshot -l` lists them";
		break;
	case -ENODATA:
		why = "it holds no machine of charmvm's; `charmvm image snapshot -a` sets the disk "
		      "alone back";
		break;
	case -ENOTSUP: why = "it was saved by a newer charmvm, or not in a qcow2 image"; break;
	case -EBUSY: why = "other machines run from it (--throw-away); end those first"; break;
	case -EINVAL: why = "its saved state is damaged"; break;
	default: break;
	}
	snprintf(out, bytes, "%s: snapshot '%s': %s", image, name, why);
}
