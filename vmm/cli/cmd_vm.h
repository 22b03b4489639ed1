/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands for running machines share: their operand, --json, and how facts are printed. */
#ifndef VMM_CMD_VM_H
#define VMM_CMD_VM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vmm/base/options.h"

/* The first member of a command's own struct. */
struct vm_args {
	const char *name; /* NULL: the only machine there is */
	bool json;
};

/* For the tables of options. */
int vm_operand(void *cfg, const char *value);
int vm_set_json(void *cfg, const char *value);
#define VM_OPTION_JSON                                                                             \
	{                                                                                          \
		"json", 0, NULL, "print JSON", vm_set_json                                         \
	}

/* Parses; words behind "--" are refused. -> true: go on; else the command ends with *status. */
bool vm_parse(const struct command_spec *cmd, void *cfg, int argc, char **argv, int *status);

/* The one who calls has an object for people who asked for JSON: prints and frees it. */
void vm_print_json(json_t *o);
/* Text out of a machine or an image: control characters do not reach the terminal. @width: filled up with spaces. */
void vm_print_text(const char *s, int width);

/* "3m12s", "2h05m", "4d03h". */
enum { VM_TIME_TEXT = 24 };
void vm_time_text(json_int_t seconds, char out[VM_TIME_TEXT]);

#endif
