/* SPDX-License-Identifier: Apache-2.0 */
/* The codecs of compressed clusters, zlib (raw deflate) and zstd; for compress.c only. */
#ifndef BLOCK_QCOW2_CODEC_H
#define BLOCK_QCOW2_CODEC_H

#include <stddef.h>
#include <stdint.h>

struct qcow2;

/*
 * Both in a coroutine, which waits for a worker thread.
 * Inflates into one cluster at @out. -> 0; -EIO: damaged, or not exactly a cluster; -ENOMEM.
 */
int q_co_inflate(struct qcow2 *q, const uint8_t *in, size_t in_bytes, uint8_t *out);
/*
 * Deflates one cluster. *out_bytes: the room at @out, then what is used of it. -> 0; -ENOSPC: it does
 * not become as small as that; -ENOMEM.
 */
int q_co_deflate(struct qcow2 *q, const uint8_t *in, uint8_t *out, size_t *out_bytes);

/* Nothing is under way. */
void q_codecs_free(struct qcow2 *q);

#endif
