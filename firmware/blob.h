/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A large buffer that lives for a moment: a kernel or an initrd on its way into guest memory. It is
 * given back to the host at once when freed, and uses huge pages, since it is touched once, from
 * end to end.
 */
#ifndef FIRMWARE_BLOB_H
#define FIRMWARE_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct blob {
	uint8_t *data; /* NULL: none */
	size_t len_bytes;
	size_t mapped_bytes;
};

/* Kernels and initrds larger than this are refused. */
#define BLOB_BYTES_MAX ((size_t)512 << 20)

/* Zeroed memory, page-aligned. -> 0, -EFBIG (above BLOB_BYTES_MAX), -ENOMEM. Length 0 is fine. */
int blob_alloc(struct blob *b, size_t len_bytes);

/* Of a zeroed or freed blob too. */
void blob_free(struct blob *b);

#endif
