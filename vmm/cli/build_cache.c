/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of builds: for each base one qcow2 image over it, with a snapshot for each state a machine of it had. */
/*
 * How it works. The image's name is a hash of what the base is: its path, size, time, and the memory, processors and disk
 * size of the machine, which a snapshot fixes. A state's name is its key (vmm/build/plan.h). States of all Charmfiles from one base are in
 * one image, so each of them begins with a machine that has booted already. One build has the image at a time, by a lock beside it.
 *
 * An image without a booted machine in it was left by a build that did not get so far, and is made anew; so is one that has
 * grown large. What no build has used for a month goes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/image/common.h"
#include "tools/image/image.h"
#include "tools/image/snapshots.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/cli/build.h"
#include "vmm/paths.h"

enum {
	STATES_MAX = 128,
	ARGS_MAX = 16,
	UNUSED_S = 30 * 24 * 3600,
	STAT_BLOCK_BYTES = 512,
};
#define IMAGE_BYTES_MAX (32 * GIB)
#define HOST_LOW_BYTES	(16 * MIB)

/* ---- the image tool ---- */

int build_image_command(const char *const *argv)
{
	char *copy[ARGS_MAX] = { NULL };
	int argc = 0, status;
	for (; argc < ARGS_MAX - 1 && argv[argc]; argc++)
		copy[argc] = (char *)(uintptr_t)argv[argc];
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		_exit(image_main(argc, copy));
	}
	if (pid < 0) {
		log_error("cannot start a process: %s", strerror(errno));
		return -1;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static enum exit_status make_image(struct build *b)
{
	char size[24];
	snprintf(size, sizeof(size), "%" PRIu64, b->disk_bytes);
	const char *const argv[] = { "image",
				     "create",
				     "-q",
				     "-f",
				     "qcow2",
				     "-F",
				     b->base_format,
				     "-b",
				     b->base,
				     b->image,
				     b->disk_bytes ? size : NULL,
				     NULL };
	if (unlink(b->image) && errno != ENOENT) {
		log_error("%s: cannot be made anew: %s", b->image, strerror(errno));
		return EXIT_STATUS_FILE;
	}
	return build_image_command(argv) ? EXIT_STATUS_FILE : EXIT_STATUS_OK;
}

/* ---- what is kept in it ---- */

bool build_cache_has(const struct build *b, const char *key)
{
	for (size_t i = 0; i < b->nkept; i++)
		if (!strcmp(b->kept[i], key))
			return true;
	return false;
}

static void forget(struct build *b)
{
	for (size_t i = 0; i < b->nkept; i++)
		free(b->kept[i]);
	free(b->kept);
	b->kept = NULL;
	b->nkept = 0;
}

static int take_names(struct build *b, const struct image_snapshots *table)
{
	b->kept = calloc((size_t)table->n + 1, sizeof(*b->kept));
	if (!b->kept)
		return -ENOMEM;
	for (uint32_t i = 0; i < table->n; i++) {
		char *name = strdup(table->v[i].name);
		if (!name)
			return -ENOMEM;
		b->kept[b->nkept++] = name;
	}
	return 0;
}

static int read_kept(struct build *b)
{
	struct image_snapshots table = { 0 };
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	int err = image_open(&loop, b->image, "qcow2", BLK_OPEN_NO_BACKING, NULL, &n);
	err = err ? err : image_snapshots_read(n, &table);
	err = err ? err : take_names(b, &table);
	qcow2_snapshots_free(table.v, table.n);
	return image_close(loop, n, err);
}

static bool is_too_large(const struct build *b)
{
	struct stat st;
	return b->nkept > STATES_MAX ||
	       (!stat(b->image, &st) &&
		(uint64_t)st.st_blocks * STAT_BLOCK_BYTES > IMAGE_BYTES_MAX);
}

/* ---- the lock ---- */

static enum exit_status lock(struct build *b, const char *path)
{
	b->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (b->lock_fd < 0) {
		log_error("%s: %s", path, strerror(errno));
		return EXIT_STATUS_FILE;
	}
	if (!flock(b->lock_fd, LOCK_EX | LOCK_NB))
		return EXIT_STATUS_OK;
	log_warn("waiting for another build from the same base, or a machine that --debug left "
		 "(charmvm ls shows it)");
	while (flock(b->lock_fd, LOCK_EX) < 0) {
		if (errno != EINTR) {
			log_error("%s: %s", path, strerror(errno));
			return EXIT_STATUS_FAILED;
		}
	}
	return EXIT_STATUS_OK;
}

/* KEY.qcow2 and KEY.lock beside each other. -> 0 or -ENAMETOOLONG. */
static int name_files(const char *dir, const char *key, char *image, char *lock_path)
{
	char file[2][PLAN_KEY_TEXT + 8];
	snprintf(file[0], sizeof(file[0]), "%.24s.qcow2", key);
	snprintf(file[1], sizeof(file[1]), "%.24s.lock", key);
	int err = paths_join(image, dir, file[0], NULL);
	return err ? err : paths_join(lock_path, dir, file[1], NULL);
}

/* An image that no build has used for long; one that is in use has its lock taken. */
static void remove_unused(const char *dir, const char *file, time_t now)
{
	char path[PATH_MAX], lock_path[PATH_MAX];
	struct stat st;
	const size_t key_len = PLAN_KEY_TEXT - 1;
	if (strlen(file) <= key_len || strcmp(file + key_len, ".qcow2") != 0 ||
	    name_files(dir, file, path, lock_path) || stat(path, &st) ||
	    st.st_mtime > now - UNUSED_S)
		return;
	int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
		unlink(path);
	if (fd >= 0)
		close(fd);
}

static void tidy(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	while (d && (e = readdir(d)))
		remove_unused(dir, e->d_name, time(NULL));
	if (d)
		closedir(d);
}

/* ---- opening ---- */

/* A disk that ends earlier would lose what is there; one of the same size is not another one. */
static enum exit_status check_size(struct build *b)
{
	struct loop *loop = NULL;
	struct blk_node *n = NULL;
	int err = b->disk_bytes ? image_open(&loop, b->base, b->base_format, 0, NULL, &n) : 0;
	uint64_t base_bytes = n ? blk_size(n) : 0;
	err = image_close(loop, n, err);
	if (err)
		return err == -EBUSY ? EXIT_STATUS_IN_USE : EXIT_STATUS_FILE;
	b->disk_bytes = align_down(b->disk_bytes, BLK_SECTOR_BYTES);
	if (b->disk_bytes == base_bytes)
		b->disk_bytes = 0;
	if (!b->disk_bytes || b->disk_bytes > base_bytes)
		return EXIT_STATUS_OK;
	log_error("--size: FROM's disk has %" PRIu64 " MiB, and a disk is not made smaller",
		  base_bytes / MIB);
	return EXIT_STATUS_USAGE;
}

static enum exit_status find_image(struct build *b, char dir[PATH_MAX], char lock_path[PATH_MAX])
{
	struct stat st;
	char what[256], key[PLAN_KEY_TEXT];
	int err = stat(b->base, &st) ? -errno : paths_cache_dir("build", dir);
	if (err) {
		log_error("%s: %s", b->base, strerror(-err));
		return EXIT_STATUS_FILE;
	}
	snprintf(what, sizeof(what), "1 %ju %ju %jd %jd.%09ld %s %s %s %" PRIu64,
		 (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, (intmax_t)st.st_size,
		 (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, b->base_format, b->mem, b->cpus,
		 b->disk_bytes);
	plan_base_key(b->base, what, key);
	if (!name_files(dir, key, b->image, lock_path))
		return EXIT_STATUS_OK;
	log_error("%s: %s", dir, strerror(ENAMETOOLONG));
	return EXIT_STATUS_FILE;
}

enum exit_status build_cache_open(struct build *b)
{
	char dir[PATH_MAX], lock_path[PATH_MAX];
	enum exit_status status = check_size(b);
	status = status ? status : find_image(b, dir, lock_path);
	status = status ? status : lock(b, lock_path);
	if (status)
		return status;
	tidy(dir);
	bool there = !access(b->image, F_OK);
	if (there && !b->no_cache && read_kept(b))
		return EXIT_STATUS_FILE;
	if (there && !b->no_cache && build_cache_has(b, BUILD_BOOTED) && !is_too_large(b)) {
		utimensat(AT_FDCWD, b->image, NULL, 0);
		return EXIT_STATUS_OK;
	}
	forget(b);
	return make_image(b);
}

bool build_cache_is_full(const struct build *b)
{
	struct statvfs st;
	return !statvfs(b->image, &st) && (uint64_t)st.f_bavail * st.f_frsize < HOST_LOW_BYTES;
}

void build_cache_make_room(struct build *b)
{
	if (!build_cache_is_full(b) || unlink(b->image))
		return;
	log_warn("what was kept of builds from %s was removed: there was no room left", b->base);
}

void build_cache_close(struct build *b)
{
	forget(b);
	if (b->lock_fd >= 0)
		close(b->lock_fd);
	b->lock_fd = -1;
}
