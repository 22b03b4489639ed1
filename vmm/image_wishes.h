/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image that charmvm build has made asks for: memory and vCPUs, in its /etc/charmvm/machine.conf (Charmfile(5), MEM
 * and CPUS). The user's word counts more, wherever it stands; and since an image may be anybody's, it gets no more than a part of
 * the host, and no ports.
 */
#ifndef VMM_IMAGE_WISHES_H
#define VMM_IMAGE_WISHES_H

#include <stddef.h>
#include <stdint.h>

struct blk_node;
struct machine_config;

enum { IMAGE_WISHES_BYTES_MAX = 64 * 1024 };

struct image_wishes {
	uint64_t mem_bytes; /* 0: no wish */
	unsigned int cpus;  /* 0: likewise */
};

/* Reads the text of such a file; lines that say nothing of it, and values that are none, are passed over. Any thread. */
void image_wishes_parse(const char *text, struct image_wishes *out);

/* Gives a machine that boots the image @disk what it asks for, where nobody has said otherwise. Logged is what it does not get.
 * For the thread of the node's loop, while that does not run. */
void image_wishes_apply(struct machine_config *cfg, struct blk_node *disk);

#endif
