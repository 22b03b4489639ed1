/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image map: what is stored where, through the whole chain. */
#include "tools/image/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

struct map {
	struct image_words words;
	const char *format;
	bool json, share;
	bool first;	     /* no line yet */
	uint64_t start, len; /* what is looked at; len 0: to the end */
};

/* Bytes that are stored the same way. */
struct extent {
	uint64_t off, len, host_off;
	uint32_t flags, depth;
	const struct blk_node *node;
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct map *)cfg)->format = value;
	return 0;
}

static int set_output(void *cfg, const char *value)
{
	return image_output(value, &((struct map *)cfg)->json);
}

static int set_json(void *cfg, const char *value)
{
	(void)value;
	((struct map *)cfg)->json = true;
	return 0;
}

static int set_share(void *cfg, const char *value)
{
	(void)value;
	((struct map *)cfg)->share = true;
	return 0;
}

static int take_sectors(const char *value, uint64_t *out)
{
	int err = image_parse_size(value, out);
	if (!err && *out % BLK_SECTOR_BYTES) {
		log_error("map: %s is no multiple of %d bytes", value, BLK_SECTOR_BYTES);
		err = -EINVAL;
	}
	return err;
}

static int set_start(void *cfg, const char *value)
{
	return take_sectors(value, &((struct map *)cfg)->start);
}

static int set_len(void *cfg, const char *value)
{
	return take_sectors(value, &((struct map *)cfg)->len);
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct map *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "format", 'f', "FORMAT", "of the image", set_format },
	{ "output", 0, "FORMAT", "human or json", set_output },
	{ "json", 0, NULL, "the same as --output=json", set_json },
	{ "start-offset", 's', "BYTES", "from here on", set_start },
	{ "max-length", 'l', "BYTES", "and so far", set_len },
	{ "force-share", 'U', NULL, "though the image is in use", set_share },
};

static const struct command_spec command = {
	.usage = "charmvm image map [OPTION...] FILE",
	.about = "Lists the extents of the disk: for people those with data, and in which file\n"
		 "they are; as JSON all.",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- the work ---- */

/* The first layer that decides about @off, as far as that goes within @len. */
static int look(struct loop *l, struct blk_node *n, uint64_t off, uint64_t len, struct extent *e)
{
	*e = (struct extent){ .off = off };
	for (; n; n = blk_backing(n), e->depth++) {
		struct blk_status st;
		if (off >= blk_size(n)) { /* behind the end of a shorter backing file */
			e->flags = BLK_STATUS_ZERO;
			e->node = n;
			break;
		}
		len = MIN(len, blk_size(n) - off);
		int err = image_status(l, n, off, len, &st);
		if (err)
			return err;
		e->flags = st.flags;
		e->host_off = st.host_off;
		e->node = n;
		len = MIN(len, st.len);
		if ((st.flags & BLK_STATUS_ALLOCATED) || !blk_backing(n))
			break;
	}
	e->len = len;
	return 0;
}

static bool continues(const struct extent *a, const struct extent *b)
{
	return a->flags == b->flags && a->depth == b->depth && a->node == b->node &&
	       (!(a->flags & BLK_STATUS_OFFSET) || a->host_off + a->len == b->host_off);
}

static const char *yes(bool v)
{
	return v ? "true" : "false";
}

static void print_json(struct map *m, const struct extent *e)
{
	printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
	       ", \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s",
	       m->first ? "[" : ",\n", e->off, e->len, e->depth,
	       yes(e->flags & BLK_STATUS_ALLOCATED), yes(e->flags & BLK_STATUS_ZERO),
	       yes(e->flags & BLK_STATUS_DATA));
	if (e->flags & BLK_STATUS_OFFSET)
		printf(", \"offset\": %" PRIu64, e->host_off);
	printf("}");
	m->first = false;
}

static void print_human(struct map *m, const struct extent *e)
{
	if (m->first)
		printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
	m->first = false;
	if (!(e->flags & BLK_STATUS_DATA))
		return;
	printf("%#-16" PRIx64 "%#-16" PRIx64, e->off, e->len);
	if (e->flags & BLK_STATUS_OFFSET)
		printf("%#-16" PRIx64, e->host_off);
	else
		printf("%-16s", "(compressed)");
	printf("%s\n", blk_name(e->node));
}

static void print_extent(struct map *m, const struct extent *e)
{
	if (e->len && m->json)
		print_json(m, e);
	else if (e->len)
		print_human(m, e);
}

static int map(struct map *m, struct loop *l, struct blk_node *n)
{
	struct extent e, held = { 0 };
	int err = 0;
	uint64_t end = blk_size(n);
	m->first = true;
	if (m->len && m->start < end)
		end = m->start + MIN(m->len, end - m->start);
	for (uint64_t off = m->start; off < end && !err; off += e.len) {
		err = look(l, n, off, end - off, &e);
		if (err)
			break;
		if (held.len && continues(&held, &e)) {
			held.len += e.len;
			continue;
		}
		print_extent(m, &held);
		held = e;
	}
	print_extent(m, &held);
	if (m->json)
		printf("%s]\n", m->first ? "[" : "");
	return err;
}

int image_map(int argc, char **argv)
{
	struct map m = { 0 };
	int status;
	if (image_parse(&command, &m, &m.words, 1, argc, argv, 1, &status))
		return status;
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	int err =
		image_open(&loop, m.words.v[0], m.format, m.share ? BLK_OPEN_NO_LOCK : 0, NULL, &n);
	if (!err)
		err = map(&m, loop, n);
	return image_close(loop, n, err) ? 1 : 0;
}
