/* SPDX-License-Identifier: Apache-2.0 */
/* What "-o NAME=VALUE,..." says about a new image, and making one from it. */
#ifndef TOOLS_IMAGE_FORMAT_OPTIONS_H
#define TOOLS_IMAGE_FORMAT_OPTIONS_H

#include <stdbool.h>

#include "devices/block/qcow2/create.h"

struct output;

enum image_preallocation {
	PREALLOCATION_OFF,
	PREALLOCATION_METADATA,
	PREALLOCATION_FALLOC,
	PREALLOCATION_FULL,
};

/* Zeroed but for format; the strings belong to @text. */
struct format_options {
	const char *format; /* "raw" or "qcow2" */
	struct qcow2_create q;
	bool has_size;
	enum image_preallocation preallocation;
	char *text; /* the words of -o, cut up */
};

void format_options_free(struct format_options *o);
/* Takes the value of one -o. -> 0, or -EINVAL after a message. */
int format_options_add(struct format_options *o, const char *value);
/* After the command line: whether the format is one we write and has the options given. */
int format_options_check(const struct format_options *o);
/* Writes an image of o->q.size without contents to the empty file @fd; @path: for messages. */
int format_options_make(const struct format_options *o, int fd, const char *path);
/* Then allocates what is asked for. -> 0, or -errno after a message. */
int format_options_preallocate(const struct format_options *o, const struct output *out);

#endif
