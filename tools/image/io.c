/* SPDX-License-Identifier: Apache-2.0 */
/* charmvm image io: single operations through the engine, as qemu-io does them. */
#include "tools/image/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/image/common.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

enum {
	IO_COMMANDS_MAX = 256,
	IO_WORDS_MAX = 16,
	IO_BYTES_MAX = 256 << 20,
	IO_DEFAULT_PATTERN = 0xcd,
};

struct io {
	struct image_words words;
	const char *format;
	const char *commands[IO_COMMANDS_MAX];
	unsigned int n_commands;
	bool read_only, share;
	struct loop *loop;
	struct blk_node *node;
	bool failed; /* a command did */
};

/* One command: "write -P 0xab 0 64k". */
struct io_command {
	enum blk_op op;
	const char *name;
	uint64_t off, len;
	uint8_t pattern;
	bool has_pattern, zero, unmap, fua, compress, quiet;
};

/* ---- the command line ---- */

static int set_format(void *cfg, const char *value)
{
	((struct io *)cfg)->format = value;
	return 0;
}

static int add_command(void *cfg, const char *value)
{
	struct io *io = cfg;
	if (io->n_commands == IO_COMMANDS_MAX) {
		log_error("more than %d commands: pass them on standard input", IO_COMMANDS_MAX);
		return -EINVAL;
	}
	io->commands[io->n_commands++] = value;
	return 0;
}

static int set_read_only(void *cfg, const char *value)
{
	(void)value;
	((struct io *)cfg)->read_only = true;
	return 0;
}

static int set_share(void *cfg, const char *value)
{
	(void)value;
	((struct io *)cfg)->share = true;
	return 0;
}

static int add_word(void *cfg, const char *value)
{
	return image_word(&((struct io *)cfg)->words, value, 1);
}

static const struct option_spec options[] = {
	{ "command", 'c', "COMMAND", "do this; may be repeated", add_command },
	{ "format", 'f', "FORMAT", "of the image", set_format },
	{ "read-only", 'r', NULL, "open it read-only", set_read_only },
	{ "force-share", 'U', NULL, "read, though the image is in use", set_share },
};

static const struct command_spec command = {
	.usage = "charmvm image io [OPTION...] FILE",
	.about = "Does single operations, given with -c or as lines on standard input:\n"
		 "  read [-P BYTE] [-q] OFFSET LENGTH     with -P: the contents must be BYTE\n"
		 "  write [-P BYTE | -z [-u]] [-c] [-f] [-q] OFFSET LENGTH\n"
		 "        -z zeroes, -u which free the space; -c compressed; -f then flushed\n"
		 "  discard [-q] OFFSET LENGTH\n"
		 "  flush",
	.options = options,
	.noptions = ARRAY_SIZE(options),
	.operand = add_word,
};

/* ---- a command's words ---- */

static int take_letter(struct io_command *c, char letter)
{
	bool write = c->op == BLK_WRITE;
	if (letter == 'q')
		c->quiet = true;
	else if (letter == 'z' && write)
		c->zero = true;
	else if (letter == 'u' && write)
		c->unmap = true;
	else if (letter == 'f' && write)
		c->fua = true;
	else if (letter == 'c' && write)
		c->compress = true;
	else {
		log_error("io: %s has no option -%c", c->name, letter);
		return -EINVAL;
	}
	return 0;
}

static int take_pattern(struct io_command *c, const char *value)
{
	char *end;
	unsigned long v = value ? strtoul(value, &end, 0) : 256;
	if (v > 255 || !*value || *end || c->op > BLK_WRITE) {
		log_error("io: %s -P takes a byte, 0 to 255", c->name);
		return -EINVAL;
	}
	c->pattern = (uint8_t)v;
	c->has_pattern = true;
	return 0;
}

static int take_number(struct io_command *c, const char *value, uint64_t *out)
{
	char *end;
	if (strncmp(value, "0x", 2) == 0) {
		errno = 0;
		*out = strtoull(value, &end, 16);
		if (!errno && !*end)
			return 0;
	} else if (!options_parse_size(value, out)) {
		return 0;
	}
	log_error("io: %s: '%s' is not a number of bytes", c->name, value);
	return -EINVAL;
}

static int choose_op(struct io_command *c)
{
	static const struct {
		const char *name;
		enum blk_op op;
	} ops[] = {
		{ "read", BLK_READ },	{ "r", BLK_READ },	    { "write", BLK_WRITE },
		{ "w", BLK_WRITE },	{ "discard", BLK_DISCARD }, { "d", BLK_DISCARD },
		{ "flush", BLK_FLUSH }, { "f", BLK_FLUSH },
	};
	for (unsigned int i = 0; i < ARRAY_SIZE(ops); i++)
		if (strcmp(ops[i].name, c->name) == 0) {
			c->op = ops[i].op;
			return 0;
		}
	log_error("io: there is no command '%s': read, write, discard and flush are there",
		  c->name);
	return -EINVAL;
}

static int check_command(struct io_command *c, unsigned int numbers)
{
	if (numbers != (c->op == BLK_FLUSH ? 0 : 2)) {
		log_error("io: %s takes %s", c->name,
			  c->op == BLK_FLUSH ? "nothing" : "an offset and a length");
		return -EINVAL;
	}
	if ((c->off | c->len) % BLK_SECTOR_BYTES) {
		log_error("io: %s: offset and length are multiples of %d", c->name,
			  BLK_SECTOR_BYTES);
		return -EINVAL;
	}
	bool needs_buffer = c->op == BLK_READ || (c->op == BLK_WRITE && !c->zero);
	if (needs_buffer && c->len > IO_BYTES_MAX) {
		log_error("io: %s: at most %d bytes at a time", c->name, IO_BYTES_MAX);
		return -EINVAL;
	}
	return 0;
}

static int parse(struct io_command *c, char **word, unsigned int n)
{
	*c = (struct io_command){ .name = word[0], .pattern = IO_DEFAULT_PATTERN };
	unsigned int numbers = 0;
	int err = choose_op(c);
	for (unsigned int i = 1; i < n && !err; i++) {
		if (strcmp(word[i], "-P") == 0) {
			i++;
			err = take_pattern(c, i < n ? word[i] : NULL);
		} else if (word[i][0] == '-') {
			for (const char *p = word[i] + 1; *p && !err; p++)
				err = take_letter(c, *p);
		} else if (numbers < 2) {
			err = take_number(c, word[i], numbers ? &c->len : &c->off);
			numbers++;
		} else {
			numbers++;
		}
	}
	return err ? err : check_command(c, numbers);
}

/* ---- doing it ---- */

/* -> whether the whole of @buf is the pattern. */
static bool is_pattern(const struct io_command *c, const uint8_t *buf)
{
	for (uint64_t i = 0; i < c->len; i++)
		if (buf[i] != c->pattern)
			return false;
	return true;
}

static int run(struct io *io, const struct io_command *c)
{
	bool data = c->op == BLK_READ || (c->op == BLK_WRITE && !c->zero);
	uint8_t *buf = NULL;
	if (data && !(buf = image_buffer(MAX(c->len, (uint64_t)1))))
		return -ENOMEM;
	if (c->op == BLK_WRITE && data)
		memset(buf, c->pattern, c->len);
	struct iovec iov = { buf, c->len };
	struct blk_req req = { .op = c->zero ? BLK_WRITE_ZEROES : c->op,
			       .flags = (c->fua ? BLK_REQ_FUA : 0) |
					(c->unmap ? BLK_REQ_UNMAP : 0) |
					(c->compress ? BLK_REQ_COMPRESS : 0),
			       .off = c->off,
			       .len = c->len,
			       .iov = data ? &iov : NULL,
			       .niov = data };
	int err = image_request(io->loop, io->node, &req);
	if (err) {
		log_error("%s: %s at %" PRIu64 " failed: %s", blk_name(io->node), c->name, c->off,
			  strerror(-err));
	} else if (c->op == BLK_READ && c->has_pattern && !is_pattern(c, buf)) {
		printf("Pattern verification failed at offset %" PRIu64 ", %" PRIu64 " bytes\n",
		       c->off, c->len);
		err = -EILSEQ;
	}
	if (!err && !c->quiet && c->op != BLK_FLUSH)
		printf("%s %" PRIu64 " bytes at offset %" PRIu64 "\n", c->name, c->len, c->off);
	free(buf);
	return err;
}

/* One line; a failure does not keep the next one from being tried. */
static void do_line(struct io *io, const char *line)
{
	char *text = strdup(line), *rest = text, *word[IO_WORDS_MAX], *w;
	unsigned int n = 0;
	while (rest && n < IO_WORDS_MAX && (w = strsep(&rest, " \t\n")))
		if (*w)
			word[n++] = w;
	struct io_command c;
	if (!text || (n && (parse(&c, word, n) || run(io, &c))))
		io->failed = true;
	free(text);
}

static void do_input(struct io *io)
{
	char *line = NULL;
	size_t room = 0;
	while (getline(&line, &room, stdin) >= 0)
		do_line(io, line);
	free(line);
}

int image_io(int argc, char **argv)
{
	struct io io = { 0 };
	int status;
	if (image_parse(&command, &io, &io.words, 1, argc, argv, 1, &status))
		return status;
	unsigned int flags = io.read_only || io.share ? 0 : BLK_OPEN_RDWR;
	if (io.share)
		flags |= BLK_OPEN_NO_LOCK;
	int err = image_open(&io.loop, io.words.v[0], io.format, flags, NULL, &io.node);
	for (unsigned int i = 0; i < io.n_commands && !err; i++)
		do_line(&io, io.commands[i]);
	if (!err && !io.n_commands)
		do_input(&io);
	return image_close(io.loop, io.node, err) || io.failed ? 1 : 0;
}
