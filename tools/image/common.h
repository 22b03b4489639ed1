/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs share: opening, requests one at a time, sizes as people write them, progress. */
#ifndef TOOLS_IMAGE_COMMON_H
#define TOOLS_IMAGE_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/block/block.h"
#include "vmm/base/options.h"

struct loop;

enum { IMAGE_CHUNK_BYTES = 1 << 20 }; /* what is read or written in one go */

/* Words that are no options, in order. */
struct image_words {
	const char *v[2];
	unsigned int n;
};

/* Takes one more word. -> 0, or -EINVAL after a message when there are @max already. */
int image_word(struct image_words *w, const char *value, unsigned int max);

/* "human" or "json". -> 0, or -EINVAL after a message. */
int image_output(const char *value, bool *json);

/*
 * An option of qemu-img's that is taken and changes nothing: this engine goes past the page cache, and
 * has what it wrote on stable storage when the command ends. -> 0, or -EINVAL after a message.
 */
int image_cache(void *cfg, const char *value);

/*
 * Parses a verb's command line, after which @w must hold @min words at least. -> 0: go on; else the
 * command is over, and *status is what it ends with (@usage_status after an error).
 */
int image_parse(const struct command_spec *cmd, void *cfg, const struct image_words *w,
		unsigned int min, int argc, char **argv, int usage_status, int *status);

/*
 * A loop with an image on it. *loop is made if it is NULL and stays the caller's. Backing files are
 * followed as qemu-img follows them. -> 0 or -errno, after one log line.
 */
int image_open(struct loop **loop, const char *path, const char *format, unsigned int flags,
	       const char *snapshot, struct blk_node **out);
/* Closes what there is. -> @err, or the error of closing, after a message. */
int image_close(struct loop *loop, struct blk_node *n, int err);

/* One request like @req, from start to end. -> 0 or -errno. */
int image_request(struct loop *l, struct blk_node *n, const struct blk_req *req);
/* What is stored at @off. -> 0 or -errno. */
int image_status(struct loop *l, struct blk_node *n, uint64_t off, uint64_t len,
		 struct blk_status *out);

/* Refuses, after a message, what only a qcow2 image can do. -> 0 or -ENOTSUP. */
int image_need_qcow2(const struct blk_node *n, const char *what);

/* "10G", "1.5T", "1048576": bytes. -> 0, or -EINVAL after a message. */
int image_parse_size(const char *s, uint64_t *bytes);
/* "1.5 GiB" as qemu-img writes it. @out has room for IMAGE_SIZE_TEXT. */
enum { IMAGE_SIZE_TEXT = 24 };
void image_size_text(uint64_t bytes, char *out);

/* @name as the image at @path means it: relative names are beside the image. -> to free, or NULL. */
char *image_beside(const char *path, const char *name);

/* Memory for requests: page-aligned, zeroed. -> NULL: none. */
void *image_buffer(size_t bytes);

/* How far long work is: a bar when stderr is a terminal; "-p" without one: as qemu-img says it. */
struct image_progress {
	uint64_t total;
	int permille; /* shown last */
	bool bar, plain;
};
void image_progress_begin(struct image_progress *p, uint64_t total, bool asked, bool quiet);
void image_progress(struct image_progress *p, uint64_t done);
void image_progress_end(struct image_progress *p);

#endif
