/* SPDX-License-Identifier: Apache-2.0 */
/* Memory freed together: a list of chunks, the first being filled. */
#include "firmware/arena.h"

#include <stdlib.h>
#include <string.h>

#include "vmm/base/checked.h"

enum { CHUNK_BYTES = 65536, ALIGN = 16 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t used_bytes;
	size_t cap_bytes;
	_Alignas(ALIGN) unsigned char data[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
	*a = (struct arena){ .left_bytes = max_bytes };
}

void arena_clear(struct arena *a)
{
	while (a->chunks) {
		struct arena_chunk *c = a->chunks;
		a->chunks = c->next;
		free(c);
	}
}

static bool add_chunk(struct arena *a, size_t len_bytes)
{
	size_t cap = MAX(len_bytes, (size_t)CHUNK_BYTES);
	if (cap > a->left_bytes)
		return false;
	struct arena_chunk *c = calloc(1, sizeof(*c) + cap);
	if (!c)
		return false;
	c->cap_bytes = cap;
	c->next = a->chunks;
	a->chunks = c;
	a->left_bytes -= cap;
	return true;
}

void *arena_alloc(struct arena *a, size_t len_bytes)
{
	struct arena_chunk *c = a->chunks;
	if (a->failed || len_bytes > SIZE_MAX / 2) {
		a->failed = true;
		return NULL;
	}
	len_bytes = align_up(len_bytes, ALIGN);
	if ((!c || len_bytes > c->cap_bytes - c->used_bytes) && !add_chunk(a, len_bytes)) {
		a->failed = true;
		return NULL;
	}
	c = a->chunks;
	void *p = c->data + c->used_bytes;
	c->used_bytes += len_bytes;
	return p;
}

const char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *p = arena_alloc(a, len + 1);
	if (!p)
		return "";
	memcpy(p, s, len);
	return p;
}
