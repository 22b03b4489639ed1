/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image snapshot: internal snapshots listed, made, applied, deleted. */
#include "tools/image/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "devices/block/qcow2/qcow2.h"
#include "tools/image/common.h"
#include "tools/image/snapshots.h"
#include "vmm/base/checked.h"
#include "vmm/base/clock.h"
#include "vmm/base/log.h"

struct snapshot {
	struct image_words words;
	const char *format, *name;
	char action; /* l, c, a, d */
	bool quiet, share, json;
};

/* ---- the table ---- */

static int read_job(struct blk_node *n, void *arg)
{
	struct image_snapshots *s = arg;
	return qcow2_co_snapshots(n, &s->v, &s->n);
}

int image_snapshots_read(struct blk_node *n, struct image_snapshots *out)
{
	*out = (struct image_snapshots){ 0 };
	int err = blk_is_qcow2(n) ? qcow2_run(n, read_job, out) : 0;
	if (err)
		log_error("%s: its snapshots cannot be read: %s", blk_name(n), strerror(-err));
	return err;
}

/* Names come out of images: control characters must not reach the terminal. */
static void print_name(const char *s, int width)
{
	int n = 0;
	for (; *s; s++, n++)
		putchar((unsigned char)*s < 0x20 || *s == 0x7f ? '?' : *s);
	for (; n < width; n++)
		putchar(' ');
}

static void print_one(const struct qcow2_snapshot *s, bool parents)
{
	char size[IMAGE_SIZE_TEXT], date[32] = "", clock[48];
	time_t when = (time_t)s->date_s;
	struct tm tm;
	uint64_t secs = s->vm_clock_ns / NS_PER_S;
	image_size_text(s->vm_state_bytes, size);
	if (localtime_r(&when, &tm))
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(clock, sizeof(clock), "%02" PRIu64 ":%02u:%02u.%03u", secs / 3600,
		 (unsigned int)(secs / 60 % 60), (unsigned int)(secs % 60),
		 (unsigned int)(s->vm_clock_ns / 1000000 % 1000));
	print_name(s->id, 10);
	print_name(s->name, 16);
	printf("%9s%20s%13s", size, date, clock);
	if (s->icount == UINT64_MAX)
		printf("%11s", "");
	else
		printf("%11" PRIu64, s->icount);
	if (parents) {
		printf("  ");
		print_name(s->parent[0] ? s->parent : "-", 0);
	}
	putchar('\n');
}

void image_snapshots_print(const struct image_snapshots *s)
{
	bool parents = false;
	for (uint32_t i = 0; i < s->n; i++)
		parents |= s->v[i].parent[0] != '\0';
	printf("Snapshot list:\n%-10s%-16s%9s%20s%13s%11s%s\n", "ID", "TAG", "VM SIZE", "DATE",
	       "VM CLOCK", "ICOUNT", parents ? "  PARENT" : "");
	for (uint32_t i = 0; i < s->n; i++)
		print_one(&s->v[i], parents);
}

/* ---- the command line ---- */

static int set_action(struct snapshot *s, char action, const char *name)
{
	if (s->action) {
		log_error("one of -l, -c, -a and -d at a time");
		return -EINVAL;
	}
	s->action = action;
	s->name = name;
	return 0;
}

static int set_list(void *cfg, const char *value)
{
	return set_action(cfg, 'l', value);
}

static int set_create(void *cfg, const char *value)
{
	return set_action(cfg, 'c', value);
}

static int set_apply(void *cfg, const char *value)
{
	return set_action(cfg, 'a', value);
}

static int set_delete(void *cfg, const char *value)
{
	return set_action(cfg, 'd', value);
}

static int set_format(void *cfg, const char *value)
{
	((struct snapshot *)cfg)->format = value;
	return 0;
}

static int set_share(void *cfg, const char *value)
{
	(void)value;
	((struct snapshot *)cfg)->share = true;
	return 0;
}

static int set_json(void *cfg, const char *value)
{
	(void)value;
	((struct snapshot *)cfg)->json = true;
	return 0;
}

static int set_quiet(void *cfg, const char *value)
{
	(void)value;
	((struct snapshot *)cfg)->quiet = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct snapshot *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "list", 'l', NULL, "list the snapshots (the default)", set_list },
	{ "create", 'c', "NAME", "make one of the disk as it is", set_create },
	{ "apply", 'a', "NAME", "put the disk back to it", set_apply },
	{ "delete", 'd', "NAME", "delete it", set_delete },
	{ "format", 'f', "FORMAT", "of the image", set_format },
	{ "force-share", 'U', NULL, "list, though the image is in use", set_share },
	{ "json", 0, NULL, "list as JSON", set_json },
	{ "quiet", 'q', NULL, "say nothing but errors", set_quiet },
};

static const struct command_spec command = {
	.usage = "charmvm image snapshot [-l | -c NAME | -a NAME | -d NAME] FILE",
	.about = "Internal snapshots of a qcow2 image. NAME is a name or an id.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- the work ---- */

static int change_job(struct blk_node *n, void *arg)
{
	const struct snapshot *s = arg;
	if (s->action == 'a')
		return qcow2_co_snapshot_apply(n, s->name);
	if (s->action == 'd')
		return qcow2_co_snapshot_delete(n, s->name);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	struct qcow2_snapshot_new fresh = { .name = s->name,
					    .date_s = (uint32_t)now.tv_sec,
					    .date_ns = (uint32_t)now.tv_nsec };
	return qcow2_co_snapshot_create(n, &fresh);
}

static const char *explain(int err)
{
	switch (err) {
	case -ENOENT: return "there is no such snapshot: -l lists them";
	case -EEXIST: return "there is a snapshot of this name: take another, or delete it with -d";
	case -EINVAL: return "a name has 1 to 255 bytes";
	case -EOVERFLOW: return "the image's refcounts are too narrow for one more";
	case -ENOTSUP: return "images with an external data file have no snapshots";
	default: return strerror(-err);
	}
}

static int change(struct blk_node *n, struct snapshot *s)
{
	int err = image_need_qcow2(n, "snapshots");
	if (err)
		return err;
	err = qcow2_run(n, change_job, s);
	if (err)
		log_error("%s: snapshot '%s': %s", blk_name(n), s->name, explain(err));
	return err;
}

static int list(struct blk_node *n, const struct snapshot *s)
{
	struct image_snapshots table;
	int err = image_snapshots_read(n, &table);
	if (!err && s->json) {
		json_t *all = image_snapshots_json(&table);
		json_dumpf(all, stdout, JSON_INDENT(4));
		putchar('\n');
		json_decref(all);
	} else if (!err && table.n && !s->quiet) {
		image_snapshots_print(&table);
	}
	qcow2_snapshots_free(table.v, table.n);
	return err;
}

int image_snapshot(int argc, char **argv)
{
	struct snapshot s = { 0 };
	int status;
	if (image_parse(&command, &s, &s.words, 1, argc, argv, 1, &status))
		return status;
	bool lists = !s.action || s.action == 'l';
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	unsigned int flags = BLK_OPEN_NO_BACKING | (lists ? 0 : BLK_OPEN_RDWR);
	if (lists && s.share)
		flags |= BLK_OPEN_NO_LOCK;
	int err = image_open(&loop, s.words.v[0], s.format, flags, NULL, &n);
	if (!err)
		err = lists ? list(n, &s) : change(n, &s);
	return image_close(loop, n, err) ? 1 : 0;
}
