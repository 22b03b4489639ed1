/* SPDX-License-Identifier: Apache-2.0 */
/* Making a machine of an image that was made for another hypervisor: a Vagrant box, an OVA, or a disk alone. */
#ifndef VMM_IMPORT_H
#define VMM_IMPORT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/exit_status.h"
#include "vmm/login.h"

struct import {
	const char *file; /* what is imported */
	const char *out;  /* the image to be made: nothing is there yet */
	const char *
		user; /* who logs in; NULL: what the box says, or vagrant for a box that says nothing */
	/* Told: */
	char what[64];			/* "a libvirt box", "an OVA", "a vmdk image" */
	uint64_t bytes;			/* how large its disk is */
	unsigned int more_disks;	/* that it has and that are left out */
	char login[LOGIN_USER_MAX + 1]; /* "": nobody is known */
	char *key;			/* a private key that the image trusts, to free; or NULL */
};

/* Makes im->out. Blocks; main thread. -> EXIT_STATUS_OK, _FILE, _IN_USE, _FAILED; one line was logged and nothing stays
 * behind. import_free() in any case. */
enum exit_status import_run(struct import *im);
void import_free(struct import *im);

#endif
