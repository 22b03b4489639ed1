/* SPDX-License-Identifier: Apache-2.0 */
/* Dirty bitmaps in an image: never silently out of step with the disk. */
/*
 * How it works. We do not track changes in bitmaps; the specification ("Bitmap directory", in_use)
 * has a way to say so. Before the first write, every bitmap that is enabled (auto) is marked in_use,
 * "not saved correctly and may be inconsistent"; disabled ones describe a past time and stay valid.
 * The directory stays where it is, so nothing leaks and no other program is misled.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/bitmap.h"
#include "devices/block/qcow2/int.h"
#include "devices/block/qcow2/shadow.h"
#include "vmm/base/endian.h"

enum {
	BITMAP_ENTRY_BYTES = 24,
	BITMAP_AT_FLAGS = 12,
	BITMAP_AT_GRANULARITY = 17,
	BITMAP_AT_NAME_BYTES = 18,
	BITMAP_AT_EXTRA_BYTES = 20,
	BITMAP_IN_USE = 1 << 0,
	BITMAP_AUTO = 1 << 1,
	BITMAP_GRANULARITY_MAX = 31,
};

/* Marks the enabled ones in the directory. -> whether it changed, or -EINVAL. */
static int mark_enabled(uint8_t *dir, uint64_t bytes, uint32_t n)
{
	uint64_t at = 0;
	int changed = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (!ck_range(at, BITMAP_ENTRY_BYTES, bytes))
			return -EINVAL;
		uint32_t flags = get_be32(dir + at + BITMAP_AT_FLAGS);
		if ((flags & BITMAP_AUTO) && !(flags & BITMAP_IN_USE)) {
			put_be32(dir + at + BITMAP_AT_FLAGS, flags | BITMAP_IN_USE);
			changed = 1;
		}
		uint64_t len = BITMAP_ENTRY_BYTES + get_be16(dir + at + BITMAP_AT_NAME_BYTES) +
			       (uint64_t)get_be32(dir + at + BITMAP_AT_EXTRA_BYTES);
		at += align_up(len, 8);
	}
	return changed;
}

int q_co_bitmaps_begin_write(struct qcow2 *q)
{
	if (!q->h.has_bitmaps || !(q->h.autoclear & QCOW2_AUTOCLEAR_BITMAPS))
		return 0;
	uint64_t whole = align_up(q->h.bitmap_dir_bytes, 512);
	uint8_t *dir;
	if (posix_memalign((void **)&dir, Q_PAGE_BYTES_MAX, whole))
		return -ENOMEM;
	int err = blk_co_read(q->node.file, dir, whole, q->h.bitmap_dir_off);
	if (!err)
		err = mark_enabled(dir, q->h.bitmap_dir_bytes, q->h.n_bitmaps);
	if (err == -EINVAL)
		err = q_corrupt(q, "bad bitmap directory at", q->h.bitmap_dir_off);
	if (err == 1) {
		err = blk_co_write(q->node.file, dir, whole, q->h.bitmap_dir_off);
		if (!err)
			err = blk_co_flush(q->node.file);
	}
	free(dir);
	return err;
}

/* ---- listed ---- */

/* The entry at *at, which is moved behind it. */
static int read_entry(const uint8_t *dir, uint64_t bytes, uint64_t *at, struct qcow2_bitmap *out)
{
	const uint8_t *e = dir + *at;
	if (!ck_range(*at, BITMAP_ENTRY_BYTES, bytes))
		return -EIO;
	uint64_t name = BITMAP_ENTRY_BYTES + (uint64_t)get_be32(e + BITMAP_AT_EXTRA_BYTES);
	uint64_t name_bytes = get_be16(e + BITMAP_AT_NAME_BYTES);
	uint32_t flags = get_be32(e + BITMAP_AT_FLAGS);
	uint8_t granularity = e[BITMAP_AT_GRANULARITY];
	if (!ck_range(*at, name + name_bytes, bytes) || granularity > BITMAP_GRANULARITY_MAX)
		return -EIO;
	out->name = strndup((const char *)e + name, name_bytes);
	out->in_use = flags & BITMAP_IN_USE;
	out->automatic = flags & BITMAP_AUTO;
	out->granularity = UINT64_C(1) << granularity;
	*at += align_up(name + name_bytes, 8);
	return out->name ? 0 : -ENOMEM;
}

int qcow2_co_bitmaps(struct blk_node *n, struct qcow2_bitmap **out, uint32_t *n_out)
{
	struct qcow2 *q = q_node(n);
	*out = NULL;
	*n_out = 0;
	if (!q->h.has_bitmaps)
		return 0;
	uint64_t bytes = q->h.bitmap_dir_bytes, at = 0; /* both bounded when it was opened */
	uint8_t *dir = NULL;
	struct qcow2_bitmap *v = calloc(q->h.n_bitmaps, sizeof(*v));
	int err = v ? q_co_read_table(q, q->h.bitmap_dir_off, bytes, &dir) : -ENOMEM;
	for (uint32_t i = 0; i < q->h.n_bitmaps && !err; i++)
		err = read_entry(dir, bytes, &at, &v[i]);
	free(dir);
	if (err) {
		qcow2_bitmaps_free(v, v ? q->h.n_bitmaps : 0);
		return err;
	}
	*out = v;
	*n_out = q->h.n_bitmaps;
	return 0;
}

void qcow2_bitmaps_free(struct qcow2_bitmap *v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(v[i].name);
	free(v);
}
