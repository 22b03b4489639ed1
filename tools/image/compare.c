/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image compare: whether two images have the same contents. */
#include "tools/image/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/base/zero.h"

/* What qemu-img compare ends with. */
enum { COMPARE_SAME = 0, COMPARE_DIFFERS = 1, COMPARE_NOT_OPENED = 2, COMPARE_NOT_READ = 4 };

struct compare {
	struct image_words words;
	const char *format[2];
	bool strict, progress, quiet, share;
	struct loop *loop;
	struct blk_node *n[2];
	uint8_t *buf[2];
};

/* ---- the command line ---- */

static int set_format_a(void *cfg, const char *value)
{
	((struct compare *)cfg)->format[0] = value;
	return 0;
}

static int set_format_b(void *cfg, const char *value)
{
	((struct compare *)cfg)->format[1] = value;
	return 0;
}

static int set_strict(void *cfg, const char *value)
{
	(void)value;
	((struct compare *)cfg)->strict = true;
	return 0;
}

static int set_progress(void *cfg, const char *value)
{
	(void)value;
	((struct compare *)cfg)->progress = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct compare *)cfg)->quiet = true;
	return 0;
}

static int set_share(void *cfg, const char *value)
{
	(void)value;
	((struct compare *)cfg)->share = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct compare *)cfg)->words, value, 2);
}

static const struct option_spec options[] = {
	{ "format", 'f', "FORMAT", "of the first image", set_format_a },
	{ "second-format", 'F', "FORMAT", "of the second image", set_format_b },
	{ "strict", 's', NULL, "sizes and holes must be the same, too", set_strict },
	{ "progress", 'p', NULL, "tell how far it is", set_progress },
	{ "cache", 'T', "MODE", "taken as qemu-img's; it changes nothing", image_cache },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
	{ "force-share", 'U', NULL, "though the images are in use", set_share },
};

static const struct command_spec command = {
	.usage = "charmvm image compare [OPTION...] FILE FILE",
	.about = "Ends with 0: the same contents, 1: they differ, 2: one cannot be opened,\n"
		 "4: one cannot be read. What only the longer one has must be zeroes.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- the work ---- */

static int read_part(struct compare *c, unsigned int i, uint64_t off, uint64_t len)
{
	int err = blk_pread(c->n[i], c->buf[i], len, off);
	if (err)
		log_error("%s: cannot be read at 0x%" PRIx64 ": %s", blk_name(c->n[i]), off,
			  strerror(-err));
	return err;
}

static int differs_at(const struct compare *c, uint64_t off)
{
	if (!c->quiet)
		printf("Content mismatch at offset %" PRIu64 "!\n", off);
	return COMPARE_DIFFERS;
}

/* The first sector where the buffers differ; @b NULL: where @a is not zero. -> @len: nowhere. */
static uint64_t first_difference(const uint8_t *a, const uint8_t *b, uint64_t len)
{
	uint64_t at = 0;
	for (; at < len; at += BLK_SECTOR_BYTES)
		if (b ? memcmp(a + at, b + at, BLK_SECTOR_BYTES) != 0
		      : !mem_is_zero(a + at, BLK_SECTOR_BYTES))
			break;
	return at;
}

/* What both have, [off, off + *len); *len is how far it got. */
static int compare_both(struct compare *c, uint64_t off, uint64_t *len)
{
	struct blk_status st[2];
	for (unsigned int i = 0; i < 2; i++) {
		if (image_status(c->loop, c->n[i], off, *len, &st[i]))
			return COMPARE_NOT_READ;
		*len = MIN(*len, st[i].len);
	}
	if (c->strict && ((st[0].flags ^ st[1].flags) & (BLK_STATUS_DATA | BLK_STATUS_ZERO))) {
		if (!c->quiet)
			printf("Strict mode: Offset %" PRIu64 " block status mismatch!\n", off);
		return COMPARE_DIFFERS;
	}
	if (st[0].flags & st[1].flags & BLK_STATUS_ZERO)
		return COMPARE_SAME;
	*len = MIN(*len, (uint64_t)IMAGE_CHUNK_BYTES);
	if (read_part(c, 0, off, *len) || read_part(c, 1, off, *len))
		return COMPARE_NOT_READ;
	uint64_t at = first_difference(c->buf[0], c->buf[1], *len);
	return at < *len ? differs_at(c, off + at) : COMPARE_SAME;
}

/* What only image @i has. */
static int compare_rest(struct compare *c, unsigned int i, uint64_t off, uint64_t *len)
{
	struct blk_status st;
	if (image_status(c->loop, c->n[i], off, *len, &st))
		return COMPARE_NOT_READ;
	*len = MIN(*len, st.len);
	if (st.flags & BLK_STATUS_ZERO)
		return COMPARE_SAME;
	*len = MIN(*len, (uint64_t)IMAGE_CHUNK_BYTES);
	if (read_part(c, i, off, *len))
		return COMPARE_NOT_READ;
	uint64_t at = first_difference(c->buf[i], NULL, *len);
	return at < *len ? differs_at(c, off + at) : COMPARE_SAME;
}

static int compare(struct compare *c)
{
	uint64_t a = blk_size(c->n[0]), b = blk_size(c->n[1]), common = MIN(a, b);
	uint64_t end = MAX(a, b), len;
	unsigned int longer = a >= b ? 0 : 1;
	int status = COMPARE_SAME;
	if (a != b && !c->quiet)
		printf(c->strict ? "Strict mode: Image size mismatch!\n"
				 : "Warning: Image size mismatch!\n");
	if (a != b && c->strict)
		return COMPARE_DIFFERS;
	struct image_progress progress;
	image_progress_begin(&progress, end, c->progress, c->quiet);
	for (uint64_t off = 0; off < end && status == COMPARE_SAME; off += len) {
		len = (off < common ? common : end) - off;
		status = off < common ? compare_both(c, off, &len)
				      : compare_rest(c, longer, off, &len);
		image_progress(&progress, off + len);
	}
	image_progress_end(&progress);
	if (status == COMPARE_SAME && !c->quiet)
		printf("Images are identical.\n");
	return status;
}

static int open_both(struct compare *c)
{
	unsigned int flags = c->share ? BLK_OPEN_NO_LOCK : 0;
	for (unsigned int i = 0; i < 2; i++) {
		if (image_open(&c->loop, c->words.v[i], c->format[i], flags, NULL, &c->n[i]))
			return COMPARE_NOT_OPENED;
		c->buf[i] = image_buffer(IMAGE_CHUNK_BYTES);
		if (!c->buf[i])
			return COMPARE_NOT_OPENED;
	}
	return 0;
}

int image_compare(int argc, char **argv)
{
	struct compare c = { 0 };
	int status;
	if (image_parse(&command, &c, &c.words, 2, argc, argv, COMPARE_NOT_OPENED, &status))
		return status;
	status = open_both(&c);
	if (!status)
		status = compare(&c);
	blk_close(c.n[1]);
	image_close(c.loop, c.n[0], 0);
	free(c.buf[0]);
	free(c.buf[1]);
	return status;
}
