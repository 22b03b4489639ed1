/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is to be done to build a Charmfile's image: the instructions that act in a machine, each with the user and the
 * environment that those above it have set, and with a key: a hash of all that led from the base to the state behind
 * it. Who has kept a state under its key need not do it again.
 *
 * Sources of COPY are looked at here, before anything is done. Any thread; no state is kept.
 */
#ifndef BUILD_PLAN_H
#define BUILD_PLAN_H

#include <stdbool.h>

#include "vmm/base/sha256.h"
#include "vmm/build/charmfile.h"

enum { PLAN_KEY_TEXT = 25 }; /* 24 hexadecimal digits of a SHA-256, and a NUL */

struct plan_step {
	const struct charmfile_step *step; /* PACKAGES, RUN or COPY */
	const char *user;		   /* NULL: none was said */
	const char **env;		   /* NAME=VALUE, each name once, up to NULL */
	char key[PLAN_KEY_TEXT];
};

struct plan {
	struct plan_step *steps;
	size_t nsteps;
	/* What the image is left with; strings are the Charmfile's. */
	const char **env;
	const char *user, *entrypoint, *mem, *cpus;
	const char **ports; /* up to NULL */
	char key[PLAN_KEY_TEXT];
};

struct plan_of {
	const struct charmfile *cf; /* to live as long as the plan */
	const char *context; /* the directory that sources are in, absolute, links resolved */
	const char *out;     /* the image to be, absolute: it is not copied into itself */
	const char *finish;  /* tells how it is finished, and its name */
	size_t in_base;	     /* so many steps behind FROM are done in what it names */
};

/* -> 0; -EINVAL, -ENOENT: told in @why, "PATH:LINE: ..."; -ENOMEM. plan_free() in any case. */
int plan_make(struct plan *p, const struct plan_of *of, char why[CHARMFILE_WHY_BYTES]);
void plan_free(struct plan *p);

/* Whether @path lies in the directory @dir, or is it; both absolute, links resolved. */
bool plan_is_in(const char *path, const char *dir);

/* Nothing is to be done to the base. */
bool plan_is_empty(const struct plan *p);

/* The key of all that was added to @s. */
void plan_key_end(struct sha256 *s, char key[PLAN_KEY_TEXT]);

/* The key of a base that is told from others by @path and @what. */
void plan_base_key(const char *path, const char *what, char key[PLAN_KEY_TEXT]);

#endif
