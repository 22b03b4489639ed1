/* SPDX-License-Identifier: Apache-2.0 */
/* A file without a name for what comes out of an archive: it is gone with the process, whatever ends that. */
#ifndef VMM_SPOOL_H
#define VMM_SPOOL_H

#include <stddef.h>
#include <stdint.h>

/* A new one in the file system of the directory @dir. -> a file descriptor to close, or -errno. */
int spool_open(const char *dir);
/* Writes @bytes at @off; runs of zeroes become holes. -> 0 or -errno. */
int spool_write(int fd, const void *buf, size_t bytes, uint64_t off);

#endif
