/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image convert: a copy in another format, or with other options. */
#include "tools/image/verbs.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "tools/image/convert.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

enum { SPARSE_BYTES_MAX = 16 << 20 };

/* ---- the command line ---- */

static int set_from_format(void *cfg, const char *value)
{
	((struct convert *)cfg)->from_format = value;
	return 0;
}

static int set_format(void *cfg, const char *value)
{
	((struct convert *)cfg)->o.format = value;
	return 0;
}

static int set_options(void *cfg, const char *value)
{
	return format_options_add(&((struct convert *)cfg)->o, value);
}

/* "NAME", "snapshot.name=NAME" or "snapshot.id=ID". */
static int set_snapshot(void *cfg, const char *value)
{
	static const char *const prefixes[] = { "snapshot.name=", "snapshot.id=" };
	for (unsigned int i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (strncmp(value, prefixes[i], strlen(prefixes[i])) == 0)
			value += strlen(prefixes[i]);
	((struct convert *)cfg)->snapshot = value;
	return 0;
}

static int set_compress(void *cfg, const char *value)
{
	(void)value;
	((struct convert *)cfg)->compress = true;
	return 0;
}

static int set_machine(void *cfg, const char *value)
{
	(void)value;
	((struct convert *)cfg)->machine = true;
	return 0;
}

static int set_machine_name(void *cfg, const char *value)
{
	((struct convert *)cfg)->machine_name = value;
	return 0;
}

static int set_into_existing(void *cfg, const char *value)
{
	(void)value;
	((struct convert *)cfg)->into_existing = true;
	return 0;
}

static int set_progress(void *cfg, const char *value)
{
	(void)value;
	((struct convert *)cfg)->progress = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct convert *)cfg)->quiet = true;
	return 0;
}

static int set_share(void *cfg, const char *value)
{
	(void)value;
	((struct convert *)cfg)->share = true;
	return 0;
}

static int set_backing(void *cfg, const char *value)
{
	((struct convert *)cfg)->o.q.backing = value;
	return 0;
}

static int set_backing_format(void *cfg, const char *value)
{
	((struct convert *)cfg)->o.q.backing_format = value;
	return 0;
}

static int set_sparse(void *cfg, const char *value)
{
	struct convert *c = cfg;
	uint64_t v;
	if (options_parse_size(value, &v) || v % BLK_SECTOR_BYTES || v > SPARSE_BYTES_MAX) {
		log_error("-S takes a multiple of %d up to 16M, not '%s'", BLK_SECTOR_BYTES, value);
		return -EINVAL;
	}
	c->sparse_bytes = (uint32_t)v;
	c->dense = !v;
	return 0;
}

static int set_threads(void *cfg, const char *value)
{
	uint64_t v;
	if (options_parse_uint(value, 1, CONVERT_THREADS_MAX, &v)) {
		log_error("-m takes 1 to %d threads, not '%s'", CONVERT_THREADS_MAX, value);
		return -EINVAL;
	}
	((struct convert *)cfg)->threads = (unsigned int)v;
	return 0;
}

static int set_target_is_zero(void *cfg, const char *value)
{
	(void)value;
	((struct convert *)cfg)->target_is_zero = true;
	return 0;
}

/* Chunks are always written as they come, and never by another program. */
static int take_nothing(void *cfg, const char *value)
{
	(void)cfg;
	(void)value;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct convert *)cfg)->words, value, 2);
}

static const struct option_spec options[] = {
	{ "source-format", 'f', "FORMAT", "of SOURCE", set_from_format },
	{ "target-format", 'O', "FORMAT", "of TARGET: raw (the default) or qcow2", set_format },
	{ "compress", 'c', NULL, "compress it (qcow2)", set_compress },
	{ "threads", 'm', "N", "that compress (default: all cores)", set_threads },
	{ "backing", 'B', "FILE", "make it an overlay: only what differs is copied", set_backing },
	{ "backing-format", 'F', "FORMAT", "of the backing file", set_backing_format },
	{ "options", 'o', "NAME=VALUE,...", "of the format: cluster_size=64k, ...", set_options },
	{ "snapshot", 'l', "NAME", "the disk as it was in this snapshot", set_snapshot },
	{ "machine", 0, NULL, "with -l: and that snapshot itself, with its machine", set_machine },
	{ "machine-name", 0, "NAME", "with --machine: what it is called there", set_machine_name },
	{ "no-create", 'n', NULL, "write into TARGET, which is there", set_into_existing },
	{ "target-is-zero", 0, NULL, "with -n: TARGET reads as zeroes", set_target_is_zero },
	{ "sparse", 'S', "BYTES", "zeroes in a row that are left out (4k); 0: none", set_sparse },
	{ "progress", 'p', NULL, "tell how far it is", set_progress },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
	{ "force-share", 'U', NULL, "though SOURCE is in use", set_share },
	{ "out-of-order", 'W', NULL, "taken: writes are always unordered", take_nothing },
	{ "copy-offload", 'C', NULL, "taken: it changes nothing", take_nothing },
	{ "cache", 't', "MODE", "taken as qemu-img's; it changes nothing", image_cache },
	{ "source-cache", 'T', "MODE", "likewise", image_cache },
};

static const struct command_spec command = {
	.usage = "charmvm image convert [OPTION...] SOURCE TARGET",
	.about = "Copies an image with all it stands on into a new one. TARGET appears when it is\n"
		 "complete; one that is interrupted leaves nothing.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- what goes together ---- */

static int check_options(const struct convert *c)
{
	const char *wrong = NULL;
	if (c->compress && strcmp(c->o.format, "qcow2"))
		wrong = "-c needs -O qcow2: a raw image is not compressed";
	else if (c->machine && (!c->snapshot || strcmp(c->o.format, "qcow2")))
		wrong = "--machine goes with -l NAME and -O qcow2: it is a snapshot's";
	else if (c->machine_name && !c->machine)
		wrong = "--machine-name goes with --machine: it is that snapshot's";
	else if (c->machine && c->into_existing)
		wrong = "--machine makes a new image: it does not go with -n";
	else if (c->o.has_size)
		wrong = "convert takes no size: the copy has its source's; then charmvm image "
			"resize";
	else if (c->o.q.data_file)
		wrong = "convert makes no data file: make the image with charmvm image create, "
			"then "
			"convert -n";
	else if (c->target_is_zero && !c->into_existing)
		wrong = "--target-is-zero goes with -n";
	else if (c->into_existing && (c->o.q.backing || c->o.preallocation))
		wrong = "-n takes TARGET as it is: no backing file and no options";
	else if (c->o.q.backing && !c->o.q.backing_format)
		wrong = "say what format the backing file has: -F qcow2 or -F raw";
	if (wrong)
		log_error("%s", wrong);
	return wrong ? -EINVAL : format_options_check(&c->o);
}

/* Those that this process may run on. */
static unsigned int all_cores(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);
	return (unsigned int)MIN(MAX(n, 1), (int)CONVERT_THREADS_MAX);
}

int image_convert(int argc, char **argv)
{
	struct convert c = { .o = { .format = "raw" }, .threads = all_cores() };
	int status;
	if (!image_parse(&command, &c, &c.words, 2, argc, argv, 1, &status)) {
		int err = check_options(&c);
		status = err || convert_run(&c) ? 1 : 0;
	}
	format_options_free(&c.o);
	return status;
}
