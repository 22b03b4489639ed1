/* SPDX-License-Identifier: Apache-2.0 */
/* The qcow2 header and its extensions, as numbers. Pure functions: no I/O. */
#ifndef BLOCK_QCOW2_HEADER_H
#define BLOCK_QCOW2_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	QCOW2_MAGIC = 0x514649fb,
	QCOW2_V2_HEADER_BYTES = 72,
	QCOW2_V3_HEADER_BYTES = 104,
	QCOW2_HEADER_BYTES = 112, /* what we write: with compression_type and its padding */
	QCOW2_BACKING_NAME_MAX = 1023,
	QCOW2_CLUSTER_BITS_MIN = 9,
	QCOW2_CLUSTER_BITS_MAX = 21,
	QCOW2_EXT_L2_CLUSTER_BITS_MIN = 14,
	QCOW2_L1_BYTES_MAX = 32 << 20, /* QEMU's limits, and ours */
	QCOW2_RT_BYTES_MAX = 8 << 20,
	QCOW2_SNAPSHOTS_MAX = 65536,
	QCOW2_COMPRESSION_ZLIB = 0,
	QCOW2_COMPRESSION_ZSTD = 1,
};

#define QCOW2_INCOMPAT_DIRTY	   (UINT64_C(1) << 0)
#define QCOW2_INCOMPAT_CORRUPT	   (UINT64_C(1) << 1)
#define QCOW2_INCOMPAT_DATA_FILE   (UINT64_C(1) << 2)
#define QCOW2_INCOMPAT_COMPRESSION (UINT64_C(1) << 3)
#define QCOW2_INCOMPAT_EXT_L2	   (UINT64_C(1) << 4)
#define QCOW2_INCOMPAT_KNOWN	   (UINT64_C(0x1f))
#define QCOW2_COMPAT_LAZY	   (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_BITMAPS	   (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_RAW_DATA   (UINT64_C(1) << 1)
#define QCOW2_AUTOCLEAR_KNOWN	   (UINT64_C(3))

/* Where the fields that change are, in bytes. */
enum {
	QCOW2_AT_BACKING = 8,
	QCOW2_AT_SIZE = 24,
	QCOW2_AT_L1_SIZE = 36,
	QCOW2_AT_L1_OFF = 40,
	QCOW2_AT_RT_OFF = 48,
	QCOW2_AT_RT_CLUSTERS = 56,
	QCOW2_AT_SNAPSHOTS = 60,
	QCOW2_AT_SNAPSHOTS_OFF = 64,
	QCOW2_AT_INCOMPAT = 72,
	QCOW2_AT_COMPAT = 80,
	QCOW2_AT_AUTOCLEAR = 88,
};

struct qcow2_header {
	uint32_t version;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t crypt_method;
	uint32_t l1_entries;
	uint64_t l1_off;
	uint64_t rt_off;
	uint32_t rt_clusters;
	uint32_t n_snapshots;
	uint64_t snapshots_off;
	uint64_t incompat;
	uint64_t compat;
	uint64_t autoclear;
	uint32_t refcount_order;
	uint32_t header_bytes;
	uint8_t compression;
	char backing[QCOW2_BACKING_NAME_MAX + 1];
	char backing_format[32]; /* "" when not recorded */
	char data_file[QCOW2_BACKING_NAME_MAX + 1];
	bool has_bitmaps;
	uint32_t n_bitmaps;
	uint64_t bitmap_dir_bytes;
	uint64_t bitmap_dir_off;
};

/* The cluster size told by the first 512 bytes, or 0 when they are no qcow2 header. */
uint32_t qcow2_header_cluster_bytes(const uint8_t *head);

/*
 * Reads the header from the first @bytes of the file (its first cluster, or all there is) and checks
 * every field that can be checked without the file: what stays is safe to compute with. @path is for
 * messages. @for_repair: a refcount table that is not in the file is told by rt_clusters of 0. -> 0; -EINVAL
 * (damaged), -ENOTSUP (a feature we lack, named), after one log line.
 */
int qcow2_header_parse(const uint8_t *head, size_t bytes, uint64_t file_bytes, const char *path,
		       bool for_repair, struct qcow2_header *out);

/*
 * Writes the header with its extensions to @out, one cluster that is zeroed first: backing, format,
 * data file, feature names (v3), bitmaps, and the @unknown_bytes of extensions that are not ours,
 * copied as they are. -> 0 or -ENOSPC (the cluster is too small for it).
 */
int qcow2_header_write(const struct qcow2_header *h, const uint8_t *unknown, size_t unknown_bytes,
		       uint8_t *out, size_t cluster_bytes);

/* Where the tables are, the size and the incompatible features: what one write of the first sector can change, put into @p. */
void qcow2_header_put_tables(const struct qcow2_header *h, uint8_t *p);

/*
 * The extensions in a parsed header that this program does not know, whole and padded, collected
 * into @out, which has room for @bytes. -> bytes used.
 */
size_t qcow2_header_unknown(const uint8_t *head, size_t bytes, const struct qcow2_header *h,
			    uint8_t *out);

/* L1 entries that a disk of @size bytes needs. */
uint64_t qcow2_l1_needed(uint64_t size, uint32_t cluster_bits, bool ext_l2);

#endif
