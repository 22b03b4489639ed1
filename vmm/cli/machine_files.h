/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine is on disk: its image, and what this user's directories have of it. For the commands on machines that do
 * not run: destroy, rename, clone. */
#ifndef VMM_MACHINE_FILES_H
#define VMM_MACHINE_FILES_H

#include <limits.h>
#include <stdbool.h>

#include "vmm/config.h"
#include "vmm/exit_status.h"
#include "vmm/record.h"

struct machine_files {
	char name[CONFIG_NAME_MAX + 1];
	char image[PATH_MAX];
	int fd;	      /* the image, locked; -1: not open */
	bool running; /* and then: */
	struct record record;
};

/* The image that @word means: a file, or NAME for NAME.qcow2 in this directory. -> @word or @path (PATH_MAX). */
const char *machine_files_image(const char *word, char *path);

/* Does a machine of that name run, from whatever image? */
bool machine_files_runs(const char *name);
/* Finds the machine that @word means, a running one's name or as above; nothing is locked. -> EXIT_STATUS_OK, or _FILE,
 * _FAILED with one line logged. machine_files_close() in any case. */
enum exit_status machine_files_find(const char *word, struct machine_files *f);
/* Locks the image, for @writer against everybody else. -> EXIT_STATUS_OK, _IN_USE, _FILE; logged. */
enum exit_status machine_files_lock(struct machine_files *f, bool writer);
void machine_files_close(struct machine_files *f);

/*
 * Where the image of the machine @to goes: beside that of @f and with the same ending; or where @to says, when it has a
 * slash in it. @path: PATH_MAX, @name: what the machine there is called. Nothing must be there.
 * -> EXIT_STATUS_OK, _USAGE, _FILE; logged.
 */
enum exit_status machine_files_target(const struct machine_files *f, const char *to, char *path,
				      char name[CONFIG_NAME_MAX + 1]);

#endif
