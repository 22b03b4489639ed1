/* SPDX-License-Identifier: Apache-2.0 */
/* The login of a machine whose image was made elsewhere. */
#include "vmm/login.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/replace.h"
#include "vmm/keys.h"
#include "vmm/paths.h"

bool login_user_ok(const char *user)
{
	static const char all[] = "0123456789-.abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	const char *letters = strchr(all, 'a');
	size_t n = strlen(user);
	return n && n <= LOGIN_USER_MAX && strchr(letters, *user) && strspn(user, all) == n;
}

bool login_key_ok(const char *key)
{
	return !strncmp(key, "-----BEGIN ", 11) && strstr(key, "PRIVATE KEY-----") &&
	       strlen(key) <= LOGIN_KEY_MAX;
}

int login_dir(const char *name, char out[PATH_MAX])
{
	char dir[PATH_MAX];
	int err = keys_machine_dir(name, dir);
	return err ? err : paths_join(out, dir, "box", NULL);
}

static int write_file(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];
	int err = paths_join(path, dir, name, NULL);
	return err ? err : replace_file(path, text);
}

static int write_json(const char *dir, const char *user, bool replaced)
{
	json_t *o = json_pack("{s:s, s:b}", "user", user, "replaced", replaced);
	char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
	int err = text ? write_file(dir, "login.json", text) : -ENOMEM;
	free(text);
	json_decref(o);
	return err;
}

/* -> 0 and *text to free, at most LOGIN_KEY_MAX of it; or -errno. */
static int read_file(const char *path, char **text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*text = calloc(1, LOGIN_KEY_MAX + 1);
	ssize_t n = *text ? read(fd, *text, LOGIN_KEY_MAX) : -1;
	int err = n < 0 ? *text ? -errno : -ENOMEM : 0;
	close(fd);
	if (err)
		free(*text);
	return err;
}

static int parse(const char *text, struct login *l)
{
	const char *user;
	int replaced;
	json_t *o = json_loads(text, 0, NULL);
	int err = json_unpack(o, "{s:s, s:b}", "user", &user, "replaced", &replaced) ||
				  !login_user_ok(user)
			  ? -EINVAL
			  : 0;
	if (!err) {
		snprintf(l->user, sizeof(l->user), "%s", user);
		l->replaced = replaced;
	}
	json_decref(o);
	return err;
}

int login_load(const char *dir, struct login *l)
{
	char path[PATH_MAX], *text = NULL;
	*l = (struct login){ 0 };
	int err = *dir ? paths_join(path, dir, "login.json", NULL) : -ENOENT;
	err = err ? err : paths_join(l->key, dir, "key", NULL);
	err = err ? err : paths_join(l->known_hosts, dir, "known_hosts", NULL);
	err = err ? err : read_file(path, &text);
	if (err)
		return err;
	if (access(l->key, R_OK) < 0)
		l->key[0] = '\0';
	err = parse(text, l);
	free(text);
	return err;
}

int login_save(const char *dir, const char *user, const char *key)
{
	int err = login_forget(dir);
	err = err ? err : paths_make_dirs(dir);
	err = err || !key ? err : write_file(dir, "key", key);
	/* Last: without it there is no login. */
	return err ? err : write_json(dir, user, false);
}

int login_set_replaced(const char *dir)
{
	struct login l;
	int err = login_load(dir, &l);
	return err ? err : write_json(dir, l.user, true);
}

static int copy_file(const char *from, const char *to, const char *name)
{
	char path[PATH_MAX], *text = NULL;
	int err = paths_join(path, from, name, NULL);
	err = err ? err : read_file(path, &text);
	if (err)
		return err == -ENOENT ? 0 : err;
	err = write_file(to, name, text);
	free(text);
	return err;
}

int login_copy(const char *from, const char *to)
{
	char from_dir[PATH_MAX], to_dir[PATH_MAX];
	struct login l;
	int err = login_dir(from, from_dir);
	err = err ? err : login_dir(to, to_dir);
	if (err || login_load(from_dir, &l))
		return err;
	err = login_forget(to_dir);
	err = err ? err : paths_make_dirs(to_dir);
	err = err ? err : copy_file(from_dir, to_dir, "key");
	err = err ? err : copy_file(from_dir, to_dir, "known_hosts");
	return err ? err : copy_file(from_dir, to_dir, "login.json");
}

int login_forget(const char *dir)
{
	static const char *const files[] = { "login.json", "key", "known_hosts",
					     "known_hosts.old" };
	char path[PATH_MAX];
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!paths_join(path, dir, files[i], NULL))
			unlink(path);
	return rmdir(dir) < 0 && errno != ENOENT ? -errno : 0;
}
