/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as text: base64 of RFC 4648, in one line. */
#ifndef VMM_BASE64_H
#define VMM_BASE64_H

#include <stddef.h>

/* How many characters @len_bytes become, with a NUL. */
size_t base64_size(size_t len_bytes);

/* Writes them and a NUL to @out, which has room for base64_size(). -> the NUL. */
char *base64_encode(char *out, const void *data, size_t len_bytes);

#endif
