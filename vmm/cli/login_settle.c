/* SPDX-License-Identifier: Apache-2.0 */
/* Replacing the key of a box. */
/*
 * How it works. Two logins, so that nobody is ever locked out: the first, with either key, adds the user's to the machine's
 * authorized_keys; the second, with the user's alone, proves that it is let in, and takes away the lines with the box's
 * key and with both of Vagrant's well-known ones. What is done there is a small shell script on ssh's standard input; what goes
 * into it is checked to be base64.
 */
#include "vmm/cli/login_settle.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/log.h"
#include "vmm/cli/ssh_args.h"
#include "vmm/login.h"
#include "vmm/vagrant_key.h"

enum {
	TIME_S = 90, /* for each login */
	LOOK_MS = 50,
	PUBLIC_MAX = 4096,
	SCRIPT_MAX = 4 * PUBLIC_MAX,
	ARGV_MAX = 2 * SSH_SETTINGS_MAX + 16,
};

extern char **environ;

/* ---- a program, with what it reads and what it says ---- */

/* Ends it when the time is up. -> 0, -ETIMEDOUT, or -EIO: it says that it failed. */
static int wait_for(pid_t pid)
{
	const struct timespec pause = { .tv_nsec = LOOK_MS * NS_PER_MS };
	uint64_t end_ns = clock_now_ns() + TIME_S * NS_PER_S;
	int status;
	pid_t done;
	while (!(done = waitpid(pid, &status, WNOHANG)) && clock_now_ns() < end_ns)
		nanosleep(&pause, NULL);
	if (done > 0)
		return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -ETIMEDOUT;
}

/* @in, @out: its standard input and output, or -1 for none. -> as wait_for(), or -errno: it cannot be started. */
static int run(char *const *argv, int in, int out)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (in >= 0)
		posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
	else
		posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (out >= 0)
		posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
	else
		posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	int err = -posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return err ? err : wait_for(pid);
}

/* ---- public keys ---- */

/* The second word of "ssh-ed25519 AAAA... comment". -> 0, or -EINVAL: that is no key. */
static int blob_of(const char *public, char out[PUBLIC_MAX])
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				     "0123456789+/=";
	const char *word = strchr(public, ' ');
	size_t n = word ? strspn(word + 1, base64) : 0;
	if (n < 16 || n >= PUBLIC_MAX || !strchr(" \n", word[1 + n]))
		return -EINVAL;
	snprintf(out, PUBLIC_MAX, "%.*s", (int)n, word + 1);
	return 0;
}

static int read_some(int fd, char out[PUBLIC_MAX])
{
	ssize_t n = read(fd, out, PUBLIC_MAX - 1);
	out[n > 0 ? n : 0] = '\0';
	return n > 0 ? 0 : -EIO;
}

/* The user's is beside the private one. */
static int users_blob(const struct record *r, char out[PUBLIC_MAX])
{
	char path[PATH_MAX + 8], text[PUBLIC_MAX];
	snprintf(path, sizeof(path), "%s.pub", r->user_key);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int err = read_some(fd, text);
	close(fd);
	return err ? err : blob_of(text, out);
}

/* Of the box's there is only the private one. */
static int boxs_blob(const struct login *l, char out[PUBLIC_MAX])
{
	char *argv[] = { "ssh-keygen", "-y", "-P", "", "-f", (char *)(uintptr_t)l->key, NULL };
	char text[PUBLIC_MAX];
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	/* A key is shorter than what a pipe holds. */
	int err = run(argv, -1, fds[1]);
	close(fds[1]);
	err = err ? err : read_some(fds[0], text);
	close(fds[0]);
	return err ? err : blob_of(text, out);
}

/* ---- a login ---- */

/* Without the user's own configuration, which could forward an agent to a stranger. @only: the one key that is offered, or NULL: all of them. */
static int log_in(const struct record *r, const char *only, int script)
{
	struct ssh_setting settings[SSH_SETTINGS_MAX];
	char words[SSH_SETTINGS_MAX][SSH_VALUE_MAX + 32];
	char *argv[ARGV_MAX] = {
		"ssh", "-T", "-F", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=60"
	};
	unsigned int at = 8, n = ssh_settings(r, NULL, settings);
	for (unsigned int i = 0; i < n; i++) {
		if (only && !strcmp(settings[i].key, "IdentityFile") &&
		    !strstr(settings[i].value, only))
			continue;
		snprintf(words[i], sizeof(words[i]), "%s=%s", settings[i].key, settings[i].value);
		argv[at++] = "-o";
		argv[at++] = words[i];
	}
	argv[at++] = settings[0].value;
	argv[at++] = "--";
	argv[at++] = "sh";
	argv[at] = "-s";
	return run(argv, script, -1);
}

static int log_in_and_do(const struct record *r, const char *only, const char *text)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	size_t bytes = strlen(text); /* less than a pipe holds */
	int err = write(fds[1], text, bytes) == (ssize_t)bytes ? 0 : -EIO;
	close(fds[1]);
	err = err ? err : log_in(r, only, fds[0]);
	close(fds[0]);
	return err;
}

static int add_users(const struct record *r, const char *users)
{
	char script[SCRIPT_MAX];
	snprintf(script, sizeof(script),
		 "set -eu\numask 077\nmkdir -p \"$HOME/.ssh\"\ncd \"$HOME/.ssh\"\n"
		 "grep -qF '%s' authorized_keys 2>/dev/null ||\n"
		 "printf '\\n%%s\\n' 'ssh-ed25519 %s charmvm' >>authorized_keys\n",
		 users, users);
	return log_in_and_do(r, NULL, script);
}

/* The new file takes the old one's place only when it has the user's key. */
static int remove_boxs(const struct record *r, const char *users, const char *boxs)
{
	char script[SCRIPT_MAX];
	snprintf(script, sizeof(script),
		 "set -eu\numask 077\ncd \"$HOME/.ssh\"\n"
		 "grep -vF -e '%s' -e '%s' -e '%s' authorized_keys >authorized_keys.charmvm || :\n"
		 "grep -qF '%s' authorized_keys.charmvm\n"
		 "mv -f authorized_keys.charmvm authorized_keys\nsync\n",
		 VAGRANT_PUBLIC_RSA, VAGRANT_PUBLIC_ED25519, boxs, users);
	return log_in_and_do(r, r->user_key, script);
}

static int settle(const struct record *r, const struct login *l)
{
	char users[PUBLIC_MAX], boxs[PUBLIC_MAX];
	int err = users_blob(r, users);
	err = err ? err : boxs_blob(l, boxs);
	err = err ? err : add_users(r, users);
	err = err ? err : remove_boxs(r, users, boxs);
	return err ? err : login_set_replaced(r->box);
}

void login_settle(const struct record *r)
{
	struct login l;
	if (!r->ssh_port || login_load(r->box, &l) || l.replaced || !*l.key)
		return;
	int err = settle(r, &l);
	if (!err)
		fprintf(stderr,
			"%s: the key that everybody has of its box was replaced by yours, %s\n",
			r->name, r->user_key);
	else
		log_warn("machine '%s' still trusts the key of its box, which others have: it "
			 "could not be replaced by yours as user %s (%s)",
			 r->name, l.user,
			 err == -EIO	     ? "the login failed"
			 : err == -ETIMEDOUT ? "the login took too long"
					     : strerror(-err));
}
