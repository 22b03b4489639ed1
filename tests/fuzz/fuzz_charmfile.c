/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile Charmfiles. One that is taken begins with its only FROM, its lines go up, nothing in it is an option of
 * apt's or a way out of the context; one that is not has a message of printable characters.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/build/charmfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool claim)
{
	if (!claim)
		abort();
}

static void check_step(const struct charmfile_step *s)
{
	must(s->word < CHARMFILE_SHARE);
	must(s->noperands <= CHARMFILE_OPERANDS_MAX);
	must((s->word == CHARMFILE_RUN || s->word == CHARMFILE_ENTRYPOINT) == !s->noperands);
	for (size_t i = 0; i < s->noperands; i++) {
		const char *o = s->operands[i];
		if (s->word == CHARMFILE_PACKAGES)
			must(*o != '-' && !strchr(o, '/'));
		if (s->word == CHARMFILE_COPY && i + 1 < s->noperands)
			must(*o != '/' && strcmp(o, "..") != 0 && strncmp(o, "../", 3) != 0 &&
			     !strstr(o, "/../"));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct charmfile cf;
	char why[CHARMFILE_WHY_BYTES];
	int err = charmfile_parse(&cf, "Charmfile", (const char *)data, len, why);
	must(err == 0 || err == -EINVAL || err == -E2BIG);
	must(!err == !*why);
	for (const char *p = why; *p; p++)
		must(*p >= ' ' && *p <= '~');
	must(err || cf.steps[0].word == CHARMFILE_FROM);
	for (size_t i = 0; !err && i < cf.nsteps; i++) {
		check_step(&cf.steps[i]);
		must(!i || (cf.steps[i].line > cf.steps[i - 1].line &&
			    cf.steps[i].word != CHARMFILE_FROM));
	}
	charmfile_free(&cf);
	return 0;
}
