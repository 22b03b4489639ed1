/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charmfile, the recipe of an image: a line-based text in the manner of a Dockerfile. This reads the text into
 * steps and judges each by itself; nothing is looked up but what it includes, by the caller, and nothing is run. What the words mean:
 *
 *     FROM BASE                       debian:12, an image file or an image built before; first, and once
 *     PACKAGES NAME[=VERSION] ...     installed with apt-get in the machine
 *     RUN COMMAND                     in the machine, by its shell
 *     COPY SOURCE ... TARGET          out of the context (relative, without "..") to an absolute path
 *     ENV NAME=VALUE ...              in the environment of what follows, and of the image's users
 *     USER NAME                       runs what follows
 *     EXPOSE PORT[/tcp|/udp] ...      guest ports to forward
 *     MEM SIZE, CPUS N                what a machine of this image gets unless told; once each
 *     ENTRYPOINT COMMAND              started with the machine; once
 *     SHARE ...                       refused: a machine has no shared directories yet
 *     INCLUDE FILE                    its instructions stand here; relative, without ".."; no step of its own
 *
 * A line that ends with a backslash goes on in the next one; one that begins with # is a comment, also there.
 * Words are split at blanks; '...', "..." and a backslash keep blanks in them. The text is hostile: its size, steps
 * and operands are bounded. Any thread; no state is kept.
 */
#ifndef BUILD_CHARMFILE_H
#define BUILD_CHARMFILE_H

#include <stddef.h>
#include <stdint.h>

enum {
	CHARMFILE_BYTES_MAX = 256 * 1024,
	CHARMFILE_STEPS_MAX = 512,
	CHARMFILE_OPERANDS_MAX = 1024, /* of one step */
	CHARMFILE_INCLUDES_MAX = 64,   /* in all: what includes itself ends there */
	CHARMFILE_WHY_BYTES = 320,
	CHARMFILE_MEM_MIN_MIB = 64, /* as for --mem */
	CHARMFILE_CPUS_MAX = 64,    /* as for --cpus */
};

enum charmfile_word {
	CHARMFILE_FROM,
	CHARMFILE_PACKAGES,
	CHARMFILE_RUN,
	CHARMFILE_COPY,
	CHARMFILE_ENV,
	CHARMFILE_USER,
	CHARMFILE_EXPOSE,
	CHARMFILE_MEM,
	CHARMFILE_CPUS,
	CHARMFILE_ENTRYPOINT,
	CHARMFILE_SHARE,
	CHARMFILE_INCLUDE,
	CHARMFILE_WORDS,
};

struct charmfile_step {
	enum charmfile_word word;
	const char *path;  /* the file that it is in, as messages call it; the charmfile's */
	unsigned int line; /* where it begins there, from 1 */
	char *text;	   /* what is behind the word, lines joined, without blanks at its ends */
	char **operands;   /* the same, split and unquoted; NULL for RUN and ENTRYPOINT */
	size_t noperands;
};

struct charmfile {
	struct charmfile_step *steps; /* the first is FROM */
	size_t nsteps;
	char *included[CHARMFILE_INCLUDES_MAX]; /* paths, up to NULL or the end */
};

/*
 * Reads the file that an INCLUDE names, which is relative and has no "..", to @len bytes of *text, which are the
 * caller's to free(). -> 0, -errno; -EXDEV: a link leads out of the context.
 */
typedef int charmfile_read_fn(void *opaque, const char *name, char **text, size_t *len);

/* A text, what messages call it, and who reads what it includes; NULL: nothing can be included. */
struct charmfile_text {
	const char *path; /* to live as long as the steps */
	const char *text;
	size_t len;
	charmfile_read_fn *read;
	void *opaque;
};

/*
 * Reads @in, whose text need not end with a NUL, into *cf, which charmfile_free() is for, whatever comes back.
 * -> 0; -EINVAL: it is wrong, and @why is one line "PATH:LINE: ..." of printable ASCII; -E2BIG: so is it, for
 * being too large; -ENOMEM.
 */
int charmfile_parse(struct charmfile *cf, const struct charmfile_text *in,
		    char why[CHARMFILE_WHY_BYTES]);
void charmfile_free(struct charmfile *cf);

/* The word as it is written: "RUN". */
const char *charmfile_word_name(enum charmfile_word word);

#endif
