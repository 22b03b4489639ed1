/* SPDX-License-Identifier: Apache-2.0 */
/* Image locks, byte for byte as QEMU's file-posix driver takes them. */
/*
 * How it works. A lock is a shared OFD lock on single bytes of the file (beyond what any data needs:
 * locks do not touch contents). Byte 100 + p says "I use permission p", byte 200 + p says "nobody
 * else may use permission p". A user first takes its bytes, then asks whether anybody holds a byte
 * that contradicts: for each permission it uses, 200 + p; for each it does not share, 100 + p.
 * Taking before asking means that of two that start at once at least one is refused.
 *
 * The permissions (QEMU, include/block/block-common.h): 0 consistent read, 1 write, 2 write
 * unchanged, 3 resize. A writer uses 0, 1 and 3 and shares all but 1 and 3; a reader uses 0 and
 * shares as much. Both as observed of QEMU 7.2 in /proc/locks.
 */
#include "devices/block/lock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/base/process_name.h"

enum {
	LOCK_USES_BASE = 100,
	LOCK_UNSHARED_BASE = 200,

	/* One byte for each snapshot, by the number that its id is: far behind what QEMU locks. */
	LOCK_SNAPSHOTS_BASE = 1 << 20,

	PERM_CONSISTENT_READ = 1 << 0,
	PERM_WRITE = 1 << 1,
	PERM_RESIZE = 1 << 3,
	PERM_COUNT = 4,

	READER_USES = PERM_CONSISTENT_READ,
	WRITER_USES = PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE,
	UNSHARED = PERM_WRITE | PERM_RESIZE,
};

static int set_byte_to(int fd, off_t byte, short type)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	int ret;
	do {
		ret = fcntl(fd, F_OFD_SETLK, &fl);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static int set_byte(int fd, off_t byte)
{
	return set_byte_to(fd, byte, F_RDLCK);
}

/* -> whether another open file description holds the byte. */
static bool byte_is_held(int fd, off_t byte)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

static int take(int fd, unsigned int uses)
{
	for (unsigned int p = 0; p < PERM_COUNT; p++) {
		int err = 0;
		if (uses & (1u << p))
			err = set_byte(fd, LOCK_USES_BASE + p);
		if (!err && (UNSHARED & (1u << p)))
			err = set_byte(fd, LOCK_UNSHARED_BASE + p);
		if (err)
			return err;
	}
	return 0;
}

static bool contradicted(int fd, unsigned int uses)
{
	for (unsigned int p = 0; p < PERM_COUNT; p++) {
		if ((uses & (1u << p)) && byte_is_held(fd, LOCK_UNSHARED_BASE + p))
			return true;
		if ((UNSHARED & (1u << p)) && byte_is_held(fd, LOCK_USES_BASE + p))
			return true;
	}
	return false;
}

/* ---- who has it: OFD locks carry no pid, open descriptors in /proc do ---- */

/* -> whether process @pid has the file open; processes of other users cannot be looked into. */
static bool process_has_open(long pid, const struct stat *want)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
	DIR *dir = opendir(path);
	if (!dir)
		return false;
	bool found = false;
	struct dirent *e;
	while (!found && (e = readdir(dir))) {
		struct stat st;
		found = isdigit((unsigned char)e->d_name[0]) &&
			fstatat(dirfd(dir), e->d_name, &st, 0) == 0 && st.st_dev == want->st_dev &&
			st.st_ino == want->st_ino;
	}
	closedir(dir);
	return found;
}

/* Writes " by PID (NAME)" or "" to @out. */
static void describe_holder(int fd, char *out, size_t bytes)
{
	out[0] = '\0';
	struct stat st;
	DIR *proc = fstat(fd, &st) == 0 ? opendir("/proc") : NULL;
	if (!proc)
		return;
	struct dirent *e;
	while ((e = readdir(proc))) {
		long pid = strtol(e->d_name, NULL, 10);
		if (pid <= 0 || pid == getpid() || !process_has_open(pid, &st))
			continue;
		char name[PROCESS_NAME_STR];
		process_name(pid, name);
		snprintf(out, bytes, " by process %ld (%s)", pid, name);
		break;
	}
	closedir(proc);
}

int lock_image(int fd, const char *path, bool writer)
{
	unsigned int uses = writer ? WRITER_USES : READER_USES;
	int err = take(fd, uses);
	if (err) {
		log_warn("%s: its file system has no locks (%s): make sure that nothing else uses "
			 "it",
			 path, strerror(-err));
		return 0;
	}
	if (!contradicted(fd, uses))
		return 0;
	char who[96];
	describe_holder(fd, who, sizeof(who));
	log_error("%s: the image is in use%s: %s", path, who,
		  writer ? "stop that first, or work on an overlay of a copy"
			 : "it cannot be read while somebody writes to it");
	return -EBUSY;
}

/* ---- snapshots in use ---- */

static off_t snapshot_byte(const char *id)
{
	return (off_t)LOCK_SNAPSHOTS_BASE + (off_t)(strtoul(id, NULL, 10) & UINT32_MAX);
}

static bool is_refusal(int err)
{
	return err == -EAGAIN || err == -EACCES;
}

int lock_snapshot(const char *path, const char *id, int *fd)
{
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	int err = *fd < 0 ? -errno : set_byte(*fd, snapshot_byte(id));
	if (!err)
		return 0;
	if (*fd >= 0 && !is_refusal(err)) {
		log_warn("%s: its file system has no locks (%s): make sure that nobody deletes the "
			 "snapshot",
			 path, strerror(-err));
		return 0;
	}
	log_error("%s: snapshot %s cannot be used: %s", path, id,
		  *fd < 0 ? strerror(-err) : "it is being deleted");
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return is_refusal(err) ? -EBUSY : err;
}

int lock_snapshot_deletion(int image_fd, const char *id)
{
	return is_refusal(set_byte_to(image_fd, snapshot_byte(id), F_WRLCK)) ? -EBUSY : 0;
}

void unlock_snapshot_deletion(int image_fd, const char *id)
{
	set_byte_to(image_fd, snapshot_byte(id), F_UNLCK);
}

bool lock_snapshot_is_used(int image_fd, const char *id)
{
	return byte_is_held(image_fd, snapshot_byte(id));
}
