/* SPDX-License-Identifier: Apache-2.0 */
/* Disks with ext file systems on them, made by mke2fs out of a directory that a shell script fills.
 */
#ifndef TESTS_FAKE_FS_H
#define TESTS_FAKE_FS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/firmware/fake_blk.h"

/* mke2fs is there. */
bool fake_fs_can(void);

/*
 * A file system of @kib KiB as a disk. @script runs in the directory that becomes its root; @mke2fs
 * are more options ("-U … -L …"); @after (or "") is run with the image's path in $1. NULL when a
 * command fails.
 */
struct blk_node *fake_fs_new(unsigned int kib, const char *mke2fs, const char *script,
			     const char *after);

/* A disk with an MBR whose partitions, from 1 on, are these file systems, which are freed. */
struct blk_node *fake_fs_join(struct blk_node *const *parts, unsigned int n, uint32_t disk_id);

#endif
