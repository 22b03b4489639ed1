/* SPDX-License-Identifier: Apache-2.0 */
/* Images of the guest kit's bases. */
/*
 * guest-kit/make-base makes them, with the packages that it is told. They are kept in the user's cache as NAME-KEY.qcow2, the
 * key a hash of what each is made of: the kit's files, the base and the packages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/build/tree_hash.h"
#include "vmm/cli/build.h"
#include "vmm/cli/guest_kit.h"
#include "vmm/paths.h"

/* ---- what is kept ---- */

static int add_files(struct sha256 *s, const char *kit)
{
	static const char *const files[] = { "make-base", "bases",  "hooks", "customize",
					     "agent",	  "initrd", "rootfs" };
	char path[PATH_MAX], bad[PATH_MAX];
	int err = 0;
	for (size_t i = 0; i < ARRAY_SIZE(files) && !err; i++) {
		err = paths_join(path, kit, files[i], NULL);
		err = err ? err : tree_hash(s, path, bad);
		if (err)
			log_error("%s/%s: %s", kit, files[i], strerror(-err));
	}
	return err;
}

/* b->base becomes the path of what is made of @words, the name, the base and the packages; @lock that of its lock. */
static int name_image(struct build *b, const char *const *words, const char *name,
		      char lock[PATH_MAX])
{
	struct sha256 s;
	char dir[PATH_MAX], file[CONFIG_NAME_MAX + PLAN_KEY_TEXT + 16], key[PLAN_KEY_TEXT];
	sha256_init(&s);
	int err = add_files(&s, b->kit);
	if (err)
		return err;
	for (size_t i = 0; words[i]; i++)
		sha256_add(&s, words[i], strlen(words[i]) + 1);
	plan_key_end(&s, key);
	err = paths_cache_dir("images", dir);
	snprintf(file, sizeof(file), "%s-%s.qcow2", name, key);
	err = err ? err : paths_join(b->base, dir, file, NULL);
	snprintf(file, sizeof(file), "%s.lock", name);
	err = err ? err : paths_join(lock, dir, file, NULL);
	if (err)
		log_error("the cache of images: %s", strerror(-err));
	return err;
}

/* ---- making ---- */

/* One at a time; who has waited finds what the other has made. */
static bool make_once(const struct build *b, const char *const *argv, const char *lock)
{
	int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int err = fd < 0 ? -errno : 0;
	while (!err && flock(fd, LOCK_EX) < 0)
		err = errno == EINTR ? 0 : -errno;
	if (err)
		log_error("%s: %s", lock, strerror(-err));
	bool there = !b->no_cache && !access(b->base, R_OK);
	bool made = !err && (there || guest_kit_ended_well(guest_kit_start(argv, STDERR_FILENO)));
	if (fd >= 0)
		close(fd);
	return made;
}

/* The packages of the steps behind FROM that the base is made with, up to NULL, behind @room words. */
static const char **packages(const struct build *b, size_t room)
{
	size_t n = room;
	for (size_t i = 1; i <= b->in_base; i++)
		n += b->cf.steps[i].noperands;
	const char **words = calloc(n + 1, sizeof(*words));
	n = room;
	for (size_t i = 1; words && i <= b->in_base; i++)
		for (size_t j = 0; j < b->cf.steps[i].noperands; j++)
			words[n++] = b->cf.steps[i].operands[j];
	return words;
}

bool build_kit_make_base(struct build *b, const char *name)
{
	char tool[PATH_MAX], lock[PATH_MAX];
	const char *const words[] = { tool,	"--output", b->base,
				      "--name", name,	    b->cf.steps[0].operands[0] };
	const char **argv = packages(b, ARRAY_SIZE(words));
	bool made = argv && !paths_join(tool, b->kit, "make-base", NULL);
	if (made) {
		memcpy(argv, words, sizeof(words));
		made = !name_image(b, argv + ARRAY_SIZE(words) - 2, name, lock) &&
		       make_once(b, argv, lock);
	}
	free(argv);
	return made;
}
