/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds a port of this host. */
/*
 * How it works. /proc/net/{tcp,udp}{,6} lists sockets with their port, the user, and an inode;
 * /proc/PID/fd shows, for processes that we may look into, which of them has that inode open. What
 * may not be seen is told less precisely.
 */
#include "devices/net/holder.h"

#include <ctype.h>
#include <dirent.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "vmm/base/process_name.h"

/* linux/tcp_states.h: a TCP socket that listens; a UDP socket that is bound shows as "close". */
enum { STATE_TCP_LISTEN = 0x0a };

struct socket_id {
	unsigned long inode;
	unsigned int uid;
};

/* The first listed socket with @port in one of the tables of /proc/net. */
static bool find_socket_in(const char *path, bool udp, uint16_t port, struct socket_id *out)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	char *line = NULL;
	size_t cap = 0;
	bool found = false;
	while (!found && getline(&line, &cap, f) > 0) {
		unsigned int local_port, state;
		/* sl, local, remote, st, tx:rx queue, tr:when, retransmits, uid, timeout, inode */
		if (sscanf(line,
			   " %*u: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %u %*d %lu",
			   &local_port, &state, &out->uid, &out->inode) != 4)
			continue;
		found = local_port == port && (udp || state == STATE_TCP_LISTEN);
	}
	free(line);
	fclose(f);
	return found;
}

static bool find_socket(bool udp, uint16_t port, struct socket_id *out)
{
	return find_socket_in(udp ? "/proc/net/udp" : "/proc/net/tcp", udp, port, out) ||
	       find_socket_in(udp ? "/proc/net/udp6" : "/proc/net/tcp6", udp, port, out);
}

static bool process_has_socket(long pid, unsigned long inode)
{
	char path[64], want[64], link[64];
	snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
	snprintf(want, sizeof(want), "socket:[%lu]", inode);
	DIR *d = opendir(path);
	if (!d)
		return false;
	bool found = false;
	struct dirent *e;
	while (!found && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		if (n <= 0)
			continue;
		link[n] = '\0';
		found = !strcmp(link, want);
	}
	closedir(d);
	return found;
}

/* -> the process that has the socket open, or 0. */
static long find_process(unsigned long inode)
{
	DIR *d = opendir("/proc");
	if (!d)
		return 0;
	long pid = 0;
	struct dirent *e;
	while (!pid && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]) &&
		    process_has_socket(atol(e->d_name), inode))
			pid = atol(e->d_name);
	closedir(d);
	return pid;
}

const char *holder_of_port(bool udp, uint16_t port, char buf[HOLDER_STR])
{
	struct socket_id id;
	char name[PROCESS_NAME_STR];
	snprintf(buf, HOLDER_STR, "another process");
	if (!find_socket(udp, port, &id))
		return buf;
	long pid = find_process(id.inode);
	if (pid == (long)getpid()) {
		snprintf(buf, HOLDER_STR, "this machine itself");
	} else if (pid) {
		process_name(pid, name);
		snprintf(buf, HOLDER_STR, "%s (pid %ld)", name, pid);
	} else if (id.uid != getuid()) {
		const struct passwd *pw = getpwuid(id.uid);
		if (pw)
			snprintf(buf, HOLDER_STR, "a process of user %.48s", pw->pw_name);
		else
			snprintf(buf, HOLDER_STR, "a process of user %u", id.uid);
	}
	return buf;
}
