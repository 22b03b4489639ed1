/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image resize: a larger or smaller disk. */
#include "tools/image/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/create.h"
#include "tools/image/common.h"
#include "tools/image/resize.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

struct resize {
	struct image_words words;
	const char *format;
	const char *size; /* "10G", "+1G", "-512M" */
	bool shrink, quiet;
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct resize *)cfg)->format = value;
	return 0;
}

static int set_shrink(void *cfg, const char *value)
{
	(void)value;
	((struct resize *)cfg)->shrink = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct resize *)cfg)->quiet = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct resize *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "format", 'f', "FORMAT", "of the image", set_format },
	{ "shrink", 0, NULL, "a smaller size is meant: what is beyond it is lost", set_shrink },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
};

static const struct command_spec command = {
	.usage = "charmvm image resize [--shrink] [OPTION...] FILE [+|-]SIZE",
	.about = "Makes a disk SIZE bytes large, or by so much larger or smaller.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- the work ---- */

static int resize_job(struct blk_node *n, void *arg)
{
	return qcow2_co_resize(n, *(const uint64_t *)arg);
}

static const char *explain(int err)
{
	switch (err) {
	case -EBUSY: return "its snapshots are larger: delete them first";
	case -EFBIG: return "too large for its cluster size";
	default: return strerror(-err);
	}
}

int image_set_size(struct blk_node *n, const char *path, uint64_t size)
{
	int err;
	if (blk_is_qcow2(n))
		err = qcow2_run(n, resize_job, &size);
	else
		err = truncate(path, (off_t)size) < 0 ? -errno : 0;
	if (err)
		log_error("%s: cannot be resized: %s", path, explain(err));
	return err;
}

static int new_size(const struct resize *r, uint64_t old, uint64_t *size)
{
	char sign = r->size[0] == '+' || r->size[0] == '-' ? r->size[0] : 0;
	uint64_t v;
	int err = image_parse_size(r->size + (sign ? 1 : 0), &v);
	if (err)
		return err;
	bool fits = true;
	if (sign == '+')
		fits = ck_add(old, v, size);
	else if (sign == '-')
		fits = v < old && ck_sub(old, v, size);
	else
		*size = v;
	if (!fits || *size > INT64_MAX - BLK_SECTOR_BYTES) {
		log_error("%s: it has %llu bytes: %s is not possible", r->words.v[0],
			  (unsigned long long)old, r->size);
		return -EINVAL;
	}
	*size = align_up(*size, BLK_SECTOR_BYTES);
	if (*size < old && !r->shrink) {
		log_error(
			"%s: that is smaller than it is: --shrink says that what is beyond may be "
			"lost",
			r->words.v[0]);
		return -EINVAL;
	}
	return 0;
}

int image_resize(int argc, char **argv)
{
	struct resize r = { 0 };
	int status;
	/* The size comes last: "-1G" is no option. */
	if (argc > 2 && strcmp(argv[argc - 1], "--help") && strcmp(argv[argc - 1], "-h"))
		r.size = argv[--argc];
	if (image_parse(&command, &r, &r.words, 1, argc, argv, 1, &status))
		return status;
	if (!r.size) {
		log_error("a size is missing: %s", command.usage);
		return 1;
	}
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	uint64_t size;
	int err = image_open(&loop, r.words.v[0], r.format, BLK_OPEN_RDWR, NULL, &n);
	if (!err)
		err = new_size(&r, blk_size(n), &size);
	if (!err)
		err = image_set_size(n, r.words.v[0], size);
	err = image_close(loop, n, err);
	if (!err && !r.quiet)
		printf("Image resized.\n");
	return err ? 1 : 0;
}
