/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshots of an image as people and programs are told of them, whether its machine runs or not. */
#ifndef VMM_SNAPSHOT_TABLE_H
#define VMM_SNAPSHOT_TABLE_H

#include <jansson.h>
#include <stdbool.h>

struct blk_node;

enum { SNAPSHOT_TABLE_MAX = 2000 }; /* are told of; what an answer has room for */

/*
 * An array, oldest first, of objects: id, name, parent (an id, "": none or not recorded), time (seconds since 1970),
 * disk_bytes, state_bytes, and machine: whether it can be started from; then also mem_bytes, cpus, note, writer. Text
 * that is no UTF-8 has '?' in its place. In a coroutine of the node's loop. -> 0, -ENOMEM or -errno, not logged; raw
 * images have none.
 */
int snapshot_table_co(struct blk_node *n, json_t **out);

/* The one with this name, or else this id; NULL: there is none. Borrowed. */
const json_t *snapshot_table_find(const json_t *table, const char *name);

/* What a user may call one: 1 to 255 bytes of UTF-8, no slashes or control characters, and not what saves go by until they
 * are whole. */
bool snapshot_name_ok(const char *name);
/* In one line, what an error of qcow2_co_snapshot_*() means for the snapshot @name. */
const char *snapshot_table_explain(int err);

#endif
