/* SPDX-License-Identifier: Apache-2.0 */
/* Image locks that QEMU and charmvm both understand. */
#ifndef BLOCK_LOCK_H
#define BLOCK_LOCK_H

#include <stdbool.h>

/*
 * Takes the locks of a user of the image @path, open as @fd: a writer excludes everybody else, a
 * reader excludes writers. They go with the open file description. -> 0; -EBUSY, after one log line
 * that says who uses it where that can be told; file systems without locks are warned about, -> 0.
 */
int lock_image(int fd, const char *path, bool writer);

/*
 * A snapshot of the image @path is in use by readers that do not lock the image: it cannot be deleted as long as
 * *fd is open. -> 0; -EBUSY: it is being deleted; -errno; logged. File systems without locks are warned about, -> 0.
 */
int lock_snapshot(const char *path, const char *id, int *fd);

/* For who deletes it: nobody may begin to use it now. -> 0; -EBUSY: it is in use. Then unlock_snapshot_deletion(). */
int lock_snapshot_deletion(int image_fd, const char *id);
void unlock_snapshot_deletion(int image_fd, const char *id);
/* Whether anybody else uses it: for people, since it may be otherwise a moment later. */
bool lock_snapshot_is_used(int image_fd, const char *id);

#endif
