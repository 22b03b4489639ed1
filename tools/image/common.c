/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs share. */
#include "tools/image/common.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/qcow2/qcow2.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/core/loop.h"

enum { BUFFER_ALIGN = 4096, BAR_WIDTH = 40 };

/* ---- the command line ---- */

int image_word(struct image_words *w, const char *value, unsigned int max)
{
	if (w->n == max) {
		log_error("unexpected argument '%s'", value);
		return -EINVAL;
	}
	w->v[w->n++] = value;
	return 0;
}

int image_output(const char *value, bool *json)
{
	*json = strcmp(value, "json") == 0;
	if (*json || strcmp(value, "human") == 0)
		return 0;
	log_error("--output is human or json, not '%s'", value);
	return -EINVAL;
}

int image_cache(void *cfg, const char *value)
{
	static const char *const names[] = { "none", "writeback", "writethrough", "directsync",
					     "unsafe" };
	(void)cfg;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(value, names[i]) == 0)
			return 0;
	log_error("a cache mode is none, writeback, writethrough, directsync or unsafe, not '%s'",
		  value);
	return -EINVAL;
}

int image_parse(const struct command_spec *cmd, void *cfg, const struct image_words *w,
		unsigned int min, int argc, char **argv, int usage_status, int *status)
{
	int rest, err = options_parse(cmd, cfg, argc, argv, &rest);
	for (; !err && rest < argc; rest++)
		err = cmd->operand(cfg, argv[rest]);
	*status = err > 0 ? 0 : usage_status;
	if (!err && w->n < min) {
		log_error("a file name is missing: %s", cmd->usage);
		err = -EINVAL;
	}
	return err;
}

int image_parse_size(const char *s, uint64_t *bytes)
{
	if (!options_parse_size(s, bytes) && *bytes <= INT64_MAX)
		return 0;
	static const char units[] = "KMGTPE";
	char *end;
	double v = strtod(s, &end);
	const char *unit = *end && end != s ? strchr(units, *end & ~0x20) : NULL;
	if (unit && *s >= '0' && *s <= '9' && memchr(s, '.', (size_t)(end - s)) && !end[1]) {
		v = ldexp(v, 10 * (int)(unit - units + 1));
		if (v < 0x1p63) {
			*bytes = (uint64_t)v;
			return 0;
		}
	}
	log_error("'%s' is not a size: a number, with k, M, G, T, P or E behind it if need be, "
		  "below 8E",
		  s);
	return -EINVAL;
}

void image_size_text(uint64_t bytes, char *out)
{
	static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
	unsigned int i = 0;
	double v = (double)bytes;
	for (; v >= 1000 && i + 1 < ARRAY_SIZE(units); i++)
		v /= 1024;
	snprintf(out, IMAGE_SIZE_TEXT, "%.3g %sB", v, units[i]);
}

char *image_beside(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	char *out;
	if (name[0] == '/' || !slash)
		return strdup(name);
	if (asprintf(&out, "%.*s/%s", (int)(slash - path), path, name) < 0)
		return NULL;
	return out;
}

/* ---- images ---- */

int image_open(struct loop **loop, const char *path, const char *format, unsigned int flags,
	       const char *snapshot, struct blk_node **out)
{
	int err = *loop ? 0 : loop_create(loop);
	if (err) {
		log_error("no event loop: %s", strerror(-err));
		return err;
	}
	struct blk_open_opts opts = { .snapshot = snapshot };
	err = blk_open_with(*loop, path, format, flags | BLK_OPEN_ANY_BACKING | BLK_OPEN_EMPTY,
			    &opts, out);
	if (err == -ENOENT && snapshot && access(path, F_OK) == 0)
		log_error("%s: it has no snapshot '%s': charmvm image snapshot -l lists them", path,
			  snapshot);
	return err;
}

int image_close(struct loop *loop, struct blk_node *n, int err)
{
	char *name = n ? strdup(blk_name(n)) : NULL;
	int err2 = blk_close(n);
	if (!err && err2) {
		log_error("%s: cannot be written: %s", name ? name : "the image", strerror(-err2));
		err = err2;
	}
	free(name);
	loop_destroy(loop);
	return err;
}

struct call {
	struct blk_req req;
	int err;
	bool done;
};

static void on_call_done(struct blk_req *req, int err)
{
	struct call *call = req->opaque;
	call->err = err;
	call->done = true;
}

int image_request(struct loop *l, struct blk_node *n, const struct blk_req *req)
{
	struct call call = { .req = *req };
	call.req.done = on_call_done;
	call.req.opaque = &call;
	blk_submit(n, &call.req);
	int err = loop_run_until(l, &call.done);
	return err ? err : call.err;
}

int image_status(struct loop *l, struct blk_node *n, uint64_t off, uint64_t len,
		 struct blk_status *out)
{
	struct blk_req req = { .op = BLK_STATUS, .off = off, .len = len, .status = out };
	int err = image_request(l, n, &req);
	if (err)
		log_error("%s: what is stored at 0x%llx cannot be told: %s", blk_name(n),
			  (unsigned long long)off, strerror(-err));
	return err;
}

int image_need_qcow2(const struct blk_node *n, const char *what)
{
	if (blk_is_qcow2(n))
		return 0;
	log_error("%s: a %s image has no %s: charmvm image convert -O qcow2 makes one that has",
		  blk_name(n), blk_format(n), what);
	return -ENOTSUP;
}

/* ---- memory ---- */

void *image_buffer(size_t bytes)
{
	void *buf;
	if (posix_memalign(&buf, BUFFER_ALIGN, align_up(bytes, BUFFER_ALIGN))) {
		log_error("there is no memory for a buffer of %zu bytes", bytes);
		return NULL;
	}
	memset(buf, 0, bytes);
	return buf;
}

/* ---- progress ---- */

void image_progress_begin(struct image_progress *p, uint64_t total, bool asked, bool quiet)
{
	bool terminal = isatty(STDERR_FILENO);
	*p = (struct image_progress){ .total = total,
				      .permille = -1,
				      .bar = terminal && !quiet,
				      .plain = asked && !terminal && !quiet };
	image_progress(p, 0);
}

void image_progress(struct image_progress *p, uint64_t done)
{
	int permille = p->total ? (int)((double)done / (double)p->total * 1000) : 1000;
	if (permille == p->permille || (!p->bar && !p->plain))
		return;
	p->permille = permille;
	if (p->plain) {
		printf("    (%d.%d0/100%%)\r", permille / 10, permille % 10);
		fflush(stdout);
		return;
	}
	int full = permille * BAR_WIDTH / 1000;
	fprintf(stderr, "\r[%.*s%*s] %3d%%", full, "########################################",
		BAR_WIDTH - full, "", permille / 10);
}

void image_progress_end(struct image_progress *p)
{
	if (p->plain)
		printf("\n");
	if (p->bar)
		fprintf(stderr, "\n");
}
