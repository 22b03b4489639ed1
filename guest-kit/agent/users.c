/* SPDX-License-Identifier: Apache-2.0 */
/* Users and their groups. */
#include "guest-kit/agent/users.h"

#include <errno.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIELDS_MAX = 7 };

/* Splits a line of colon-separated fields in place; what is missing is an empty string. */
static void split(char *line, char *fields[FIELDS_MAX])
{
	line[strcspn(line, "\n")] = '\0';
	for (int i = 0; i < FIELDS_MAX; i++) {
		fields[i] = line;
		line += strcspn(line, ":");
		if (*line)
			*line++ = '\0';
	}
}

static void take(struct user *u, char *const f[FIELDS_MAX])
{
	*u = (struct user){ .uid = (uid_t)strtoul(f[2], NULL, 10),
			    .gid = (gid_t)strtoul(f[3], NULL, 10) };
	snprintf(u->name, sizeof(u->name), "%s", f[0]);
	snprintf(u->home, sizeof(u->home), "%s", *f[5] ? f[5] : "/");
	snprintf(u->shell, sizeof(u->shell), "%s", *f[6] ? f[6] : "/bin/sh");
}

static int find(const char *name, struct user *u)
{
	char *line = NULL, *f[FIELDS_MAX];
	size_t size = 0;
	bool found = false;
	FILE *file = fopen("/etc/passwd", "re");
	while (file && !found && getline(&line, &size, file) > 0) {
		split(line, f);
		/* A number that is missing must not be root's. */
		found = !strcmp(f[0], name) && *f[2] && *f[3];
		if (found)
			take(u, f);
	}
	free(line);
	if (file)
		fclose(file);
	if (!file && !strcmp(name, "root")) {
		char *const root[FIELDS_MAX] = { "root", "", "0", "0", "", "/", "/bin/sh" };
		take(u, root);
		found = true;
	}
	return found ? 0 : -ENOENT;
}

/* Is @name in a list such as "a,b,c"? */
static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);
	for (const char *p = list; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (!strncmp(p, name, len) && (!p[len] || p[len] == ','))
			return true;
	}
	return false;
}

static void find_groups(struct user *u)
{
	char *line = NULL, *f[FIELDS_MAX];
	size_t size = 0;
	FILE *file = fopen("/etc/group", "re");
	u->groups[u->ngroups++] = u->gid;
	while (file && u->ngroups < USER_GROUPS_MAX && getline(&line, &size, file) > 0) {
		split(line, f);
		if (*f[2] && listed(f[3], u->name))
			u->groups[u->ngroups++] = (gid_t)strtoul(f[2], NULL, 10);
	}
	free(line);
	if (file)
		fclose(file);
}

int user_find(const char *name, struct user *u)
{
	int err = name ? find(name, u) : find("charm", u) ? find("root", u) : 0;
	if (!err)
		find_groups(u);
	return err;
}

int user_become(const struct user *u)
{
	/* A test's agent is no root and stays who it is. */
	if (geteuid() != 0)
		return u->uid == geteuid() ? 0 : -EPERM;
	if (setgroups((size_t)u->ngroups, u->groups) < 0 || setgid(u->gid) < 0 ||
	    setuid(u->uid) < 0)
		return -errno;
	return 0;
}
