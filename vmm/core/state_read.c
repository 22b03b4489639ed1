/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the state tree. */
/*
 * How it works. libfdt checks the whole tree once: every token, name and length (fdt_check_full). Then it is walked here
 * and not by libfdt, whose every step checks again what it steps on: reading a machine's tree with it was a quarter of
 * all that a new fork does.
 *
 * The structure block (devicetree specification 0.4, section 5.4) is a row of tokens of 4 bytes, each with what follows
 * it: a node's name, a property's length, offset of its name and value, filled up to 4 bytes.
 */
#include <errno.h>
#include <libfdt.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"
#include "vmm/core/state.h"

enum { FDT_VERSION = 17, TAG_BYTES = 4, PROP_BYTES = 12 };

/* ---- tokens of a checked tree ---- */

struct token {
	uint32_t tag;
	int next;	     /* the offset of the one behind it */
	const char *name;    /* of a node or a property */
	const uint8_t *data; /* a property's */
	uint32_t len_bytes;
};

static struct token token_at(const void *fdt, int off)
{
	const uint8_t *p = (const uint8_t *)fdt + fdt_off_dt_struct(fdt) + off;
	struct token t = { .tag = get_be32(p) };
	uint64_t bytes = TAG_BYTES;
	if (t.tag == FDT_BEGIN_NODE) {
		t.name = (const char *)p + TAG_BYTES;
		bytes += strlen(t.name) + 1;
	} else if (t.tag == FDT_PROP) {
		t.len_bytes = get_be32(p + TAG_BYTES);
		t.name = (const char *)fdt + fdt_off_dt_strings(fdt) + get_be32(p + 8);
		t.data = p + PROP_BYTES;
		bytes = PROP_BYTES + (uint64_t)t.len_bytes;
	}
	t.next = off + (int)align_up(bytes, TAG_BYTES);
	return t;
}

/* The node at @off or behind it, where its parent has one more; -1: it has not. */
static int node_from(const void *fdt, int off)
{
	for (;;) {
		const struct token t = token_at(fdt, off);
		if (t.tag == FDT_BEGIN_NODE)
			return off;
		if (t.tag != FDT_PROP && t.tag != FDT_NOP)
			return -1;
		off = t.next;
	}
}

static int first_child(const void *fdt, int off)
{
	return node_from(fdt, token_at(fdt, off).next);
}

/* What is behind a node and all that is in it. */
static int next_sibling(const void *fdt, int off)
{
	int depth = 0;
	do {
		const struct token t = token_at(fdt, off);
		depth += (t.tag == FDT_BEGIN_NODE) - (t.tag == FDT_END_NODE);
		off = t.next;
	} while (depth > 0);
	return node_from(fdt, off);
}

/* The node's property; one without a tag: it has none of this name. */
static struct token find_property(struct state_node n, const char *name)
{
	for (int off = token_at(n.fdt, n.off).next;;) {
		const struct token t = token_at(n.fdt, off);
		if (t.tag != FDT_PROP && t.tag != FDT_NOP)
			return (struct token){ .tag = 0 };
		if (t.tag == FDT_PROP && strcmp(t.name, name) == 0)
			return t;
		off = t.next;
	}
}

/* ---- what readers call ---- */

int state_open(const void *blob, size_t len_bytes, struct state_node *root)
{
	if (fdt_check_full(blob, len_bytes) || fdt_version(blob) != FDT_VERSION)
		return -EINVAL;
	*root = (struct state_node){ blob, node_from(blob, 0) };
	return root->off < 0 ? -EINVAL : 0;
}

int state_next_child(struct state_node n, struct state_node *it)
{
	int off = it->fdt ? next_sibling(n.fdt, it->off) : first_child(n.fdt, n.off);
	if (off < 0)
		return -ENOENT;
	*it = (struct state_node){ n.fdt, off };
	return 0;
}

int state_child(struct state_node n, const char *name, struct state_node *out)
{
	struct state_node it = { .fdt = NULL };
	while (!state_next_child(n, &it))
		if (strcmp(state_name(it), name) == 0) {
			*out = it;
			return 0;
		}
	return -ENOENT;
}

const char *state_name(struct state_node n)
{
	return token_at(n.fdt, n.off).name;
}

int state_check(struct state_node n, const char *compatible)
{
	const struct token have = find_property(n, "compatible");
	if (have.tag && have.len_bytes == strlen(compatible) + 1 &&
	    !memcmp(have.data, compatible, have.len_bytes))
		return 0;
	log_error("saved state: node '%s' is '%.*s', this charmvm knows '%s'", state_name(n),
		  have.len_bytes ? (int)have.len_bytes : 1,
		  have.len_bytes ? (const char *)have.data : "?", compatible);
	return -ENOTSUP;
}

int state_get_blob(struct state_node n, const char *name, const void **p, size_t *len_bytes)
{
	const struct token t = find_property(n, name);
	if (!t.tag)
		return -ENOENT;
	*p = t.data;
	*len_bytes = t.len_bytes;
	return 0;
}

int state_get_bytes(struct state_node n, const char *name, void *p, size_t len_bytes)
{
	const void *prop;
	size_t have;
	int err = state_get_blob(n, name, &prop, &have);
	if (err)
		return err;
	if (have != len_bytes)
		return -EINVAL;
	memcpy(p, prop, len_bytes);
	return 0;
}

int state_get_str(struct state_node n, const char *name, char *out, size_t bytes)
{
	const void *text;
	size_t len;
	int err = state_get_blob(n, name, &text, &len);
	if (err)
		return err;
	if (!len || len > bytes || memchr(text, '\0', len) != (const char *)text + len - 1)
		return -EINVAL;
	memcpy(out, text, len);
	return 0;
}

int state_get_u32(struct state_node n, const char *name, uint32_t *v)
{
	uint8_t cell[4];
	int err = state_get_bytes(n, name, cell, sizeof(cell));
	if (!err)
		*v = get_be32(cell);
	return err;
}

int state_get_u64(struct state_node n, const char *name, uint64_t *v)
{
	uint8_t cell[8];
	int err = state_get_bytes(n, name, cell, sizeof(cell));
	if (!err)
		*v = get_be64(cell);
	return err;
}

int state_get_bool(struct state_node n, const char *name, bool *v)
{
	uint32_t cell;
	int err = state_get_u32(n, name, &cell);
	if (!err && cell > 1)
		err = -EINVAL;
	if (!err)
		*v = cell;
	return err;
}
