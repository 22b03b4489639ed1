/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image info: what an image is. */
#include "tools/image/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/bitmap.h"
#include "devices/block/qcow2/create.h"
#include "tools/image/common.h"
#include "tools/image/snapshots.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

struct info {
	struct image_words words;
	const char *format;
	bool json, chain, share;
};

struct bitmaps {
	struct qcow2_bitmap *v;
	uint32_t n;
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct info *)cfg)->format = value;
	return 0;
}

static int set_output(void *cfg, const char *value)
{
	return image_output(value, &((struct info *)cfg)->json);
}

static int set_json(void *cfg, const char *value)
{
	(void)value;
	((struct info *)cfg)->json = true;
	return 0;
}

static int set_chain(void *cfg, const char *value)
{
	(void)value;
	((struct info *)cfg)->chain = true;
	return 0;
}

static int set_share(void *cfg, const char *value)
{
	(void)value;
	((struct info *)cfg)->share = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct info *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "format", 'f', "FORMAT", "of the image", set_format },
	{ "output", 0, "FORMAT", "human or json", set_output },
	{ "json", 0, NULL, "the same as --output=json", set_json },
	{ "backing-chain", 0, NULL, "the backing files, too", set_chain },
	{ "force-share", 'U', NULL, "though the image is in use", set_share },
};

static const struct command_spec command = {
	.usage = "charmvm image info [OPTION...] FILE",
	.about = "Tells format, sizes, features, snapshots and backing file of an image.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- for people ---- */

static void print_text(const char *what, const char *value)
{
	printf("%s: ", what);
	for (; *value; value++)
		putchar((unsigned char)*value < 0x20 || *value == 0x7f ? '?' : *value);
}

static const char *yes(bool v)
{
	return v ? "true" : "false";
}

static void print_bitmaps(const struct bitmaps *b)
{
	if (b->n)
		printf("    bitmaps:\n");
	for (uint32_t i = 0; i < b->n; i++) {
		const struct qcow2_bitmap *m = &b->v[i];
		unsigned int flag = 0;
		printf("        [%u]:\n            flags:\n", i);
		if (m->in_use)
			printf("                [%u]: in-use\n", flag++);
		if (m->automatic)
			printf("                [%u]: auto\n", flag);
		print_text("            name", m->name);
		printf("\n            granularity: %" PRIu64 "\n", m->granularity);
	}
}

static void print_features(const struct qcow2_header *h, const struct bitmaps *b)
{
	printf("Format specific information:\n    compat: %s\n    compression type: %s\n",
	       h->version == 2 ? "0.10" : "1.1", h->compression ? "zstd" : "zlib");
	if (h->version > 2)
		printf("    lazy refcounts: %s\n", yes(h->compat & QCOW2_COMPAT_LAZY));
	print_bitmaps(b);
	printf("    refcount bits: %u\n", 1u << h->refcount_order);
	if (h->incompat & QCOW2_INCOMPAT_DATA_FILE) {
		print_text("    data file", h->data_file);
		printf("\n    data file raw: %s\n", yes(h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA));
	}
	if (h->version > 2)
		printf("    corrupt: %s\n    extended l2: %s\n",
		       yes(h->incompat & QCOW2_INCOMPAT_CORRUPT),
		       yes(h->incompat & QCOW2_INCOMPAT_EXT_L2));
}

static void print_backing(const struct qcow2_header *h, const char *path)
{
	if (!h->backing[0])
		return;
	print_text("backing file", h->backing);
	char *full = image_beside(path, h->backing);
	if (full && strcmp(full, h->backing)) {
		print_text(" (actual path", full);
		putchar(')');
	}
	free(full);
	putchar('\n');
	if (h->backing_format[0]) {
		print_text("backing file format", h->backing_format);
		putchar('\n');
	}
}

static void print_human(struct blk_node *n, const char *path, const struct image_snapshots *s,
			const struct bitmaps *b)
{
	const struct qcow2_header *h = blk_is_qcow2(n) ? qcow2_header_of(n) : NULL;
	char virtual[IMAGE_SIZE_TEXT], disk[IMAGE_SIZE_TEXT];
	image_size_text(blk_size(n), virtual);
	image_size_text(blk_allocated_bytes(n), disk);
	print_text("image", path);
	printf("\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
	       blk_format(n), virtual, blk_size(n), disk);
	if (!h)
		return;
	if (h->incompat & QCOW2_INCOMPAT_DIRTY)
		printf("cleanly shut down: no\n");
	printf("cluster_size: %u\n", 1u << h->cluster_bits);
	print_backing(h, path);
	if (s->n)
		image_snapshots_print(s);
	print_features(h, b);
}

/* ---- for programs ---- */

static void put_number(json_t *o, const char *key, uint64_t v)
{
	json_object_set_new(o, key, json_integer((json_int_t)v));
}

/* Strings out of an image are bytes: what is no UTF-8 is told byte by byte as Latin-1. */
static void put_text(json_t *o, const char *key, const char *value)
{
	json_t *text = json_string(value);
	char *wide = text ? NULL : calloc(2, strlen(value) + 1);
	if (wide) {
		char *p = wide;
		for (; *value; value++) {
			unsigned char c = (unsigned char)*value;
			if (c >= 0x80)
				*p++ = (char)(0xc0 | c >> 6);
			*p++ = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
		}
		text = json_string(wide);
	}
	free(wide);
	json_object_set_new(o, key, text);
}

static json_t *bitmaps_json(const struct bitmaps *b)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < b->n; i++) {
		json_t *o = json_object(), *flags = json_array();
		if (b->v[i].in_use)
			json_array_append_new(flags, json_string("in-use"));
		if (b->v[i].automatic)
			json_array_append_new(flags, json_string("auto"));
		json_object_set_new(o, "flags", flags);
		put_text(o, "name", b->v[i].name);
		put_number(o, "granularity", b->v[i].granularity);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *features_json(const struct qcow2_header *h, const struct bitmaps *b)
{
	json_t *d = json_object(), *o = json_object();
	put_text(d, "compat", h->version == 2 ? "0.10" : "1.1");
	put_text(d, "compression-type", h->compression ? "zstd" : "zlib");
	put_number(d, "refcount-bits", 1u << h->refcount_order);
	if (h->version > 2) {
		json_object_set_new(d, "lazy-refcounts",
				    json_boolean(h->compat & QCOW2_COMPAT_LAZY));
		json_object_set_new(d, "corrupt",
				    json_boolean(h->incompat & QCOW2_INCOMPAT_CORRUPT));
		json_object_set_new(d, "extended-l2",
				    json_boolean(h->incompat & QCOW2_INCOMPAT_EXT_L2));
	}
	if (h->incompat & QCOW2_INCOMPAT_DATA_FILE) {
		put_text(d, "data-file", h->data_file);
		json_object_set_new(d, "data-file-raw",
				    json_boolean(h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA));
	}
	if (b->n)
		json_object_set_new(d, "bitmaps", bitmaps_json(b));
	put_text(o, "type", "qcow2");
	json_object_set_new(o, "data", d);
	return o;
}

json_t *image_snapshots_json(const struct image_snapshots *s)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < s->n; i++) {
		const struct qcow2_snapshot *e = &s->v[i];
		json_t *o = json_object();
		put_text(o, "id", e->id);
		put_text(o, "name", e->name);
		if (e->parent[0])
			put_text(o, "parent", e->parent);
		put_number(o, "vm-state-size", e->vm_state_bytes);
		put_number(o, "date-sec", e->date_s);
		put_number(o, "date-nsec", e->date_ns);
		put_number(o, "vm-clock-sec", e->vm_clock_ns / NS_PER_S);
		put_number(o, "vm-clock-nsec", e->vm_clock_ns % NS_PER_S);
		if (e->icount != UINT64_MAX)
			put_number(o, "icount", e->icount);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *image_json(struct blk_node *n, const char *path, const struct image_snapshots *s,
			  const struct bitmaps *b)
{
	json_t *o = json_object();
	put_text(o, "filename", path);
	put_text(o, "format", blk_format(n));
	put_number(o, "virtual-size", blk_size(n));
	put_number(o, "actual-size", blk_allocated_bytes(n));
	if (!blk_is_qcow2(n)) {
		json_object_set_new(o, "dirty-flag", json_false());
		return o;
	}
	const struct qcow2_header *h = qcow2_header_of(n);
	put_number(o, "cluster-size", 1u << h->cluster_bits);
	json_object_set_new(o, "dirty-flag", json_boolean(h->incompat & QCOW2_INCOMPAT_DIRTY));
	if (h->backing[0]) {
		char *full = image_beside(path, h->backing);
		put_text(o, "backing-filename", h->backing);
		put_text(o, "full-backing-filename", full ? full : h->backing);
		free(full);
	}
	if (h->backing_format[0])
		put_text(o, "backing-filename-format", h->backing_format);
	if (s->n)
		json_object_set_new(o, "snapshots", image_snapshots_json(s));
	json_object_set_new(o, "format-specific", features_json(h, b));
	return o;
}

/* ---- the work ---- */

static int bitmaps_job(struct blk_node *n, void *arg)
{
	struct bitmaps *b = arg;
	return qcow2_co_bitmaps(n, &b->v, &b->n);
}

static int read_bitmaps(struct blk_node *n, struct bitmaps *b)
{
	int err = blk_is_qcow2(n) ? qcow2_run(n, bitmaps_job, b) : 0;
	if (err)
		log_error("%s: its bitmaps cannot be read: %s", blk_name(n), strerror(-err));
	return err;
}

static int tell(const struct info *info, struct blk_node *n, const char *path, json_t *all)
{
	struct image_snapshots s;
	struct bitmaps b = { 0 };
	int err = image_snapshots_read(n, &s);
	if (!err)
		err = read_bitmaps(n, &b);
	if (!err && info->json)
		json_array_append_new(all, image_json(n, path, &s, &b));
	else if (!err)
		print_human(n, path, &s, &b);
	qcow2_snapshots_free(s.v, s.n);
	qcow2_bitmaps_free(b.v, b.n);
	return err;
}

static int tell_all(const struct info *info, struct blk_node *top)
{
	json_t *all = json_array();
	int err = tell(info, top, info->words.v[0], all);
	struct blk_node *n = info->chain ? blk_backing(top) : NULL;
	for (; n && !err; n = blk_backing(n)) {
		if (!info->json)
			putchar('\n');
		err = tell(info, n, blk_name(n), all);
	}
	if (!err && info->json) {
		json_dumpf(info->chain ? all : json_array_get(all, 0), stdout, JSON_INDENT(4));
		putchar('\n');
	}
	json_decref(all);
	return err;
}

int image_info(int argc, char **argv)
{
	struct info info = { 0 };
	int status;
	if (image_parse(&command, &info, &info.words, 1, argc, argv, 1, &status))
		return status;
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	unsigned int flags =
		(info.chain ? 0 : BLK_OPEN_NO_BACKING) | (info.share ? BLK_OPEN_NO_LOCK : 0);
	int err = image_open(&loop, info.words.v[0], info.format, flags, NULL, &n);
	if (!err)
		err = tell_all(&info, n);
	return image_close(loop, n, err) ? 1 : 0;
}
