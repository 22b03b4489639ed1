/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one logs in to a machine whose image was made elsewhere: it knows neither the user charm nor this host's key. Recorded by
 * charmvm import in a directory of the machine's (login_dir()), which goes by the machine's name as its host key does:
 *
 *   login.json    {"user": "vagrant", "replaced": false}
 *   key           a private key that the image trusts; other people have it, too
 *   known_hosts   the machine's own host key, learned at the first login
 *
 * "replaced": the user's own key is trusted in the machine's, and the box's no longer.
 */
#ifndef VMM_LOGIN_H
#define VMM_LOGIN_H

#include <limits.h>
#include <stdbool.h>

enum { LOGIN_USER_MAX = 32, LOGIN_KEY_MAX = 16 * 1024 };

struct login {
	char user[LOGIN_USER_MAX + 1];
	char key[PATH_MAX]; /* "": no key is known */
	char known_hosts[PATH_MAX];
	bool replaced;
};

/* May a user be called that? (What goes to ssh(1) out of a box.) */
bool login_user_ok(const char *user);
/* Does this look like a private key, as OpenSSH writes them? */
bool login_key_ok(const char *key);

/* Where the machine @name has it, whether there is one or not. -> 0 or -errno. */
int login_dir(const char *name, char out[PATH_MAX]);
/* -> 0, -ENOENT: the machine there has no login of its own; -errno, -EINVAL. Not logged. */
int login_load(const char *dir, struct login *l);
/* Records it in the place of what is there. @key: its text, or NULL. -> 0 or -errno. */
int login_save(const char *dir, const char *user, const char *key);
/* The user's key has replaced the box's. -> 0 or -errno. */
int login_set_replaced(const char *dir);
/* What the machine @from has, for its copy @to. -> 0 (also where there is none) or -errno. */
int login_copy(const char *from, const char *to);
/* -> 0 (also where there is none) or -errno. */
int login_forget(const char *dir);

#endif
