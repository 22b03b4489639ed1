/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libzstd, loaded for the first compressed cluster of that kind: it is as large as all of charmvm, and few images need it.
 */
#ifndef BLOCK_QCOW2_ZSTD_LIB_H
#define BLOCK_QCOW2_ZSTD_LIB_H

#include <zstd.h>

/* What we call of it, and no more. */
#define ZSTD_LIB_FUNCTIONS(X)                                                                      \
	X(create_cctx, ZSTD_createCCtx)                                                            \
	X(free_cctx, ZSTD_freeCCtx)                                                                \
	X(compress, ZSTD_compressCCtx)                                                             \
	X(create_dctx, ZSTD_createDCtx)                                                            \
	X(free_dctx, ZSTD_freeDCtx)                                                                \
	X(dctx_set, ZSTD_DCtx_setParameter)                                                        \
	X(dctx_reset, ZSTD_DCtx_reset)                                                             \
	X(frame_bytes, ZSTD_findFrameCompressedSize)                                               \
	X(decompress, ZSTD_decompressDCtx)                                                         \
	X(decompress_stream, ZSTD_decompressStream)                                                \
	X(is_error, ZSTD_isError)

/* As zstd.h declares them. */
struct zstd_lib {
#define ZSTD_LIB_MEMBER(member, function) __typeof__(function) *member;
	ZSTD_LIB_FUNCTIONS(ZSTD_LIB_MEMBER)
#undef ZSTD_LIB_MEMBER
};

/* Fills in @lib; any thread. -> 0, or -ENOENT with one line logged: it is not installed, or lacks a function. */
int zstd_lib_load(struct zstd_lib *lib);

#endif
