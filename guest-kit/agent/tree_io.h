/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a tree's stream, for its two ends (tree.h). */
#ifndef AGENT_TREE_IO_H
#define AGENT_TREE_IO_H

#include <stddef.h>
#include <stdint.h>

enum tree_kind {
	TREE_FILE = 'F',
	TREE_CHUNK = 'C',
	TREE_FILE_END = 'E',
	TREE_DIR = 'D',
	TREE_UP = 'U',
	TREE_LINK = 'L',
	TREE_GAVE_UP = 'X',
	TREE_END = 'Z',
};

enum { TREE_HEADER_BYTES = 8, TREE_PAYLOAD_MAX = 32 * 1024 };

struct tree_entry {
	enum tree_kind kind;
	uint32_t mode;
	size_t len;
	uint8_t payload[TREE_PAYLOAD_MAX + 1]; /* a NUL follows what was read */
};

/* Blocking. -> 0 or -errno. */
int tree_entry_write(int fd, const struct tree_entry *e);
/* -> 0, -EPIPE (the stream ends in the middle), -EPROTO (no entry), -errno. */
int tree_entry_read(int fd, struct tree_entry *e);

#endif
