/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state tree: what a device or a vCPU is, as named properties under nodes that carry a
 * `compatible` string; one flattened device tree (devicetree specification 0.4, chapter 5),
 * written with libfdt's sequential-write calls and read with its read-only calls.
 *
 * Rules. (1) A node's compatible string ends in its version ("charmvm,virtio-blk-1"); a reader
 * refuses one it does not know, by name. (2) A missing optional property has a documented default.
 * (3) Integers are big-endian cells of exactly 4 or 8 bytes. (4) The tree is hostile input: it is
 * checked whole (fdt_check_full) before anything is read, and every getter checks size.
 */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_writer;

/* -> 0 or -ENOMEM. */
int state_writer_create(struct state_writer **out);
void state_writer_destroy(struct state_writer *w);

/* A node and its properties; children nest. Properties before children, names unique among
 * siblings. Errors are sticky: state_finish() tells the first one. */
void state_begin(struct state_writer *w, const char *name, const char *compatible);
void state_end(struct state_writer *w);
void state_put_u32(struct state_writer *w, const char *name, uint32_t v);
void state_put_u64(struct state_writer *w, const char *name, uint64_t v);
void state_put_bool(struct state_writer *w, const char *name, bool v);
void state_put_bytes(struct state_writer *w, const char *name, const void *p, size_t len_bytes);
void state_put_str(struct state_writer *w, const char *name, const char *s);

/* Ends the tree. *blob stays the writer's until it is destroyed. -> 0, -ENOMEM, -EINVAL. */
int state_finish(struct state_writer *w, const void **blob, size_t *len_bytes);

/* A place in a tree that has been opened; a value, not owned, valid as long as the blob. */
struct state_node {
	const void *fdt;
	int off;
};

/* Checks a whole blob, which the caller keeps. -> 0, -EINVAL. */
int state_open(const void *blob, size_t len_bytes, struct state_node *root);
/* The child called @name. -> 0, -ENOENT. */
int state_child(struct state_node n, const char *name, struct state_node *out);
/* All children, one after the other: @it begins as a node of zeroes. -> 0, -ENOENT after the last one. */
int state_next_child(struct state_node n, struct state_node *it);
/* A node's name; the tree's own memory. */
const char *state_name(struct state_node n);
/* 0 when the node's compatible string is @compatible, else -ENOTSUP and a logged line. */
int state_check(struct state_node n, const char *compatible);

/* -> 0, -ENOENT (not there), -EINVAL (another size). *v is untouched on error. */
int state_get_u32(struct state_node n, const char *name, uint32_t *v);
int state_get_u64(struct state_node n, const char *name, uint64_t *v);
int state_get_bool(struct state_node n, const char *name, bool *v);
/* Exactly @len_bytes bytes are copied to @p. */
int state_get_bytes(struct state_node n, const char *name, void *p, size_t len_bytes);
/* A text; "" for an empty one. -EINVAL: not one, or of @bytes or more with its end. */
int state_get_str(struct state_node n, const char *name, char *out, size_t bytes);
/* The property in place, of any size. */
int state_get_blob(struct state_node n, const char *name, const void **p, size_t *len_bytes);

#endif
