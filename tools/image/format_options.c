/* SPDX-License-Identifier: Apache-2.0 */
/* What "-o NAME=VALUE,..." says about a new image, and making one from it. */
#include "tools/image/format_options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/qcow2/qcow2.h"
#include "tools/image/common.h"
#include "tools/image/output.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

void format_options_free(struct format_options *o)
{
	free(o->text);
	o->text = NULL;
}

/* ---- values ---- */

static int refuse_value(const char *name, const char *value, const char *choices)
{
	log_error("-o %s=%s: it is %s", name, value, choices);
	return -EINVAL;
}

static int take_bool(const char *name, const char *value, bool *out)
{
	*out = strcmp(value, "on") == 0;
	return *out || strcmp(value, "off") == 0 ? 0 : refuse_value(name, value, "on or off");
}

static int take_version(const char *name, const char *value, uint32_t *out)
{
	if (strcmp(value, "0.10") == 0 || strcmp(value, "v2") == 0)
		*out = 2;
	else if (strcmp(value, "1.1") == 0 || strcmp(value, "v3") == 0)
		*out = 3;
	else
		return refuse_value(name, value, "0.10 or 1.1");
	return 0;
}

static int take_compression(const char *name, const char *value, uint8_t *out)
{
	if (strcmp(value, "zlib") == 0)
		*out = QCOW2_COMPRESSION_ZLIB;
	else if (strcmp(value, "zstd") == 0)
		*out = QCOW2_COMPRESSION_ZSTD;
	else
		return refuse_value(name, value, "zlib or zstd");
	return 0;
}

static int take_preallocation(const char *name, const char *value, enum image_preallocation *out)
{
	static const char *const names[] = { "off", "metadata", "falloc", "full" };
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(value, names[i]) == 0) {
			*out = (enum image_preallocation)i;
			return 0;
		}
	return refuse_value(name, value, "off, metadata, falloc or full");
}

static int take_u32(const char *name, const char *value, uint32_t *out)
{
	uint64_t v;
	if (options_parse_size(value, &v) || v > UINT32_MAX)
		return refuse_value(name, value, "a number");
	*out = (uint32_t)v;
	return 0;
}

static int take(struct format_options *o, const char *name, const char *value)
{
	struct qcow2_create *q = &o->q;
	if (strcmp(name, "size") == 0) {
		o->has_size = true;
		return image_parse_size(value, &q->size);
	}
	if (strcmp(name, "cluster_size") == 0)
		return take_u32(name, value, &q->cluster_bytes);
	if (strcmp(name, "refcount_bits") == 0)
		return take_u32(name, value, &q->refcount_bits);
	if (strcmp(name, "compat") == 0)
		return take_version(name, value, &q->version);
	if (strcmp(name, "lazy_refcounts") == 0)
		return take_bool(name, value, &q->lazy_refcounts);
	if (strcmp(name, "extended_l2") == 0)
		return take_bool(name, value, &q->ext_l2);
	if (strcmp(name, "compression_type") == 0)
		return take_compression(name, value, &q->compression);
	if (strcmp(name, "preallocation") == 0)
		return take_preallocation(name, value, &o->preallocation);
	if (strcmp(name, "backing_file") == 0)
		q->backing = value;
	else if (strcmp(name, "backing_fmt") == 0)
		q->backing_format = value;
	else if (strcmp(name, "data_file") == 0)
		q->data_file = value;
	else if (strcmp(name, "data_file_raw") == 0)
		return take_bool(name, value, &q->data_file_raw);
	else {
		log_error("-o %s: there is no such option: cluster_size, refcount_bits, compat, "
			  "lazy_refcounts, extended_l2, compression_type, preallocation, size, "
			  "backing_file, backing_fmt, data_file and data_file_raw are there",
			  name);
		return -EINVAL;
	}
	return 0;
}

int format_options_add(struct format_options *o, const char *value)
{
	if (o->text) {
		log_error("-o is given once, its parts with commas between them");
		return -EINVAL;
	}
	o->text = strdup(value);
	if (!o->text)
		return -ENOMEM;
	char *rest = o->text, *word;
	int err = 0;
	while (!err && (word = strsep(&rest, ","))) {
		char *eq = strchr(word, '=');
		if (eq)
			*eq = '\0';
		if (*word)
			err = take(o, word, eq ? eq + 1 : "on");
	}
	return err;
}

int format_options_check(const struct format_options *o)
{
	const struct qcow2_create *q = &o->q;
	if (q->backing && o->preallocation) {
		log_error("-o preallocation: what is allocated would hide the backing file");
		return -EINVAL;
	}
	if (q->data_file && o->preallocation) {
		log_error("-o preallocation: an image with a data file has nothing to allocate");
		return -EINVAL;
	}
	if (q->data_file_raw && !q->data_file) {
		log_error("-o data_file_raw goes with data_file");
		return -EINVAL;
	}
	if (strcmp(o->format, "qcow2") == 0)
		return 0;
	if (strcmp(o->format, "raw")) {
		log_error("format '%s' is not written: raw and qcow2 are", o->format);
		return -EINVAL;
	}
	if (q->cluster_bytes || q->refcount_bits || q->version || q->lazy_refcounts || q->ext_l2 ||
	    q->compression || q->backing || q->data_file ||
	    o->preallocation == PREALLOCATION_METADATA) {
		log_error("a raw image has no such options and no backing file: add -f qcow2 "
			  "(convert: -O qcow2)");
		return -EINVAL;
	}
	return 0;
}

/* ---- making ---- */

int format_options_make(const struct format_options *o, int fd, const char *path)
{
	bool raw = strcmp(o->format, "raw") == 0;
	int err;
	if (raw)
		err = ftruncate(fd, (off_t)o->q.size) < 0 ? -errno : 0;
	else
		err = qcow2_create(fd, &o->q);
	if (err == -EFBIG)
		log_error("%s: too large%s", path,
			  raw ? " for its file system"
			      : " for this cluster_size: take a larger one");
	else if (err && err != -EINVAL)
		log_error("%s: cannot be written: %s", path, strerror(-err));
	return err;
}

/* ---- preallocation ---- */

static int allocate_job(struct blk_node *n, void *arg)
{
	(void)arg;
	return qcow2_co_preallocate(n);
}

/* Zeroes as data all over the disk. */
static int write_all(struct loop *l, struct blk_node *n)
{
	uint8_t *zeroes = image_buffer(IMAGE_CHUNK_BYTES);
	int err = zeroes ? 0 : -ENOMEM;
	for (uint64_t off = 0; off < blk_size(n) && !err; off += IMAGE_CHUNK_BYTES) {
		struct iovec iov = { zeroes, MIN((uint64_t)IMAGE_CHUNK_BYTES, blk_size(n) - off) };
		struct blk_req req = {
			.op = BLK_WRITE, .off = off, .len = iov.iov_len, .iov = &iov, .niov = 1
		};
		err = output_interrupted() ? -EINTR : image_request(l, n, &req);
	}
	free(zeroes);
	return err;
}

static int allocate_clusters(const struct format_options *o, const struct output *out)
{
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	bool full = o->preallocation == PREALLOCATION_FULL;
	int err = image_open(&loop, out->path, o->format, BLK_OPEN_RDWR, NULL, &n);
	if (!err && blk_is_qcow2(n))
		err = qcow2_run(n, allocate_job, NULL);
	if (!err && full)
		err = write_all(loop, n);
	return image_close(loop, n, err);
}

int format_options_preallocate(const struct format_options *o, const struct output *out)
{
	bool raw = strcmp(o->format, "raw") == 0;
	struct stat st;
	if (!o->preallocation || !o->q.size)
		return 0;
	int err = raw && o->preallocation != PREALLOCATION_FULL ? 0 : allocate_clusters(o, out);
	if (!err && o->preallocation == PREALLOCATION_FALLOC && fstat(out->fd, &st) == 0)
		err = -posix_fallocate(out->fd, 0, st.st_size);
	if (err && err != -EINTR)
		log_error("%s: cannot be preallocated: %s", out->target, strerror(-err));
	return err;
}
