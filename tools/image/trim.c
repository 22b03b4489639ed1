/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image trim: gives back what the file systems in an image do not use. */
/*
 * How it works. Every partition with an ext2/3/4 file system that was unmounted cleanly is asked for its free
 * blocks (firmware/extfs.h), and those are discarded: clusters become free, holes are punched. Then the
 * end of a qcow2 file behind its last cluster in use is cut off. Contents are only given up where the
 * file system itself would write over them without a look. So what is not understood is left
 * alone: other file systems, those that were not unmounted or whose counts do not agree with
 * themselves, partitions that overlap.
 */
#include "tools/image/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/create.h"
#include "firmware/extfs.h"
#include "firmware/partition.h"
#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

struct trim {
	struct image_words words;
	const char *format;
	bool dry_run, json, quiet;
	struct loop *loop;
	struct blk_node *node;
	struct partition_table table;
	uint64_t bytes; /* stored so far in what is free */
	json_t *list;
};

/* One partition's free ranges. */
struct part_trim {
	struct trim *t;
	uint64_t off; /* of the partition */
	uint64_t bytes;
	bool told; /* of an error */
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct trim *)cfg)->format = value;
	return 0;
}

static int set_dry_run(void *cfg, const char *value)
{
	(void)value;
	((struct trim *)cfg)->dry_run = true;
	return 0;
}

static int set_json(void *cfg, const char *value)
{
	(void)value;
	((struct trim *)cfg)->json = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct trim *)cfg)->quiet = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct trim *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "dry-run", 0, NULL, "only tell what would be given back", set_dry_run },
	{ "format", 'f', "FORMAT", "of the image", set_format },
	{ "json", 0, NULL, "tell it as JSON", set_json },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
};

static const struct command_spec command = {
	.usage = "charmvm image trim [OPTION...] FILE",
	.about = "Gives back to the host what the ext2, ext3 and ext4 file systems in an image do "
		 "not use,\nand shortens the file. Other partitions, and file systems that were "
		 "not\n"
		 "unmounted, are left alone.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- the work ---- */

/* How much of [off, off + len) takes up room in this image. */
static int count_stored(struct trim *t, uint64_t off, uint64_t len, uint64_t *stored)
{
	struct blk_status st;
	int err = 0;
	for (uint64_t end = off + len; off < end && !err; off += st.len) {
		err = image_status(t->loop, t->node, off, end - off, &st);
		if (!err && (st.flags & BLK_STATUS_ALLOCATED) && (st.flags & BLK_STATUS_DATA))
			*stored += st.len;
	}
	return err;
}

static int on_free(void *opaque, uint64_t off, uint64_t len)
{
	struct part_trim *p = opaque;
	struct trim *t = p->t;
	uint32_t unit = blk_discard_granularity(t->node);
	uint64_t first = align_up(p->off + off, unit), end = align_down(p->off + off + len, unit);
	if (end <= first)
		return 0;
	int err = count_stored(t, first, end - first, &p->bytes);
	p->told = err != 0;
	if (err || t->dry_run)
		return err;
	struct blk_req req = { .op = BLK_DISCARD, .off = first, .len = end - first };
	err = image_request(t->loop, t->node, &req);
	if (err)
		log_error("%s: cannot be trimmed at 0x%" PRIx64 ": %s", blk_name(t->node), first,
			  strerror(-err));
	p->told = err != 0;
	return err;
}

static bool overlaps(const struct trim *t, const struct partition *p)
{
	for (unsigned int i = 0; i < t->table.n; i++) {
		const struct partition *o = &t->table.parts[i];
		if (o != p && o->off < p->off + p->len && p->off < o->off + o->len)
			return true;
	}
	return false;
}

static const char *why_left(int err)
{
	switch (err) {
	case -ENODEV: return "no ext2, ext3 or ext4";
	case -EUCLEAN: return "it was not unmounted cleanly, or does not agree with itself";
	case -ENOTSUP: return "a feature that is not understood";
	default: return "it is damaged";
	}
}

static bool is_left_alone(int err)
{
	return err == -ENODEV || err == -EUCLEAN || err == -ENOTSUP || err == -EINVAL;
}

static void tell(struct trim *t, const struct partition *p, const char *type, uint64_t bytes,
		 const char *left)
{
	char size[IMAGE_SIZE_TEXT];
	image_size_text(bytes, size);
	if (t->json) {
		json_t *o = json_pack("{s:i}", "partition", (int)p->number);
		json_object_set_new(o, left ? "left-alone" : "bytes",
				    left ? json_string(left) : json_integer((json_int_t)bytes));
		if (!left)
			json_object_set_new(o, "type", json_string(type));
		json_array_append_new(t->list, o);
	} else if (!t->quiet && left) {
		printf("partition %u: left alone: %s\n", p->number, left);
	} else if (!t->quiet) {
		printf("partition %u: %s, %s\n", p->number, type, size);
	}
}

static int trim_partition(struct trim *t, const struct partition *p)
{
	struct extfs *fs;
	struct part_trim part = { .t = t, .off = p->off };
	if (overlaps(t, p)) {
		tell(t, p, NULL, 0, "it overlaps another partition");
		return 0;
	}
	int err = extfs_open(t->node, p->off, p->len, &fs);
	if (!err)
		err = extfs_each_free(fs, on_free, &part);
	if (err && (part.told || !is_left_alone(err))) {
		if (!part.told)
			log_error("%s: partition %u cannot be read: %s", blk_name(t->node),
				  p->number, strerror(-err));
		extfs_close(fs);
		return err;
	}
	tell(t, p, err ? NULL : extfs_type(fs), part.bytes, err ? why_left(err) : NULL);
	extfs_close(fs);
	t->bytes += part.bytes;
	return 0;
}

static int shorten_job(struct blk_node *n, void *arg)
{
	(void)arg;
	return qcow2_co_drop_tail(n);
}

static int trim(struct trim *t)
{
	int err = partition_scan(t->node, &t->table);
	if (err && err != -EINVAL) /* that was told */
		log_error("%s: its partition table cannot be read: %s", t->words.v[0],
			  strerror(-err));
	for (unsigned int i = 0; i < t->table.n && !err; i++)
		err = trim_partition(t, &t->table.parts[i]);
	if (!err && !t->dry_run)
		err = blk_flush(t->node);
	if (!err && !t->dry_run && blk_is_qcow2(t->node))
		err = qcow2_run(t->node, shorten_job, NULL);
	return err;
}

static uint64_t file_bytes(const char *path)
{
	struct stat st;
	return stat(path, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}

static void report(struct trim *t, uint64_t before)
{
	uint64_t after = file_bytes(t->words.v[0]);
	char size[IMAGE_SIZE_TEXT], was[IMAGE_SIZE_TEXT], is[IMAGE_SIZE_TEXT];
	image_size_text(t->bytes, size);
	image_size_text(before, was);
	image_size_text(after, is);
	if (t->json) {
		json_t *o = json_pack("{s:O, s:I, s:I, s:I, s:b}", "partitions", t->list, "bytes",
				      (json_int_t)t->bytes, "before", (json_int_t)before, "after",
				      (json_int_t)after, "dry-run", t->dry_run);
		json_dumpf(o, stdout, JSON_INDENT(4));
		putchar('\n');
		json_decref(o);
	} else if (!t->quiet && t->dry_run) {
		printf("%s would be let go; nothing was changed.\n", size);
	} else if (!t->quiet) {
		printf("%s let go; the file takes %s, before %s.\n", size, is, was);
	}
}

int image_trim(int argc, char **argv)
{
	struct trim t = { 0 };
	int status;
	if (image_parse(&command, &t, &t.words, 1, argc, argv, 1, &status))
		return status;
	uint64_t before = file_bytes(t.words.v[0]);
	t.list = json_array();
	int err = image_open(&t.loop, t.words.v[0], t.format, t.dry_run ? 0 : BLK_OPEN_RDWR, NULL,
			     &t.node);
	if (!err)
		err = trim(&t);
	err = image_close(t.loop, t.node, err);
	if (!err)
		report(&t, before);
	json_decref(t.list);
	return err ? 1 : 0;
}
