/* SPDX-License-Identifier: Apache-2.0 */
/* The state tree over libfdt. */
#include "vmm/core/state.h"

#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"

enum { STATE_BUF_FIRST = 64 * 1024, STATE_BUF_MAX = 256 * 1024 * 1024 };

struct state_writer {
	void *buf;
	int buf_bytes;
	int err; /* the first one, -errno */
};

static void note(struct state_writer *w, int fdt_err)
{
	if (fdt_err < 0 && !w->err)
		w->err = fdt_err == -FDT_ERR_NOSPACE ? -ENOMEM : -EINVAL;
}

/* Twice the room, what is written kept. */
static int grow(struct state_writer *w)
{
	if (w->buf_bytes >= STATE_BUF_MAX)
		return -ENOMEM;
	void *bigger = malloc((size_t)w->buf_bytes * 2);
	if (!bigger)
		return -ENOMEM;
	if (fdt_resize(w->buf, bigger, w->buf_bytes * 2)) {
		free(bigger);
		return -EINVAL;
	}
	free(w->buf);
	w->buf = bigger;
	w->buf_bytes *= 2;
	return 0;
}

/* Runs @call until it no longer asks for more room. */
#define WITH_ROOM(w, call)                                                                         \
	do {                                                                                       \
		int ret_ = 0;                                                                      \
		while (!(w)->err && (ret_ = (call)) == -FDT_ERR_NOSPACE)                           \
			(w)->err = grow(w);                                                        \
		note(w, ret_);                                                                     \
	} while (0)

int state_writer_create(struct state_writer **out)
{
	struct state_writer *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->buf_bytes = STATE_BUF_FIRST;
	w->buf = malloc((size_t)w->buf_bytes);
	if (!w->buf) {
		free(w);
		return -ENOMEM;
	}
	note(w, fdt_create(w->buf, w->buf_bytes));
	note(w, fdt_finish_reservemap(w->buf));
	*out = w;
	return 0;
}

void state_writer_destroy(struct state_writer *w)
{
	if (!w)
		return;
	free(w->buf);
	free(w);
}

void state_begin(struct state_writer *w, const char *name, const char *compatible)
{
	WITH_ROOM(w, fdt_begin_node(w->buf, name));
	state_put_str(w, "compatible", compatible);
}

void state_end(struct state_writer *w)
{
	WITH_ROOM(w, fdt_end_node(w->buf));
}

void state_put_u32(struct state_writer *w, const char *name, uint32_t v)
{
	WITH_ROOM(w, fdt_property_u32(w->buf, name, v));
}

void state_put_u64(struct state_writer *w, const char *name, uint64_t v)
{
	WITH_ROOM(w, fdt_property_u64(w->buf, name, v));
}

void state_put_bool(struct state_writer *w, const char *name, bool v)
{
	state_put_u32(w, name, v);
}

void state_put_bytes(struct state_writer *w, const char *name, const void *p, size_t len_bytes)
{
	if (len_bytes > STATE_BUF_MAX) {
		note(w, -FDT_ERR_BADVALUE);
		return;
	}
	WITH_ROOM(w, fdt_property(w->buf, name, p, (int)len_bytes));
}

void state_put_str(struct state_writer *w, const char *name, const char *s)
{
	state_put_bytes(w, name, s, strlen(s) + 1);
}

int state_finish(struct state_writer *w, const void **blob, size_t *len_bytes)
{
	WITH_ROOM(w, fdt_finish(w->buf));
	if (w->err)
		return w->err;
	*blob = w->buf;
	*len_bytes = fdt_totalsize(w->buf);
	return 0;
}

int state_open(const void *blob, size_t len_bytes, struct state_node *root)
{
	if (fdt_check_full(blob, len_bytes))
		return -EINVAL;
	*root = (struct state_node){ blob, 0 };
	return 0;
}

int state_child(struct state_node n, const char *name, struct state_node *out)
{
	int off = fdt_subnode_offset(n.fdt, n.off, name);
	if (off < 0)
		return -ENOENT;
	*out = (struct state_node){ n.fdt, off };
	return 0;
}

int state_next_child(struct state_node n, struct state_node *it)
{
	int off = it->fdt ? fdt_next_subnode(n.fdt, it->off) : fdt_first_subnode(n.fdt, n.off);
	if (off < 0)
		return -ENOENT;
	*it = (struct state_node){ n.fdt, off };
	return 0;
}

const char *state_name(struct state_node n)
{
	const char *name = fdt_get_name(n.fdt, n.off, NULL);
	return name ? name : "?";
}

int state_check(struct state_node n, const char *compatible)
{
	int len;
	const char *have = fdt_getprop(n.fdt, n.off, "compatible", &len);
	if (have && len > 0 && (size_t)len == strlen(compatible) + 1 &&
	    !memcmp(have, compatible, (size_t)len))
		return 0;
	log_error("saved state: node '%s' is '%.*s', this charmvm knows '%s'",
		  fdt_get_name(n.fdt, n.off, NULL), have && len > 0 ? len : 1,
		  have && len > 0 ? have : "?", compatible);
	return -ENOTSUP;
}

int state_get_blob(struct state_node n, const char *name, const void **p, size_t *len_bytes)
{
	int len;
	const void *prop = fdt_getprop(n.fdt, n.off, name, &len);
	if (!prop)
		return -ENOENT;
	*p = prop;
	*len_bytes = (size_t)len;
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
