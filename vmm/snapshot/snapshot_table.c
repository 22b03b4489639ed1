/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshots of an image as programs are told of them. */
#include "vmm/snapshot/snapshot_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/lock.h"
#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/snapshot.h"
#include "vmm/base/checked.h"
#include "vmm/snapshot/snapshot.h"

/* Names come out of images. */
static json_t *text(const char *s)
{
	json_t *o = json_string(s);
	char *copy = o ? NULL : strdup(s);
	if (!copy)
		return o;
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	o = json_string(copy);
	free(copy);
	return o;
}

static void add_info(json_t *o, const struct snapshot_info *i)
{
	json_object_set_new(o, "mem_bytes", json_integer((json_int_t)i->mem_bytes));
	json_object_set_new(o, "cpus", json_integer(i->cpus));
	json_object_set_new(o, "note", text(i->note));
	json_object_set_new(o, "writer", text(i->writer));
}

static json_t *entry(struct blk_node *n, const struct qcow2_snapshot *s)
{
	struct snapshot_info *info = calloc(1, sizeof(*info)); /* a coroutine's stack is small */
	int err = info && s->vm_state_bytes ? snapshot_co_info(n, s->id, info) : -ENODATA;
	json_t *o = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:b, s:b}", "id", text(s->id), "name",
			      text(s->name), "parent", text(s->parent), "time",
			      (json_int_t)s->date_s, "disk_bytes", (json_int_t)s->disk_bytes,
			      "state_bytes", (json_int_t)s->vm_state_bytes, "machine", !err,
			      "in_use", lock_snapshot_is_used(qcow2_vm_fd(n), s->id));
	if (o && !err)
		add_info(o, info);
	free(info);
	return o;
}

int snapshot_table_co(struct blk_node *n, json_t **out)
{
	struct qcow2_snapshot *v = NULL;
	uint32_t count = 0;
	json_t *all = json_array();
	int err = !all ? -ENOMEM : blk_is_qcow2(n) ? qcow2_co_snapshots(n, &v, &count) : 0;
	for (uint32_t i = 0; i < MIN(count, (uint32_t)SNAPSHOT_TABLE_MAX) && !err; i++) {
		/* An unfinished save is nobody's snapshot. */
		if (strcmp(v[i].name, SNAPSHOT_UNFINISHED) != 0 &&
		    json_array_append_new(all, entry(n, &v[i])))
			err = -ENOMEM;
	}
	qcow2_snapshots_free(v, count);
	if (err)
		json_decref(all);
	else
		*out = all;
	return err;
}

static const json_t *find_by(const json_t *table, const char *key, const char *value)
{
	size_t i;
	const json_t *s;
	json_array_foreach (table, i, s) {
		const char *v = json_string_value(json_object_get(s, key));
		if (v && !strcmp(v, value))
			return s;
	}
	return NULL;
}

const json_t *snapshot_table_find(const json_t *table, const char *name)
{
	const json_t *s = find_by(table, "name", name);
	return s ? s : find_by(table, "id", name);
}

bool snapshot_name_ok(const char *name)
{
	size_t len = strlen(name);
	json_t *o = json_stringn(name, len);
	bool ok = o && len && len <= QCOW2_SNAPSHOT_NAME_MAX && strcmp(name, SNAPSHOT_UNFINISHED);
	json_decref(o);
	for (; *name && ok; name++)
		ok = (unsigned char)*name >= ' ' && *name != 0x7f && *name != '/';
	return ok;
}

const char *snapshot_table_explain(int err)
{
	switch (err) {
	case -ENOENT: return "there is none of that name; 'charmvm snapshot list' has them";
	case -EEXIST: return "there is one of this name already; take another name";
	case -EINVAL:
		return "a name has 1 to 255 bytes of UTF-8, none of them a '/' or a control "
		       "character";
	case -EROFS: return "the image cannot be written";
	case -EOVERFLOW: return "the image's refcounts are too narrow for one more";
	case -ENOTSUP: return "only a qcow2 image without an external data file has snapshots";
	case -ENOSPC: return "the file system is full; make room and try again";
	default: return strerror(-err);
	}
}
