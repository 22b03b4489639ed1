/* SPDX-License-Identifier: Apache-2.0 */
/* A new file that appears under its name only when it is whole. */
#ifndef TOOLS_IMAGE_OUTPUT_H
#define TOOLS_IMAGE_OUTPUT_H

#include <stdbool.h>

enum { OUTPUT_PATH_TEXT = 64 };

struct output {
	int fd;	       /* the new file */
	int old_fd;    /* what it replaces, locked, or -1 */
	char *target;  /* the name it will have, symbolic links resolved */
	char *temp;    /* the name it gets just before that, or has until then */
	bool has_temp; /* it has that name now */
	char *path;    /* opens it meanwhile */
};

/*
 * Begins a file that will be @path. What is there now is locked (and kept, until the end). SIGINT, SIGTERM
 * and SIGHUP wait until it is ended. -> 0, or -errno after a message; -EBUSY: it is in use.
 */
int output_begin(struct output *o, const char *path);
/* True when such a signal waits: give up soon, with output_drop(). */
bool output_interrupted(void);
/* It is complete: syncs it and gives it its name. -> 0, or -errno after a message: it is dropped. */
int output_end(struct output *o);
/* Nothing is left of it. */
void output_drop(struct output *o);

#endif
