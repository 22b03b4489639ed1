/* SPDX-License-Identifier: Apache-2.0 */
/* Options out of a file: the same table as for a command line (options.h), the same names, a line each. */
#ifndef BASE_OPTIONS_FILE_H
#define BASE_OPTIONS_FILE_H

#include <stdbool.h>

#include "vmm/base/options.h"

/* Names of options, each list ended by NULL. */
struct options_file {
	const char *path;	     /* for messages */
	const char *const *keys;     /* those that may stand in the file */
	const char *const *repeated; /* of them, those that add up */
};

/*
 * Applies the lines "key = value" of @text, which is changed and whose pieces @cfg keeps, to @cfg; "#" begins a comment line, an
 * option without a value takes yes or no. @given has a place for each option of @cmd: one that is given already is passed
 * over unless it adds up, and what the file gives is marked. Main thread. -> 0; -EINVAL: logged, with the line.
 */
int options_apply_text(const struct command_spec *cmd, void *cfg, char *text,
		       const struct options_file *file, bool *given);

#endif
