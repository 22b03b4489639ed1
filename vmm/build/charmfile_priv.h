/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the Charmfile's parser share. */
#ifndef BUILD_CHARMFILE_PRIV_H
#define BUILD_CHARMFILE_PRIV_H

#include "vmm/build/charmfile.h"

/* Where a message is about, and where it goes. */
struct charmfile_at {
	const char *path;
	unsigned int line;
	char *why; /* CHARMFILE_WHY_BYTES */
};

/* Writes the message, with what a terminal would obey made '?'. -> -EINVAL */
int charmfile_complain(const struct charmfile_at *at, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The word called @name, in either case, into *word. -> 0, -EINVAL (told, with the nearest one). */
int charmfile_find_word(const struct charmfile_at *at, const char *name, enum charmfile_word *word);

/* Splits s->text into s->operands. -> 0, -EINVAL (told), -ENOMEM */
int charmfile_split(const struct charmfile_at *at, struct charmfile_step *s);

/* Judges a step whose text is there, and splits it where its word takes operands. -> 0, -EINVAL (told), -ENOMEM */
int charmfile_check_step(const struct charmfile_at *at, struct charmfile_step *s);

#endif
