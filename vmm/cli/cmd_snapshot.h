/* SPDX-License-Identifier: Apache-2.0 */
/* Where the snapshots of charmvm snapshot are: in a running machine, or in the image of a stopped one. */
#ifndef VMM_CMD_SNAPSHOT_H
#define VMM_CMD_SNAPSHOT_H

#include <jansson.h>

#include "vmm/cli/cmd_vm.h"
#include "vmm/exit_status.h"

enum { SNAPSHOT_WORDS_MAX = 3 };

struct snapshot_args {
	struct vm_args vm; /* .name: the machine; NULL: the only one */
	const char *image; /* or this image, of a stopped one */
	const char *note;
	const char *words[SNAPSHOT_WORDS_MAX];
	unsigned int nwords;
};

/* All of them log what is wrong, with the machine's or the image's name. @to: of a rename. */
enum exit_status snapshot_online_list(const struct snapshot_args *a, json_t **table);
enum exit_status snapshot_online_change(const struct snapshot_args *a, const char *verb,
					const char *name, const char *to);
/* The image's name, for messages and export; in @out. */
enum exit_status snapshot_online_files(const struct snapshot_args *a, char **image, char **cdrom);

enum exit_status snapshot_offline_list(const struct snapshot_args *a, json_t **table);
/* @verb: save, revert, delete, rename */
enum exit_status snapshot_offline_change(const struct snapshot_args *a, const char *verb,
					 const char *name, const char *to);

/* The snapshot @name of @image, with its machine, as an image of its own; @image may be in use. Logged. */
enum exit_status snapshot_export(const char *image, const char *name, const char *to);

/* For people, snapshot_print.c; @table: snapshot_table_co()'s. */
void snapshot_print_list(const json_t *table);
void snapshot_print_tree(const json_t *table);
void snapshot_print_one(const json_t *table, const json_t *s);

#endif
