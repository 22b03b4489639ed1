/* SPDX-License-Identifier: Apache-2.0 */
/* A stream into a file: output only. */
#ifndef CHARDEV_FILE_H
#define CHARDEV_FILE_H

struct chardev;
struct loop;

/*
 * Opens @path for appending, and creates it where it is not there. A FIFO or a device may be named
 * as well. What a full disk does not take is dropped, and said once. -> 0, or -errno with one line
 * logged.
 */
int chardev_file_open(struct loop *loop, const char *path, struct chardev **out);

#endif
