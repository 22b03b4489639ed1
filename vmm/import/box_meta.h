/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files beside a box's disk say: which of them is the disk, and who logs in. All of it is a stranger's text.
 * metadata.json: Vagrant, "Box File Format" and vagrant-libvirt, "Box Format" (versions 1 and 2); *.ovf: DMTF DSP0243.
 */
#ifndef VMM_BOX_META_H
#define VMM_BOX_META_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/import/box_archive.h"
#include "vmm/login.h"

enum box_provider { BOX_LIBVIRT, BOX_VIRTUALBOX };

struct box_metadata {
	enum box_provider provider;
	char disk[BOX_NAME_MAX + 1]; /* libvirt: the first one */
	unsigned int more_disks;     /* that it has beside this one */
};

/* @text: metadata.json; @shown: the box, for messages. -> 0, or -EINVAL after one line: not JSON, another provider, another
 * format than qcow2. */
int box_metadata_parse(const char *text, const char *shown, struct box_metadata *m);

/*
 * The file of the first disk that an OVF's text names, and how many more there are. -> whether there is one.
 */
bool ovf_first_disk(const char *text, char disk[BOX_NAME_MAX + 1], unsigned int *more);

/*
 * The user that a Vagrantfile sets, where it does so plainly (config.ssh.username = "NAME"; it is a program, and not run).
 * -> whether it does, with a name that login_user_ok() takes.
 */
bool vagrantfile_user(const char *text, char user[LOGIN_USER_MAX + 1]);

#endif
