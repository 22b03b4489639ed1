/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for what is parsed out of one hostile file: many small pieces, freed together, bounded in
 * sum. When the bound is reached everything after is told as failed, once, by the owner.
 */
#ifndef FIRMWARE_ARENA_H
#define FIRMWARE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;
	size_t left_bytes; /* that may still be taken from the host */
	bool failed;
};

void arena_init(struct arena *a, size_t max_bytes);
void arena_clear(struct arena *a);

/* Zeroed, aligned for any object; NULL (and failed) when there is no more. */
void *arena_alloc(struct arena *a, size_t len_bytes);

/* A copy with a NUL; "" (and failed) when there is no more, so that a parser can go on to its next
 * check. */
const char *arena_strndup(struct arena *a, const char *s, size_t len);

#endif
