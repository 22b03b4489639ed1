/* SPDX-License-Identifier: Apache-2.0 */
/* Which verb it is. */
/*
 * How it works. Where qemu-img has a verb, ours has its name, its option letters, its exit statuses and
 * the lines and JSON keys that scripts read, so that scripts and fingers need not change. What is
 * different is underneath: the engine is the machine's, a new image appears under its name
 * only when it is whole (output.h), and memory does not depend on the size of the image.
 */
#include "tools/image/image.h"

#include <stdio.h>
#include <string.h>

#include "tools/image/verbs.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/base/options.h"

static const struct verb {
	const char *name;
	int (*fn)(int argc, char **argv);
	const char *about;
} verbs[] = {
	{ "bench", image_bench, "how fast requests are served" },
	{ "check", image_check, "look for damage, and repair it" },
	{ "commit", image_commit, "put an overlay's contents into its backing file" },
	{ "compare", image_compare, "whether two images have the same contents" },
	{ "convert", image_convert, "copy an image into another format" },
	{ "create", image_create, "make an image or an overlay" },
	{ "info", image_info, "what an image is, its snapshots, its backing files" },
	{ "io", image_io, "single reads and writes" },
	{ "map", image_map, "what is stored where" },
	{ "packages", image_packages, "what an image of guest-kit was made of" },
	{ "rebase", image_rebase, "another backing file, the same contents" },
	{ "resize", image_resize, "make an image larger or smaller" },
	{ "snapshot", image_snapshot, "list, create, apply and delete internal snapshots" },
	{ "trim", image_trim, "give back what the file systems in it do not use" },
};

static int print_verbs(void)
{
	printf("Usage: charmvm image VERB [OPTION...] FILE...\n\nVerbs:\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		options_help_verb(verbs[i].name, verbs[i].about);
	printf("\ncharmvm image VERB --help tells a verb's options.\n");
	return 0;
}

static int unknown_verb(const char *word)
{
	const char *names[ARRAY_SIZE(verbs) + 1] = { NULL };
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		names[i] = verbs[i].name;
	const char *near = options_nearest(word, names);
	if (near)
		log_error("unknown verb '%s'; did you mean 'charmvm image %s'?", word, near);
	else
		log_error("unknown verb '%s'; see charmvm image --help", word);
	return 1;
}

int image_main(int argc, char **argv)
{
	if (argc < 2) {
		log_error("image: a verb is missing; see charmvm image --help");
		return 1;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
		return print_verbs();
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].fn(argc - 1, argv + 1);
	return unknown_verb(argv[1]);
}
