/* SPDX-License-Identifier: Apache-2.0 */
/* What format an image has, from its first bytes. */
#ifndef BLOCK_PROBE_H
#define BLOCK_PROBE_H

#include <stddef.h>

/* @head: the first @bytes, 512 are enough. -> "qcow2", "vmdk", ..., or NULL: raw. */
const char *probe_format(const void *head, size_t bytes);

#endif
