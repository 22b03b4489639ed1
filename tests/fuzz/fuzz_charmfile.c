/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile Charmfiles. One that is taken begins with its only FROM, its lines go up in each file, nothing in it is an option of
 * apt's or a way out of the context; one that is not has a message of printable characters.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/build/charmfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
	const char *text;
	size_t len;
};

/* What is included is the second half of the input. */
static int read_half(void *opaque, const char *name, char **text, size_t *len)
{
	const struct input *in = opaque;
	if (*name == '/' || strstr(name, "/../") || !strncmp(name, "../", 3))
		abort();
	if (in->len < 2)
		return -ENOENT;
	*len = in->len / 2;
	*text = malloc(*len);
	if (!*text)
		return -ENOMEM;
	memcpy(*text, in->text + in->len - *len, *len);
	return 0;
}

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
	struct input input = { (const char *)data, len };
	const struct charmfile_text in = { .path = "Charmfile",
					   .text = input.text,
					   .len = len,
					   .read = read_half,
					   .opaque = &input };
	int err = charmfile_parse(&cf, &in, why);
	must(err == 0 || err == -EINVAL || err == -E2BIG);
	must(!err == !*why);
	for (const char *p = why; *p; p++)
		must(*p >= ' ' && *p <= '~');
	must(err || cf.steps[0].word == CHARMFILE_FROM);
	for (size_t i = 0; !err && i < cf.nsteps; i++) {
		check_step(&cf.steps[i]);
		must(!i || cf.steps[i].word != CHARMFILE_FROM);
		must(!i || cf.steps[i].path != cf.steps[i - 1].path ||
		     cf.steps[i].line > cf.steps[i - 1].line);
	}
	charmfile_free(&cf);
	return 0;
}
