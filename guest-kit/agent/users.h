/* SPDX-License-Identifier: Apache-2.0 */
/* Who a user is, read from /etc/passwd and /etc/group: a static program cannot load what getpwnam(3) asks. */
#ifndef AGENT_USERS_H
#define AGENT_USERS_H

#include <limits.h>
#include <sys/types.h>

enum { USER_NAME_MAX = 64, USER_GROUPS_MAX = 64 };

struct user {
	char name[USER_NAME_MAX + 1];
	uid_t uid;
	gid_t gid;
	char home[PATH_MAX];
	char shell[PATH_MAX];
	gid_t groups[USER_GROUPS_MAX];
	int ngroups;
};

/* @name NULL: charm, or root where there is no charm. A system without /etc/passwd has root. -> 0 or -ENOENT. */
int user_find(const char *name, struct user *u);

/* Becomes @u for good, with all its groups. -> 0 or -errno. */
int user_become(const struct user *u);

#endif
