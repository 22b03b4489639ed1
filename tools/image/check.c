/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image check: the consistency of an image, and its repair. */
#include "tools/image/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "devices/block/qcow2/qcow2.h"
#include "devices/block/qcow2/check.h"
#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

/* What qemu-img check ends with. */
enum {
	CHECK_CLEAN = 0,
	CHECK_FAILED = 1,
	CHECK_CORRUPT = 2,
	CHECK_LEAKS = 3,
	CHECK_UNSUPPORTED = 63,
};

struct check {
	struct image_words words;
	const char *format;
	enum qcow2_fix fix;
	bool json, quiet, share;
	struct qcow2_check found;
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct check *)cfg)->format = value;
	return 0;
}

static int set_repair(void *cfg, const char *value)
{
	struct check *c = cfg;
	if (strcmp(value, "leaks") == 0)
		c->fix = QCOW2_FIX_LEAKS;
	else if (strcmp(value, "all") == 0)
		c->fix = QCOW2_FIX_ALL;
	else {
		log_error("-r is leaks or all, not '%s'", value);
		return -EINVAL;
	}
	return 0;
}

static int set_output(void *cfg, const char *value)
{
	return image_output(value, &((struct check *)cfg)->json);
}

static int set_json(void *cfg, const char *value)
{
	(void)value;
	((struct check *)cfg)->json = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct check *)cfg)->quiet = true;
	return 0;
}

static int set_share(void *cfg, const char *value)
{
	(void)value;
	((struct check *)cfg)->share = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct check *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "format", 'f', "FORMAT", "of the image", set_format },
	{ "repair", 'r', "leaks|all", "repair what is found", set_repair },
	{ "output", 0, "FORMAT", "human or json", set_output },
	{ "json", 0, NULL, "the same as --output=json", set_json },
	{ "force-share", 'U', NULL, "though the image is in use", set_share },
	{ "cache", 'T', "MODE", "taken as qemu-img's; it changes nothing", image_cache },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
};

static const struct command_spec command = {
	.usage = "charmvm image check [-r leaks|all] [OPTION...] FILE",
	.about = "Looks for damage and leaked clusters. Ends with 0: none, 1: the check failed,\n"
		 "2: damage, 3: leaks only, 63: the format has no check.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- telling ---- */

static void put_unless_zero(json_t *o, const char *key, uint64_t v)
{
	if (v)
		json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void print_json(const struct check *c, const struct blk_node *n)
{
	const struct qcow2_check *r = &c->found;
	json_t *o = json_object();
	json_object_set_new(o, "filename", json_string_nocheck(c->words.v[0]));
	json_object_set_new(o, "format", json_string(blk_format(n)));
	json_object_set_new(o, "check-errors", json_integer(0));
	put_unless_zero(o, "image-end-offset", r->image_end);
	put_unless_zero(o, "corruptions", r->corruptions);
	put_unless_zero(o, "leaks", r->leaks);
	put_unless_zero(o, "corruptions-fixed", r->corruptions_fixed);
	put_unless_zero(o, "leaks-fixed", r->leaks_fixed);
	put_unless_zero(o, "total-clusters", r->total_clusters);
	put_unless_zero(o, "allocated-clusters", r->allocated_clusters);
	put_unless_zero(o, "fragmented-clusters", r->fragmented_clusters);
	put_unless_zero(o, "compressed-clusters", r->compressed_clusters);
	json_dumpf(o, stdout, JSON_INDENT(4));
	putchar('\n');
	json_decref(o);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? (double)part * 100 / (double)whole : 0;
}

static void print_human(const struct qcow2_check *r)
{
	if (r->corruptions_fixed || r->leaks_fixed)
		printf("Repaired: %" PRIu64 " errors, %" PRIu64 " leaked clusters.\n",
		       r->corruptions_fixed, r->leaks_fixed);
	if (r->corruptions)
		printf("%" PRIu64 " errors were found on the image: do not write to it; copy what "
		       "you need, then try -r all.\n",
		       r->corruptions);
	if (r->leaks)
		printf("%" PRIu64 " leaked clusters were found on the image: they take up space "
		       "and do no harm; -r leaks frees them.\n",
		       r->leaks);
	if (!r->corruptions && !r->leaks)
		printf("No errors were found on the image.\n");
	if (r->total_clusters)
		printf("%" PRIu64 "/%" PRIu64 " = %.2f%% allocated, %.2f%% fragmented, %.2f%% "
		       "compressed clusters\n",
		       r->allocated_clusters, r->total_clusters,
		       percent(r->allocated_clusters, r->total_clusters),
		       percent(r->fragmented_clusters, r->allocated_clusters),
		       percent(r->compressed_clusters, r->allocated_clusters));
	if (r->image_end)
		printf("Image end offset: %" PRIu64 "\n", r->image_end);
}

/* ---- the work ---- */

static int check_job(struct blk_node *n, void *arg)
{
	struct check *c = arg;
	return qcow2_co_check(n, c->fix, &c->found);
}

static int check(struct check *c, struct blk_node *n)
{
	if (image_need_qcow2(n, "consistency to check"))
		return CHECK_UNSUPPORTED;
	int err = qcow2_run(n, check_job, c);
	if (err) {
		log_error("%s: the check failed: %s", blk_name(n), strerror(-err));
		return CHECK_FAILED;
	}
	if (c->json)
		print_json(c, n);
	else if (!c->quiet)
		print_human(&c->found);
	return c->found.corruptions ? CHECK_CORRUPT : c->found.leaks ? CHECK_LEAKS : CHECK_CLEAN;
}

int image_check(int argc, char **argv)
{
	struct check c = { 0 };
	int status;
	if (image_parse(&command, &c, &c.words, 1, argc, argv, CHECK_FAILED, &status))
		return status;
	if (!c.quiet && !log_enabled(LOG_LEVEL_INFO))
		log_set_level(LOG_LEVEL_INFO); /* what is found, one by one */
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	unsigned int flags = BLK_OPEN_NO_BACKING | BLK_OPEN_CHECK |
			     (c.fix	? BLK_OPEN_RDWR
			      : c.share ? BLK_OPEN_NO_LOCK
					: 0);
	int err = image_open(&loop, c.words.v[0], c.format, flags, NULL, &n);
	status = err ? CHECK_FAILED : check(&c, n);
	return image_close(loop, n, 0) ? CHECK_FAILED : status;
}
