/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partition tables: GPT (UEFI 2.10, chapter 5) with its backup, MBR with logical partitions, or
 * none. The image is hostile: what is returned lies inside the disk, and the work is bounded.
 */
#ifndef FIRMWARE_PARTITION_H
#define FIRMWARE_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

enum { PARTITIONS_MAX = 128, PARTITION_UUID_CHARS = 37 };

struct blk_node;

enum partition_scheme {
	PARTITION_NONE, /* the whole disk is one partition, number 0 */
	PARTITION_MBR,
	PARTITION_GPT,
};

struct partition {
	unsigned int number;		 /* as Linux counts: vda1, ... */
	uint64_t off;			 /* bytes */
	uint64_t len;			 /* bytes, not 0 */
	char type[PARTITION_UUID_CHARS]; /* GPT: the type's GUID, lower case; MBR: "83" and the like
					  */
	char uuid[PARTITION_UUID_CHARS]; /* PARTUUID= as Linux writes it; "" for PARTITION_NONE */
};

struct partition_table {
	enum partition_scheme scheme;
	bool from_backup; /* the main GPT is damaged */
	bool endless;	  /* the chain of logical partitions has no end, and was left there */
	unsigned int n;
	struct partition parts[PARTITIONS_MAX];
};

#define PARTITION_TYPE_XBOOTLDR	   "bc13c2ff-59e6-4262-a352-b275fd6f7172"
#define PARTITION_TYPE_ROOT_X86_64 "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"

/* -> 0, -EIO and other errors of reading, -EINVAL (a GPT with both copies damaged). Not logged. */
int partition_scan(struct blk_node *disk, struct partition_table *out);

/* "GPT", "MBR", "no partition table". */
const char *partition_scheme_name(enum partition_scheme scheme);

#endif
