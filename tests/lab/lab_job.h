/* SPDX-License-Identifier: Apache-2.0 */
/* The command for the lab, as one block of bytes: made by lab_host, taken apart
 * by lab_guest. */
#ifndef LAB_JOB_H
#define LAB_JOB_H

#include "lab_wire.h"

#include <sys/types.h>

struct lab_job {
	struct lab_job_head head;
	gid_t *groups; /* head.ngroups of them */
	char *cwd;
	char **argv; /* NULL-terminated, as is envp */
	char **envp;
};

/*
 * Packs argv with this process's directory, environment (less what belongs to
 * the host's session), umask, wall clock and, unless as_root, user and groups.
 * Returns 0 or -errno; the caller frees *blob.
 */
int lab_job_pack(char **argv, bool as_root, uint32_t flags, struct lab_winsize win, void **blob,
		 size_t *blob_bytes);

/* The job keeps pointers into the blob. Returns 0, -EINVAL for a broken one, or
 * -ENOMEM. */
int lab_job_unpack(struct lab_job *job, void *blob, size_t blob_bytes);

#endif
