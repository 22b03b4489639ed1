/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the qcow2 header with its extensions into one cluster; those that are not known are kept as they were. */
#include "devices/block/qcow2/header_ext.h"

#include <errno.h>
#include <string.h>

#include "vmm/base/checked.h"
#include "vmm/base/endian.h"

static const struct {
	uint8_t type, bit;
	const char *name;
} features[] = {
	{ 0, 0, "dirty bit" },
	{ 0, 1, "corrupt bit" },
	{ 0, 2, "external data file" },
	{ 0, 3, "compression type" },
	{ 0, 4, "extended L2 entries" },
	{ 1, 0, "lazy refcounts" },
	{ 2, 0, "bitmaps" },
	{ 2, 1, "raw external data" },
};

struct writer {
	uint8_t *p;
	size_t at, bytes;
	bool full;
};

/* Room for @len bytes, padded to 8 (the cluster is zeroed already). -> NULL when there is none. */
static uint8_t *reserve(struct writer *w, size_t len)
{
	size_t whole = align_up(len, 8);
	if (w->full || !ck_range(w->at, whole, w->bytes)) {
		w->full = true;
		return NULL;
	}
	uint8_t *p = w->p + w->at;
	w->at += whole;
	return p;
}

static void put_extension(struct writer *w, uint32_t type, const void *data, uint32_t len)
{
	uint8_t *p = reserve(w, EXT_HEAD_BYTES + len);
	if (!p)
		return;
	put_be32(p, type);
	put_be32(p + 4, len);
	if (len)
		memcpy(p + EXT_HEAD_BYTES, data, len);
}

static void put_features(struct writer *w)
{
	uint8_t table[ARRAY_SIZE(features) * FEATURE_BYTES] = { 0 };
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		uint8_t *f = table + i * FEATURE_BYTES;
		f[0] = features[i].type;
		f[1] = features[i].bit;
		memcpy(f + 2, features[i].name, strlen(features[i].name));
	}
	put_extension(w, EXT_FEATURE_NAMES, table, sizeof(table));
}

static void put_bitmaps(struct writer *w, const struct qcow2_header *h)
{
	uint8_t data[EXT_BITMAPS_BYTES] = { 0 };
	put_be32(data, h->n_bitmaps);
	put_be64(data + 8, h->bitmap_dir_bytes);
	put_be64(data + 16, h->bitmap_dir_off);
	put_extension(w, EXT_BITMAPS, data, sizeof(data));
}

void qcow2_header_put_tables(const struct qcow2_header *h, uint8_t *p)
{
	put_be64(p + QCOW2_AT_SIZE, h->size);
	put_be32(p + QCOW2_AT_L1_SIZE, h->l1_entries);
	put_be64(p + QCOW2_AT_L1_OFF, h->l1_off);
	put_be64(p + QCOW2_AT_RT_OFF, h->rt_off);
	put_be32(p + QCOW2_AT_RT_CLUSTERS, h->rt_clusters);
	put_be32(p + QCOW2_AT_SNAPSHOTS, h->n_snapshots);
	put_be64(p + QCOW2_AT_SNAPSHOTS_OFF, h->snapshots_off);
	if (h->version >= 3)
		put_be64(p + QCOW2_AT_INCOMPAT, h->incompat);
}

static void put_fixed(const struct qcow2_header *h, uint8_t *p)
{
	put_be32(p, QCOW2_MAGIC);
	put_be32(p + 4, h->version);
	put_be32(p + 20, h->cluster_bits);
	put_be32(p + 32, h->crypt_method);
	qcow2_header_put_tables(h, p);
	if (h->version < 3)
		return;
	put_be64(p + QCOW2_AT_COMPAT, h->compat);
	put_be64(p + QCOW2_AT_AUTOCLEAR, h->autoclear);
	put_be32(p + 96, h->refcount_order);
	put_be32(p + 100, QCOW2_HEADER_BYTES);
	p[104] = h->compression;
}

int qcow2_header_write(const struct qcow2_header *h, const uint8_t *unknown, size_t unknown_bytes,
		       uint8_t *out, size_t cluster_bytes)
{
	memset(out, 0, cluster_bytes);
	put_fixed(h, out);
	struct writer w = { .p = out, .bytes = cluster_bytes };
	reserve(&w, h->version < 3 ? QCOW2_V2_HEADER_BYTES : QCOW2_HEADER_BYTES);
	if (h->backing_format[0])
		put_extension(&w, EXT_BACKING_FORMAT, h->backing_format,
			      (uint32_t)strlen(h->backing_format));
	if (h->data_file[0])
		put_extension(&w, EXT_DATA_FILE, h->data_file, (uint32_t)strlen(h->data_file));
	if (h->has_bitmaps)
		put_bitmaps(&w, h);
	uint8_t *p = unknown_bytes ? reserve(&w, unknown_bytes) : NULL;
	if (p)
		memcpy(p, unknown, unknown_bytes);
	/* The names are a courtesy: left out where a small cluster has no room for them. */
	size_t need = EXT_HEAD_BYTES + sizeof(features) / sizeof(features[0]) * FEATURE_BYTES +
		      EXT_HEAD_BYTES + strlen(h->backing);
	if (h->version >= 3 && ck_range(w.at, need, cluster_bytes))
		put_features(&w);
	put_extension(&w, EXT_END, NULL, 0);
	size_t name = strlen(h->backing);
	if (name) {
		put_be64(out + QCOW2_AT_BACKING, w.at);
		put_be32(out + QCOW2_AT_BACKING + 8, (uint32_t)name);
		p = reserve(&w, name);
		if (p)
			memcpy(p, h->backing, name);
	}
	return w.full ? -ENOSPC : 0;
}
