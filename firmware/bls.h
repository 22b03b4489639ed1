/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot loader entries (the UAPI group's Boot Loader Specification, type 1): small text files, one
 * for each kernel, in loader/entries of the partition that has the kernels.
 */
#ifndef FIRMWARE_BLS_H
#define FIRMWARE_BLS_H

#include "firmware/arena.h"
#include "firmware/grub.h"

enum { BLS_ENTRIES_MAX = 256 };

/* Strings are the arena's, "" where the entry has none. */
struct bls_entry {
	const char *id; /* the file's name without ".conf" */
	const char *title;
	const char *version;
	const char *machine_id;
	const char *sort_key;
	const char *linux_path;
	const char *options; /* all lines of it, joined; not expanded */
	const char *initrds[GRUB_INITRDS_MAX];
	unsigned int ninitrds;
};

/*
 * The entries of a directory that name a kernel, the preferred one first.
 * -> how many (0: none, or no such directory), -E2BIG (arena).
 */
int bls_read_dir(const struct grub_ops *ops, void *opaque, const char *dev, const char *dir,
		 struct arena *arena, struct bls_entry **out);

#endif
