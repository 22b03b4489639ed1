/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the state tree, with libfdt. */
#include "vmm/core/state.h"

#include <errno.h>
#include <libfdt.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"

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
