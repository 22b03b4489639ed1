/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first program of a guest: finds the root file system, mounts it, starts the real init.
 *
 * How it works
 *   1. mount /dev, /proc, /sys; open the kernel's device-event socket before any driver loads, so
 *      that no device can appear unseen;
 *   2. load the modules that /modules names, in that order (make-initrd has sorted them);
 *   3. look for what root= names. Nothing there yet: sleep in poll() until the kernel announces a
 *      block device, and look again. There is no fixed delay anywhere; the deadline only bounds
 *      how long a disk that never comes is waited for;
 *   4. mount it read-only where the file system says that it has errors, run its own e2fsck then,
 *      and mount it as ro/rw asks. A journal is replayed by the kernel at mount: no check needed;
 *   5. empty the initrd's memory, move the mounts over, exec init.
 *
 * What fails is said on the console in one line; then pid 1 exits, and the kernel's panic= decides
 * between halting and rebooting.
 *
 * Understood on the kernel command line: root=/dev/NAME, root=UUID=, LABEL=, PARTUUID= (GPT and
 * MBR), rootfstype=, rootflags=, rootwait=SECONDS, ro, rw, init=. UUID= and LABEL= know ext2/3/4
 * only: other file systems are named by device or PARTUUID.
 *
 * Linked statically; single-threaded; allocates nothing.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum {
	CMDLINE_MAX = 4096,	/* COMMAND_LINE_SIZE is 2048 on x86 */
	NAME_BYTES = 64,	/* a device name below /dev */
	GPT_ENTRIES_MAX = 128,	/* every tool writes this many */
	ROOT_WAIT_SECONDS = 10, /* a disk that is there at all shows up in milliseconds */
	EXT_SUPER_OFFSET = 1024,
	EXT_MAGIC = 0xef53,
	EXT_STATE_ERRORS = 0x2, /* EXT2_ERROR_FS */
};

/* What the command line asked for; the strings point into the one copy of it. */
struct options {
	const char *root;
	const char *fstype;
	const char *flags;
	const char *init;
	int wait_seconds;
	bool read_only;
};

/* The fields of an ext2/3/4 superblock that matter here. */
struct ext_super {
	uint8_t uuid[16];
	char label[17];
	bool has_errors;
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("charmvm initrd: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}

/* Ends pid 1 after the message: the kernel panics, and reboots if panic= says so. */
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("charmvm initrd: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void mount_kernel(const char *type, const char *where, unsigned long flags)
{
	mkdir(where, 0755);
	if (mount(type, where, type, flags, NULL) && errno != EBUSY)
		die("cannot mount %s: %s", where, strerror(errno));
}

/* ---- the command line ---- */

/* If word is KEY=value, returns value, else NULL. */
static const char *value_of(const char *word, const char *key)
{
	size_t len = strlen(key);

	return !strncmp(word, key, len) && word[len] == '=' ? word + len + 1 : NULL;
}

static void take_word(struct options *options, const char *word)
{
	const char *value;

	if (!strcmp(word, "ro"))
		options->read_only = true;
	else if (!strcmp(word, "rw"))
		options->read_only = false;
	else if ((value = value_of(word, "root")))
		options->root = value;
	else if ((value = value_of(word, "rootfstype")))
		options->fstype = value;
	else if ((value = value_of(word, "rootflags")))
		options->flags = value;
	else if ((value = value_of(word, "rootwait")))
		options->wait_seconds = atoi(value);
	else if ((value = value_of(word, "init")))
		options->init = value;
}

/* Splits the command line in place; quotes keep blanks together, as the kernel reads them. */
static void read_options(struct options *options, char *line, size_t size_bytes)
{
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, line, size_bytes - 1);

	if (len < 0)
		die("cannot read /proc/cmdline: %s", strerror(errno));
	close(fd);
	line[len] = '\0';
	while (*line) {
		char *word = line, *out = line;
		bool quoted = false;

		for (; *line && (quoted || !strchr(" \n", *line)); line++) {
			if (*line == '"')
				quoted = !quoted;
			else
				*out++ = *line;
		}
		if (*line)
			line++;
		*out = '\0';
		if (*word)
			take_word(options, word);
	}
}

/* ---- drivers ---- */

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
		say("cannot load %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void load_modules(void)
{
	FILE *list = fopen("/modules", "re");
	char path[256];

	if (!list)
		return; /* every driver is built in */
	while (fgets(path, sizeof(path), list)) {
		path[strcspn(path, "\n")] = '\0';
		load_module(path);
	}
	fclose(list);
}

static int open_device_events(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* ---- which device ---- */

static bool read_at(const char *name, off_t offset, void *buffer, size_t len_bytes)
{
	char path[NAME_BYTES + 8];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = pread(fd, buffer, len_bytes, offset);
	close(fd);
	return got == (ssize_t)len_bytes;
}

static bool read_ext_super(const char *name, struct ext_super *super)
{
	uint8_t raw[1024];

	if (!read_at(name, EXT_SUPER_OFFSET, raw, sizeof(raw)))
		return false;
	if ((raw[56] | raw[57] << 8) != EXT_MAGIC)
		return false;
	super->has_errors = raw[58] & EXT_STATE_ERRORS;
	memcpy(super->uuid, raw + 104, sizeof(super->uuid));
	memcpy(super->label, raw + 120, 16);
	super->label[16] = '\0';
	return true;
}

/* Writes 16 bytes as text; GPT stores the first three fields little-endian (mixed), ext4 does not.
 */
static void format_uuid(char text[37], const uint8_t *u, bool mixed)
{
	static const uint8_t straight[16] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	};
	static const uint8_t swapped[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	const uint8_t *order = mixed ? swapped : straight;
	char *out = text;

	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		out += sprintf(out, "%02x", u[order[i]]);
	}
}

/* The partition of disk that has this GPT identity: its number, or 0. */
static int find_gpt_partition(const char *disk, const char *wanted)
{
	uint8_t header[512], entry[128];
	uint64_t table_lba;
	uint32_t count, size;
	char text[37];

	if (!read_at(disk, 512, header, sizeof(header)) || memcmp(header, "EFI PART", 8))
		return 0;
	memcpy(&table_lba, header + 72, sizeof(table_lba));
	memcpy(&count, header + 80, sizeof(count));
	memcpy(&size, header + 84, sizeof(size));
	table_lba = le64toh(table_lba);
	count = le32toh(count);
	size = le32toh(size);
	if (size < sizeof(entry) || size > 4096 || table_lba > UINT32_MAX)
		return 0;
	for (uint32_t i = 0; i < count && i < GPT_ENTRIES_MAX; i++) {
		if (!read_at(disk, (off_t)(table_lba * 512 + (uint64_t)i * size), entry,
			     sizeof(entry)))
			return 0;
		format_uuid(text, entry + 16, true);
		if (!strcasecmp(text, wanted))
			return (int)i + 1;
	}
	return 0;
}

/* The same for an MBR, whose PARTUUID is SIGNATURE-NN. */
static int find_mbr_partition(const char *disk, const char *wanted)
{
	uint8_t mbr[512];
	char signature[9];

	if (!read_at(disk, 0, mbr, sizeof(mbr)) || mbr[510] != 0x55 || mbr[511] != 0xaa)
		return 0;
	snprintf(signature, sizeof(signature), "%02x%02x%02x%02x", mbr[443], mbr[442], mbr[441],
		 mbr[440]);
	if (strncasecmp(signature, wanted, 8) || wanted[8] != '-')
		return 0;
	return (int)strtol(wanted + 9, NULL, 16);
}

/* If name is the device that root= means, or the disk that it is a partition of, puts the device
 * into found[NAME_BYTES] and returns true. */
static bool is_root(const char *name, const char *root, char *found)
{
	struct ext_super super;
	const char *wanted;
	char text[37];
	int number;

	snprintf(found, NAME_BYTES, "%.*s", NAME_BYTES - 1, name);
	if ((wanted = value_of(root, "UUID"))) {
		if (!read_ext_super(name, &super))
			return false;
		format_uuid(text, super.uuid, false);
		return !strcasecmp(text, wanted);
	}
	if ((wanted = value_of(root, "LABEL")))
		return read_ext_super(name, &super) && !strcmp(super.label, wanted);
	if ((wanted = value_of(root, "PARTUUID"))) {
		number = find_gpt_partition(name, wanted);
		if (!number)
			number = find_mbr_partition(name, wanted);
		if (!number)
			return false;
		/* vda + 1 is vda1, nvme0n1 + 1 is nvme0n1p1 */
		snprintf(found, NAME_BYTES, "%.48s%s%d", name,
			 strchr("0123456789", name[strlen(name) - 1]) ? "p" : "", number);
		return true;
	}
	return !strncmp(root, "/dev/", 5) && !strcmp(root + 5, name);
}

static bool find_root(const char *root, char *found)
{
	DIR *dir = opendir("/sys/class/block");
	struct dirent *entry;
	bool hit = false;

	if (!dir)
		return false;
	while (!hit && (entry = readdir(dir)))
		hit = entry->d_name[0] != '.' && strlen(entry->d_name) < NAME_BYTES &&
		      is_root(entry->d_name, root, found);
	closedir(dir);
	return hit;
}

static void list_block_devices(void)
{
	DIR *dir = opendir("/sys/class/block");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			say("  there is /dev/%s", entry->d_name);
	if (dir)
		closedir(dir);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Returns when the root device is there; found[NAME_BYTES] gets its name. */
static void wait_for_root(const struct options *options, int events, char *found)
{
	int64_t deadline = now_ms() + options->wait_seconds * 1000LL;
	char event[4096];

	while (!find_root(options->root, found)) {
		struct pollfd pollfd = { .fd = events, .events = POLLIN };
		int64_t left_ms = deadline - now_ms();

		if (left_ms <= 0 || poll(&pollfd, 1, (int)left_ms) == 0) {
			list_block_devices();
			die("no disk has root=%s after %d s", options->root, options->wait_seconds);
		}
		while (recv(events, event, sizeof(event), 0) > 0)
			continue;
	}
}

/* ---- the root file system ---- */

static void mount_root(const char *device, const struct options *options, bool read_only)
{
	if (mount(device, "/root", options->fstype, read_only ? MS_RDONLY : 0, options->flags))
		die("cannot mount %s (%s) as the root file system: %s", device, options->fstype,
		    strerror(errno));
}

/* Runs the root file system's own e2fsck on it while it is mounted read-only. */
static void check_root(const char *device, const struct options *options)
{
	int status = 0;
	pid_t pid;

	say("%s was marked as having errors; checking it", device);
	mount_root(device, options, true);
	pid = fork();
	if (pid == 0) {
		/* it finds out from /proc/mounts that this is a root that it may work on */
		if (mount("/dev", "/root/dev", NULL, MS_BIND, NULL) ||
		    mount("/proc", "/root/proc", NULL, MS_BIND, NULL) || chroot("/root") ||
		    chdir("/"))
			_exit(127);
		execl("/sbin/e2fsck", "e2fsck", "-p", device, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) > 3)
		say("e2fsck -p could not repair %s (status %#x); going on", device, status);
	umount2("/root/dev", MNT_DETACH);
	umount2("/root/proc", MNT_DETACH);
	if (umount("/root"))
		die("cannot unmount %s after its check: %s", device, strerror(errno));
}

/* Gives back the memory of the initrd: everything on its own file system, depth first. */
static void remove_tree(int parent, const char *name, dev_t device)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *entry;
	struct stat stat;
	DIR *dir;

	if (fd < 0 || fstat(fd, &stat) || stat.st_dev != device || !(dir = fdopendir(fd))) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (unlinkat(fd, entry->d_name, 0)) {
			remove_tree(fd, entry->d_name, device);
			unlinkat(fd, entry->d_name, AT_REMOVEDIR);
		}
	}
	closedir(dir);
}

static void switch_root(void)
{
	static const char *const moved[] = { "/dev", "/proc", "/sys" };
	char target[16];
	struct stat stat;

	for (size_t i = 0; i < ARRAY_SIZE(moved); i++) {
		snprintf(target, sizeof(target), "/root%s", moved[i]);
		if (mount(moved[i], target, NULL, MS_MOVE, NULL))
			die("the root file system has no %s: %s", moved[i], strerror(errno));
	}
	if (!lstat("/", &stat))
		remove_tree(AT_FDCWD, "/", stat.st_dev);
	if (chdir("/root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		die("cannot change to the root file system: %s", strerror(errno));
}

static void start_init(const char *init, char **argv)
{
	static const char *const usual[] = { "/sbin/init", "/lib/systemd/systemd", "/bin/sh" };

	if (init) {
		argv[0] = (char *)init;
		execv(init, argv);
		say("cannot start init=%s: %s; trying the usual ones", init, strerror(errno));
	}
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
		argv[0] = (char *)usual[i];
		execv(usual[i], argv);
	}
	die("no init on the root file system: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct options options = { .fstype = "ext4",
				   .read_only = true,
				   .wait_seconds = ROOT_WAIT_SECONDS };
	char line[CMDLINE_MAX], name[NAME_BYTES], device[NAME_BYTES + 8];
	struct ext_super super;
	int events;

	(void)argc;
	if (getpid() != 1)
		die("this is the init of an initrd, not to be run by hand");
	mount_kernel("devtmpfs", "/dev", MS_NOSUID);
	mount_kernel("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
	mount_kernel("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC);
	read_options(&options, line, sizeof(line));
	if (!options.root)
		die("the kernel command line has no root=");
	events = open_device_events();
	load_modules();
	wait_for_root(&options, events, name);
	close(events);
	snprintf(device, sizeof(device), "/dev/%s", name);
	mkdir("/root", 0755);
	if (!strncmp(options.fstype, "ext", 3) && read_ext_super(name, &super) && super.has_errors)
		check_root(device, &options);
	mount_root(device, &options, options.read_only);
	switch_root();
	start_init(options.init, argv);
	return 1;
}
