/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the qcow2 header: every field checked before anybody computes with it. */
/*
 * How it works. The specification is QEMU's docs/interop/qcow2.rst, sections "Header", "Header
 * extensions". Parsing is one pass over the first cluster. What comes out obeys:
 *  1. cluster_bits 9..21, refcount_order 0..6, so cluster arithmetic stays within 64 bits;
 *  2. tables are cluster-aligned, inside the file, and no larger than QEMU allows, so no size in
 *     the header can ask for more memory than that;
 *  3. the L1 table covers the whole virtual disk;
 *  4. strings are inside the first cluster and end in a zero byte here.
 */
#include "devices/block/qcow2/header_ext.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"
#include "vmm/base/log.h"

uint32_t qcow2_header_cluster_bytes(const uint8_t *head)
{
	uint32_t bits = get_be32(head + 20);
	if (get_be32(head) != QCOW2_MAGIC || bits < QCOW2_CLUSTER_BITS_MIN ||
	    bits > QCOW2_CLUSTER_BITS_MAX)
		return 0;
	return 1u << bits;
}

uint64_t qcow2_l1_needed(uint64_t size, uint32_t cluster_bits, bool ext_l2)
{
	uint32_t l2_bits = cluster_bits - (ext_l2 ? 4 : 3);
	return div_round_up(size, UINT64_C(1) << (cluster_bits + l2_bits));
}

static int damaged(const char *path, const char *what)
{
	log_error("%s: damaged qcow2 image: %s: restore it from a backup", path, what);
	return -EINVAL;
}

static void read_fixed(const uint8_t *p, struct qcow2_header *h)
{
	h->version = get_be32(p + 4);
	h->cluster_bits = get_be32(p + 20);
	h->size = get_be64(p + QCOW2_AT_SIZE);
	h->crypt_method = get_be32(p + 32);
	h->l1_entries = get_be32(p + QCOW2_AT_L1_SIZE);
	h->l1_off = get_be64(p + QCOW2_AT_L1_OFF);
	h->rt_off = get_be64(p + QCOW2_AT_RT_OFF);
	h->rt_clusters = get_be32(p + QCOW2_AT_RT_CLUSTERS);
	h->n_snapshots = get_be32(p + QCOW2_AT_SNAPSHOTS);
	h->snapshots_off = get_be64(p + QCOW2_AT_SNAPSHOTS_OFF);
	h->refcount_order = 4;
	h->header_bytes = QCOW2_V2_HEADER_BYTES;
	if (h->version < 3)
		return;
	h->incompat = get_be64(p + QCOW2_AT_INCOMPAT);
	h->compat = get_be64(p + QCOW2_AT_COMPAT);
	h->autoclear = get_be64(p + QCOW2_AT_AUTOCLEAR);
	h->refcount_order = get_be32(p + 96);
	h->header_bytes = get_be32(p + 100);
	if (h->header_bytes > 104)
		h->compression = p[104];
}

/* The name that the image's own table gives to a feature we do not know. */
static void feature_name(const uint8_t *head, size_t bytes, const struct qcow2_header *h,
			 unsigned int bit, char *out, size_t out_bytes)
{
	snprintf(out, out_bytes, "incompatible feature bit %u", bit);
	size_t at = h->header_bytes;
	while (ck_range(at, EXT_HEAD_BYTES, bytes)) {
		uint32_t type = get_be32(head + at), len = get_be32(head + at + 4);
		at += EXT_HEAD_BYTES;
		if (type == EXT_END || !ck_range(at, len, bytes))
			return;
		for (uint32_t i = 0; type == EXT_FEATURE_NAMES && i + FEATURE_BYTES <= len;
		     i += FEATURE_BYTES) {
			const uint8_t *f = head + at + i;
			if (f[0] != 0 || f[1] != bit)
				continue;
			snprintf(out, out_bytes, "\"%.46s\"", (const char *)f + 2);
			for (char *c = out; *c; c++) /* it goes to a terminal */
				if (*c < ' ' || *c > '~')
					*c = '?';
		}
		at += align_up(len, 8);
	}
}

static int check_features(const uint8_t *head, size_t bytes, const char *path,
			  const struct qcow2_header *h)
{
	uint64_t unknown = h->incompat & ~QCOW2_INCOMPAT_KNOWN;
	char name[80];
	if (unknown) {
		feature_name(head, bytes, h, (unsigned int)__builtin_ctzll(unknown), name,
			     sizeof(name));
		log_error("%s: the image uses %s, which this charmvm does not know: "
			  "convert it with the program that made it",
			  path, name);
		return -ENOTSUP;
	}
	if (h->crypt_method) {
		log_error("%s: the image is encrypted (%s), which is not supported: "
			  "convert it with qemu-img",
			  path,
			  h->crypt_method == 1	 ? "AES"
			  : h->crypt_method == 2 ? "LUKS"
						 : "an unknown method");
		return -ENOTSUP;
	}
	bool marked = h->incompat & QCOW2_INCOMPAT_COMPRESSION;
	if (h->compression > QCOW2_COMPRESSION_ZSTD) {
		log_error("%s: the image uses compression type %u, which is not supported", path,
			  h->compression);
		return -ENOTSUP;
	}
	if (marked != (h->compression != QCOW2_COMPRESSION_ZLIB))
		return damaged(path, "compression type and its feature bit disagree");
	return 0;
}

static int check_basics(size_t bytes, const char *path, const struct qcow2_header *h)
{
	if (h->version != 2 && h->version != 3) {
		log_error("%s: qcow version %" PRIu32 " is not supported: convert it with qemu-img",
			  path, h->version);
		return -ENOTSUP;
	}
	if (h->cluster_bits < QCOW2_CLUSTER_BITS_MIN || h->cluster_bits > QCOW2_CLUSTER_BITS_MAX)
		return damaged(path, "cluster size out of range");
	if (h->version == 3 && (h->header_bytes < QCOW2_V3_HEADER_BYTES || h->header_bytes % 8))
		return damaged(path, "header length out of range");
	if (h->header_bytes > bytes)
		return damaged(path, "header longer than the first cluster");
	if (h->refcount_order > 6)
		return damaged(path, "refcount width out of range");
	if ((h->incompat & QCOW2_INCOMPAT_EXT_L2) &&
	    h->cluster_bits < QCOW2_EXT_L2_CLUSTER_BITS_MIN)
		return damaged(path, "clusters too small for extended L2 entries");
	return 0;
}

/* A table is where a table can be; the end of the file may cut its last cluster short. */
static bool table_fits(uint64_t off, uint64_t len, uint64_t file_bytes, uint32_t cluster_bits)
{
	uint64_t mask = (UINT64_C(1) << cluster_bits) - 1;
	return !(off & mask) && off && off < (UINT64_C(1) << 56) && ck_range(off, len, file_bytes);
}

static bool refcount_table_fits(const struct qcow2_header *h, uint64_t file_bytes)
{
	uint64_t bytes = (uint64_t)h->rt_clusters << h->cluster_bits;
	uint64_t end = align_up(file_bytes, UINT64_C(1) << h->cluster_bits);
	return bytes && bytes <= QCOW2_RT_BYTES_MAX &&
	       table_fits(h->rt_off, bytes, end, h->cluster_bits);
}

static int check_tables(uint64_t file_bytes, const char *path, bool for_repair,
			struct qcow2_header *h)
{
	bool ext_l2 = h->incompat & QCOW2_INCOMPAT_EXT_L2;
	uint64_t l1_bytes = (uint64_t)h->l1_entries * 8;
	uint64_t needed = qcow2_l1_needed(h->size, h->cluster_bits, ext_l2);
	if (h->size > INT64_MAX || h->size % 512 || needed > QCOW2_L1_BYTES_MAX / 8)
		return damaged(path, "virtual size out of range");
	if (l1_bytes > QCOW2_L1_BYTES_MAX)
		return damaged(path, "L1 table too large");
	if (h->l1_entries < needed)
		return damaged(path, "L1 table too small for the virtual size");
	if (h->l1_entries && !table_fits(h->l1_off, l1_bytes, file_bytes, h->cluster_bits))
		return damaged(path, "L1 table not inside the file (truncated?)");
	if (!refcount_table_fits(h, file_bytes)) {
		if (!for_repair) {
			log_error("%s: damaged qcow2 image: refcount table not inside the file: "
				  "rebuild it with charmvm image check -r all",
				  path);
			return -EINVAL;
		}
		h->rt_off = 0;
		h->rt_clusters = 0;
	}
	if (h->n_snapshots > QCOW2_SNAPSHOTS_MAX)
		return damaged(path, "too many snapshots");
	if (h->n_snapshots && !table_fits(h->snapshots_off, 40, file_bytes, h->cluster_bits))
		return damaged(path, "snapshot table not inside the file (truncated?)");
	return 0;
}

static bool copy_string(char *out, size_t out_bytes, const uint8_t *from, size_t len)
{
	if (len >= out_bytes || memchr(from, '\0', len))
		return false;
	memcpy(out, from, len);
	out[len] = '\0';
	return true;
}

static int read_extension(uint32_t type, const uint8_t *data, uint32_t len, const char *path,
			  struct qcow2_header *h)
{
	switch (type) {
	case EXT_BACKING_FORMAT:
		if (!copy_string(h->backing_format, sizeof(h->backing_format), data, len))
			return damaged(path, "backing format name too long");
		return 0;
	case EXT_DATA_FILE:
		if (!copy_string(h->data_file, sizeof(h->data_file), data, len))
			return damaged(path, "data file name too long");
		return 0;
	case EXT_BITMAPS:
		if (len != EXT_BITMAPS_BYTES)
			return damaged(path, "bitmaps extension has a wrong size");
		h->has_bitmaps = true;
		h->n_bitmaps = get_be32(data);
		h->bitmap_dir_bytes = get_be64(data + 8);
		h->bitmap_dir_off = get_be64(data + 16);
		return 0;
	default: return 0;
	}
}

static int read_extensions(const uint8_t *head, size_t end, const char *path,
			   struct qcow2_header *h)
{
	size_t at = h->header_bytes;
	while (ck_range(at, EXT_HEAD_BYTES, end)) {
		uint32_t type = get_be32(head + at), len = get_be32(head + at + 4);
		at += EXT_HEAD_BYTES;
		if (type == EXT_END)
			return 0;
		if (!ck_range(at, len, end))
			return damaged(path, "header extension longer than its cluster");
		int err = read_extension(type, head + at, len, path, h);
		if (err)
			return err;
		at += align_up(len, 8);
	}
	return 0;
}

static int check_bitmaps(uint64_t file_bytes, const char *path, const struct qcow2_header *h)
{
	if (!h->has_bitmaps)
		return h->autoclear & QCOW2_AUTOCLEAR_BITMAPS
			       ? damaged(path, "bitmaps bit without bitmaps")
			       : 0;
	if (!h->n_bitmaps || h->n_bitmaps > 65535 || h->bitmap_dir_bytes > (64u << 20) ||
	    !table_fits(h->bitmap_dir_off, h->bitmap_dir_bytes, file_bytes, h->cluster_bits))
		return damaged(path, "bitmap directory out of range");
	return 0;
}

int qcow2_header_parse(const uint8_t *head, size_t bytes, uint64_t file_bytes, const char *path,
		       bool for_repair, struct qcow2_header *h)
{
	memset(h, 0, sizeof(*h));
	if (bytes < QCOW2_HEADER_BYTES || get_be32(head) != QCOW2_MAGIC) {
		log_error("%s: not a qcow2 image: check the path, or give the right format", path);
		return -EINVAL;
	}
	read_fixed(head, h);
	int err = check_basics(bytes, path, h);
	if (!err)
		err = check_features(head, bytes, path, h);
	if (!err)
		err = check_tables(file_bytes, path, for_repair, h);
	if (err)
		return err;
	size_t ext_end = MIN(bytes, (size_t)1 << h->cluster_bits);
	uint64_t backing_off = get_be64(head + QCOW2_AT_BACKING);
	if (backing_off) {
		uint32_t len = get_be32(head + QCOW2_AT_BACKING + 8);
		if (!ck_range(backing_off, len, ext_end) || backing_off < h->header_bytes ||
		    len > QCOW2_BACKING_NAME_MAX ||
		    !copy_string(h->backing, sizeof(h->backing), head + backing_off, len))
			return damaged(path, "backing file name out of range");
		ext_end = (size_t)backing_off;
	}
	err = read_extensions(head, ext_end, path, h);
	if (!err)
		err = check_bitmaps(file_bytes, path, h);
	if (!err && (h->incompat & QCOW2_INCOMPAT_DATA_FILE) && h->n_snapshots)
		err = damaged(path, "snapshots together with an external data file");
	return err;
}

size_t qcow2_header_unknown(const uint8_t *head, size_t bytes, const struct qcow2_header *h,
			    uint8_t *out)
{
	size_t at = h->header_bytes, used = 0;
	uint64_t backing_off = get_be64(head + QCOW2_AT_BACKING);
	size_t end = backing_off ? MIN(bytes, (size_t)backing_off) : bytes;
	while (ck_range(at, EXT_HEAD_BYTES, end)) {
		uint32_t type = get_be32(head + at), len = get_be32(head + at + 4);
		size_t whole = EXT_HEAD_BYTES + align_up(len, 8);
		if (type == EXT_END || !ck_range(at, whole, end))
			break;
		bool ours = type == EXT_BACKING_FORMAT || type == EXT_DATA_FILE ||
			    type == EXT_BITMAPS || type == EXT_FEATURE_NAMES;
		if (!ours) {
			memcpy(out + used, head + at, whole);
			used += whole;
		}
		at += whole;
	}
	return used;
}
