/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What GRUB would boot: runs a grub.cfg as far as the choice of the default entry and of its
 * kernel, initrds and command line needs it. Nothing is written back (one-time entries stay).
 *
 * The script is hostile: work, nesting and memory are bounded, and all it reaches are the callbacks
 * below.
 */
#ifndef FIRMWARE_GRUB_H
#define FIRMWARE_GRUB_H

#include <stdbool.h>
#include <stddef.h>

enum {
	GRUB_DEV_CHARS = 32,
	GRUB_PATH_CHARS = 512,
	GRUB_TITLE_CHARS = 256,
	GRUB_ARGS_CHARS = 4096,
	GRUB_INITRDS_MAX = 8,
	GRUB_TEXT_BYTES_MAX = 1 << 20, /* of a file that is parsed */
};

enum grub_search { GRUB_SEARCH_UUID, GRUB_SEARCH_LABEL, GRUB_SEARCH_FILE };

/* The disk as GRUB sees it. Devices have GRUB's names: "hd0,gpt2", "hd0,msdos1", "hd0". Paths are
 * absolute. */
struct grub_ops {
	/* malloc'd, with a NUL behind *len_bytes bytes. -> 0 or -errno. */
	int (*read)(void *opaque, const char *dev, const char *path, char **text,
		    size_t *len_bytes);
	bool (*is_file)(void *opaque, const char *dev, const char *path, bool nonempty);
	bool (*is_dir)(void *opaque, const char *dev, const char *path);
	int (*list)(void *opaque, const char *dev, const char *path,
		    void (*each)(void *arg, const char *name), void *arg);
	/* The device that has it. */
	bool (*search)(void *opaque, enum grub_search by, const char *what,
		       char dev[GRUB_DEV_CHARS]);
};

struct grub_file {
	char dev[GRUB_DEV_CHARS];
	char path[GRUB_PATH_CHARS];
};

struct grub_choice {
	char title[GRUB_TITLE_CHARS];
	struct grub_file kernel;
	struct grub_file initrds[GRUB_INITRDS_MAX]; /* to be joined in this order */
	unsigned int ninitrds;
	char args[GRUB_ARGS_CHARS];
};

/*
 * Runs the script at @dir/grub.cfg on @dev ("/boot/grub"). -> 0; -ENOENT (its default entry boots
 * no Linux), -EINVAL (syntax), -E2BIG (a bound reached), -errno of reading it. Not logged.
 */
int grub_choose(const struct grub_ops *ops, void *opaque, const char *dev, const char *dir,
		struct grub_choice *out);

/*
 * The first of the boot loader entries in @dir on @dev ("/loader/entries"), for disks without a
 * grub.cfg.
 * -> 0, -ENOENT (there is none), -E2BIG, -errno.
 */
int grub_choose_bls(const struct grub_ops *ops, void *opaque, const char *dev, const char *dir,
		    struct grub_choice *out);

#endif
