/* SPDX-License-Identifier: Apache-2.0 */
/* SSH keys of the user and of the machine, and what else is kept beside them. */
/*
 * How it works. A key pair lives in a directory of its own, so that making one is atomic: ssh-keygen
 * writes into a temporary directory beside it, which is then renamed. If another process was faster, the
 * rename fails, ours is thrown away and theirs is used.
 */
#include "vmm/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/log.h"
#include "vmm/base/replace.h"
#include "vmm/login.h"
#include "vmm/paths.h"

enum { KEY_FILE_MAX = 16 * 1024 };

extern char **environ;

static const char key_name[] = "id_ed25519";

static int run_keygen(const char *path)
{
	char *argv[] = { "ssh-keygen", "-q",	  "-t", "ed25519",    "-N", "",
			 "-C",	       "charmvm", "-f", (char *)path, NULL };
	pid_t pid;
	int status;
	int err = -posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (err) {
		log_warn("cannot run ssh-keygen (%s); install openssh-client to log in over SSH",
			 strerror(-err));
		return err;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

static void remove_pair(const char *dir)
{
	static const char *const files[] = { "id_ed25519", "id_ed25519.pub" };
	char path[PATH_MAX];
	for (size_t i = 0; i < 2; i++)
		if (!paths_join(path, dir, files[i], NULL))
			unlink(path);
	rmdir(dir);
}

/* Makes the directory @dir with a key pair in it. */
static int make_pair(const char *dir)
{
	char tmp[PATH_MAX], key[PATH_MAX];
	int n = snprintf(tmp, sizeof(tmp), "%s.XXXXXX", dir);
	if (n < 0 || n >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	if (!mkdtemp(tmp))
		return -errno;
	int err = paths_join(key, tmp, key_name, NULL);
	err = err ? err : run_keygen(key);
	if (!err && rename(tmp, dir) < 0)
		err = errno == ENOTEMPTY || errno == EEXIST ? 0 : -errno;
	remove_pair(tmp); /* still there when it failed or another process was faster */
	return err;
}

static int read_file(const char *path, char **out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	char *buf = calloc(1, KEY_FILE_MAX + 1);
	ssize_t n = buf ? read(fd, buf, KEY_FILE_MAX) : -1;
	int err = n < 0 ? buf ? -errno : -ENOMEM : 0;
	close(fd);
	if (err)
		free(buf);
	else
		*out = buf;
	return err;
}

/* The pair in @dir, made if it is missing: its private key's path, and what the files say. */
static int ensure_pair(const char *dir, char path[PATH_MAX], char **private, char **public)
{
	char public_path[PATH_MAX];
	int err = paths_join(path, dir, key_name, NULL);
	err = err ? err : paths_join(public_path, dir, "id_ed25519.pub", NULL);
	if (!err && access(path, R_OK) < 0)
		err = errno == ENOENT ? make_pair(dir) : -errno;
	err = err ? err : read_file(public_path, public);
	return err || !private ? err : read_file(path, private);
}

/* "[localhost]:*" would not do: one line that accepts the key for whatever port the machine has. */
static int write_known_hosts(const struct keys *k)
{
	char *line;
	if (asprintf(&line, "charmvm %s", k->host_public) < 0)
		return -ENOMEM;
	int err = replace_file(k->known_hosts, line);
	free(line);
	return err;
}

int keys_ensure(struct keys *k, const char *name)
{
	char data[PATH_MAX], dir[PATH_MAX], host_dir[PATH_MAX], path[PATH_MAX];
	*k = (struct keys){ 0 };
	int err = paths_data_dir(data);
	err = err ? err : paths_join(dir, data, "user", NULL);
	err = err ? err : ensure_pair(dir, k->user_key, NULL, &k->user_public);
	err = err ? err : keys_machine_dir(name, dir);
	err = err ? err : paths_make_dirs(dir);
	err = err ? err : paths_join(host_dir, dir, "host", NULL);
	err = err ? err : ensure_pair(host_dir, path, &k->host_private, &k->host_public);
	err = err ? err : notebook_token_ensure(dir, k->notebook_token);
	err = err ? err : paths_join(k->known_hosts, dir, "known_hosts", NULL);
	err = err ? err : write_known_hosts(k);
	if (!err)
		return 0;
	log_warn("no SSH keys for this machine, nobody can log in: %s",
		 err == -EIO ? "ssh-keygen has failed" : strerror(-err));
	keys_free(k);
	return err;
}

void keys_free(struct keys *k)
{
	free(k->user_public);
	if (k->host_private)
		explicit_bzero(k->host_private, strlen(k->host_private));
	free(k->host_private);
	free(k->host_public);
	explicit_bzero(k->notebook_token, sizeof(k->notebook_token));
	*k = (struct keys){ 0 };
}

int keys_machine_dir(const char *name, char *out)
{
	char data[PATH_MAX];
	int err = paths_data_dir(data);
	return err ? err : paths_join(out, data, "machines", name, NULL);
}

bool keys_exist(const char *name)
{
	char dir[PATH_MAX], path[PATH_MAX];
	return !keys_machine_dir(name, dir) && !paths_join(path, dir, "host", NULL) &&
	       !access(path, F_OK);
}

int keys_forget(const char *name)
{
	char dir[PATH_MAX], path[PATH_MAX];
	int err = keys_machine_dir(name, dir);
	if (!err && !paths_join(path, dir, "host", NULL))
		remove_pair(path);
	if (!err && !paths_join(path, dir, "known_hosts", NULL))
		unlink(path);
	if (!err && !paths_join(path, dir, "box", NULL))
		login_forget(path);
	if (!err)
		notebook_token_forget(dir);
	if (!err && rmdir(dir) < 0 && errno != ENOENT)
		err = -errno;
	return err;
}

int keys_rename(const char *name, const char *to)
{
	char from_dir[PATH_MAX], to_dir[PATH_MAX];
	int err = keys_machine_dir(name, from_dir);
	err = err ? err : keys_machine_dir(to, to_dir);
	if (err || (access(from_dir, F_OK) < 0 && errno == ENOENT))
		return err;
	err = keys_forget(to);
	if (!err && rename(from_dir, to_dir) < 0)
		err = -errno;
	return err;
}
