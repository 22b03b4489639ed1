/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel or an initrd that was named on the command line, as memory to copy from. */
#ifndef VMM_BOOT_FILE_H
#define VMM_BOOT_FILE_H

#include <stddef.h>

#include "vmm/exit_status.h"

struct boot_file {
	void *data; /* NULL: none */
	size_t len_bytes;
};

/*
 * Maps the file for reading, with its pages in place. -> EXIT_STATUS_OK, or EXIT_STATUS_FILE, logged: it
 * cannot be opened, is no regular file, is empty or is larger than BLOB_BYTES_MAX. Any thread.
 */
enum exit_status boot_file_map(const char *path, struct boot_file *out);
/* Of a zeroed one too. */
void boot_file_unmap(struct boot_file *f);

#endif
