/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What cloud-init(1) in a guest is told, on a small read-only disk: its data source "NoCloud", a FAT file system with the label
 * CIDATA and the files meta-data and user-data in it. The guest gets its name, its host key, a user charm who may do all and
 * whom the user's key lets in, as it lets in the image's own default user; no passwords; and its root file system grows
 * to the size of the disk. A user's own file (vmm/user_data.h) is handed in with it.
 */
#ifndef VMM_CLOUD_INIT_H
#define VMM_CLOUD_INIT_H

#include <stdint.h>

#include "vmm/exit_status.h"

struct backends;
struct keys;

/*
 * The disk for a machine called @name, which is made a hostname. @k NULL: nobody can log in. @theirs: from user_data_read(), or
 * NULL. *out: VFAT_BYTES (firmware/vfat.h), for the caller to free(). -> 0, -EFBIG, -ENOMEM, not logged.
 */
int cloud_init_disk(const char *name, const struct keys *k, const char *theirs, uint8_t **out);

/* Makes it b->seed, which must be NULL, and is in memory only. @path: the user's own file, or NULL. After backends_connect(),
 * no loop runs. -> EXIT_STATUS_OK, _FILE or _FAILED, logged. */
enum exit_status cloud_init_attach(struct backends *b, const char *path);

#endif
