/* SPDX-License-Identifier: Apache-2.0 */
/* Records of running machines. */
#include "vmm/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/paths.h"

enum { NAME_TRIES = 100, RECORD_BYTES_MAX = 64 * 1024 };

static const char ending[] = ".json";

static int record_path(char *out, const char *name)
{
	char dir[PATH_MAX], file[RECORD_NAME_MAX + sizeof(ending)];
	int err = paths_run_dir(dir);
	if (err)
		return err;
	snprintf(file, sizeof(file), "%s%s", name, ending);
	return paths_join(out, dir, file, NULL);
}

/* -> 0, -EEXIST (a running machine has it) or -errno. */
static int claim(struct record *r, const char *name)
{
	int err = record_path(r->path, name);
	if (err)
		return err;
	r->fd = open(r->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (r->fd < 0)
		return -errno;
	if (flock(r->fd, LOCK_EX | LOCK_NB) < 0) {
		err = errno == EWOULDBLOCK ? -EEXIST : -errno;
		close(r->fd);
		r->fd = -1;
		return err;
	}
	snprintf(r->name, sizeof(r->name), "%s", name);
	return 0;
}

int record_claim(struct record *r, const char *wanted, bool exact)
{
	*r = (struct record){ .fd = -1, .pid = getpid(), .started_s = time(NULL) };
	int err = claim(r, wanted);
	for (unsigned int i = 2; err == -EEXIST && !exact && i < NAME_TRIES; i++) {
		char name[RECORD_NAME_MAX + 1];
		/* Two digits: i is below NAME_TRIES, and the compiler may see it. */
		snprintf(name, sizeof(name), "%.*s-%u", RECORD_NAME_MAX - 4, wanted,
			 i % NAME_TRIES);
		err = claim(r, name);
	}
	if (err == -EEXIST)
		log_error("a machine called '%s' is running; give this one another --name", wanted);
	else if (err)
		log_error("cannot keep a record of the machine in %s: %s", r->path, strerror(-err));
	return err;
}

int record_beside(const struct record *r, const char *end, char out[PATH_MAX])
{
	int stem = (int)(strlen(r->path) - (sizeof(ending) - 1));
	int n = snprintf(out, PATH_MAX, "%.*s%s", stem, r->path, end);
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int record_socket_path(const struct record *r, char out[PATH_MAX])
{
	return record_beside(r, ".sock", out);
}

int record_publish(struct record *r)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:i, s:s, s:s, s:s}", "name", r->name, "pid",
			      (json_int_t)r->pid, "started", (json_int_t)r->started_s, "ssh_port",
			      (int)r->ssh_port, "user_key", r->user_key, "known_hosts",
			      r->known_hosts, "box", r->box);
	if (!o)
		return -ENOMEM;
	/* In one write: json_dumpfd() makes one of each word. */
	char *text = json_dumps(o, JSON_INDENT(2));
	json_decref(o);
	if (!text)
		return -ENOMEM;
	size_t bytes = strlen(text);
	int err = bytes > RECORD_BYTES_MAX ? -ENAMETOOLONG : 0;
	/* Cut off behind it and not before: where there is no room, the old one stays. */
	ssize_t n = err ? 0 : pwrite(r->fd, text, bytes, 0);
	if (!err && n != (ssize_t)bytes)
		err = n < 0 ? -errno : -ENOSPC;
	if (!err && ftruncate(r->fd, n) < 0)
		err = -errno;
	free(text);
	return err;
}

void record_release(struct record *r)
{
	if (r->fd < 0)
		return;
	char page[PATH_MAX];
	if (!record_beside(r, RECORD_NOTEBOOK, page))
		unlink(page);
	unlink(r->path);
	close(r->fd);
	r->fd = -1;
}

static void copy_string(char *out, size_t size, const char *s)
{
	snprintf(out, size, "%s", s);
}

/* One read: json_loadfd() takes a byte at a time. NULL: it is none. */
static json_t *read_object(int fd)
{
	char text[RECORD_BYTES_MAX];
	ssize_t n = read(fd, text, sizeof(text));
	return n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
}

/* Reads the record of a machine that runs. -> 0, -ENOENT (none, or a stale one), -EINVAL. */
static int load(struct record *r, const char *name)
{
	*r = (struct record){ .fd = -1 };
	int err = record_path(r->path, name);
	if (err)
		return err;
	int fd = open(r->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	bool stale = !flock(fd, LOCK_SH | LOCK_NB);
	json_t *o = stale ? NULL : read_object(fd);
	close(fd);
	if (stale)
		return -ENOENT;
	const char *n, *key, *hosts, *box = "";
	json_int_t pid;
	int port;
	json_int_t started = 0;
	err = json_unpack(o, "{s:s, s:I, s?I, s:i, s:s, s:s, s?s}", "name", &n, "pid", &pid,
			  "started", &started, "ssh_port", &port, "user_key", &key, "known_hosts",
			  &hosts, "box", &box)
		      ? -EINVAL
		      : 0;
	if (!err) {
		copy_string(r->name, sizeof(r->name), n);
		copy_string(r->user_key, sizeof(r->user_key), key);
		copy_string(r->known_hosts, sizeof(r->known_hosts), hosts);
		copy_string(r->box, sizeof(r->box), box);
		r->pid = pid;
		r->started_s = started;
		r->ssh_port = (uint16_t)port;
	}
	json_decref(o);
	return err;
}

/* The name behind a directory entry, or an empty string. */
static void name_of_entry(const struct dirent *e, char name[RECORD_NAME_MAX + 1])
{
	size_t len = strlen(e->d_name), tail = sizeof(ending) - 1;
	bool is = len > tail && len - tail <= RECORD_NAME_MAX &&
		  !strcmp(e->d_name + len - tail, ending);
	snprintf(name, RECORD_NAME_MAX + 1, "%.*s", is ? (int)(len - tail) : 0, e->d_name);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

void record_each(void (*fn)(void *opaque, const struct record *r), void *opaque)
{
	char dir[PATH_MAX], name[RECORD_NAME_MAX + 1];
	struct dirent **entries = NULL;
	struct record r;
	int n = paths_run_dir(dir) ? 0 : scandir(dir, &entries, NULL, by_name);
	for (int i = 0; i < n; i++) {
		name_of_entry(entries[i], name);
		if (*name && !load(&r, name))
			fn(opaque, &r);
		free(entries[i]);
	}
	free(entries);
}

bool record_is_running(const struct record *r)
{
	struct record now;
	return !load(&now, r->name) && now.pid == r->pid;
}

struct only {
	struct record *found;
	unsigned int n;
};

static void take_only(void *opaque, const struct record *r)
{
	struct only *only = opaque;
	*only->found = *r;
	only->n++;
}

static int find_only(struct record *r)
{
	struct only only = { .found = r };
	record_each(take_only, &only);
	if (only.n == 1)
		return 0;
	log_error(only.n ? "several machines are running; say which one (charmvm ps lists them)"
			 : "no machine is running; start one: charmvm --image FILE");
	return only.n ? -EINVAL : -ENOENT;
}

int record_find(struct record *r, const char *name)
{
	if (!name)
		return find_only(r);
	int err = strlen(name) > RECORD_NAME_MAX || strchr(name, '/') ? -ENOENT : load(r, name);
	if (err)
		log_error("no machine called '%s' is running", name);
	return err;
}
