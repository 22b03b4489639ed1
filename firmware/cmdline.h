/* SPDX-License-Identifier: Apache-2.0 */
/* Editing a kernel command line: words separated by blanks, where double quotes keep blanks. */
#ifndef FIRMWARE_CMDLINE_H
#define FIRMWARE_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "firmware/boot.h"

struct cmdline {
	char text[BOOT_CMDLINE_MAX + 1];
	bool too_long; /* something did not fit; the text is as it was before */
};

void cmdline_add(struct cmdline *c, const char *words);

/* The value of the last "key=value"; false when there is none. For a value up to @cap - 1
 * characters. */
bool cmdline_get(const struct cmdline *c, const char *key, char *value, size_t cap);

/* Removes every word "word", and every "word=…" if @with_value. */
void cmdline_remove(struct cmdline *c, const char *word, bool with_value);

#endif
