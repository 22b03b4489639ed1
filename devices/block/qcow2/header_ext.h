/* SPDX-License-Identifier: Apache-2.0 */
/* The header's extensions by number (qcow2: "Header extensions"), for header.c, which reads, and header_write.c. */
#ifndef BLOCK_QCOW2_HEADER_EXT_H
#define BLOCK_QCOW2_HEADER_EXT_H

#include "devices/block/qcow2/header.h"

enum {
	EXT_END = 0,
	EXT_BACKING_FORMAT = 0xe2792aca,
	EXT_FEATURE_NAMES = 0x6803f857,
	EXT_BITMAPS = 0x23852875,
	EXT_CRYPTO = 0x0537be77,
	EXT_DATA_FILE = 0x44415441,
	EXT_HEAD_BYTES = 8,
	EXT_BITMAPS_BYTES = 24,
	FEATURE_BYTES = 48,
};

#endif
