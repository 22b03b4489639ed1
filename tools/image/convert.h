/* SPDX-License-Identifier: Apache-2.0 */
/* A conversion: what the command line says (convert.c), and doing it (convert_run.c). */
#ifndef TOOLS_IMAGE_CONVERT_H
#define TOOLS_IMAGE_CONVERT_H

#include "tools/image/common.h"
#include "tools/image/format_options.h"

enum { CONVERT_THREADS_MAX = 32 };

struct convert {
	struct format_options o; /* o.q.backing: only what differs from it is copied */
	struct image_words words;
	const char *from_format, *snapshot;
	const char *machine_name; /* what the snapshot is called in the target; NULL: as here */
	uint32_t sparse_bytes;
	unsigned int threads;
	bool machine; /* the snapshot comes along, with its machine */
	bool compress, into_existing, target_is_zero, dense, progress, quiet, share;
};

/* -> 0, or -errno after a message. */
int convert_run(struct convert *c);

#endif
