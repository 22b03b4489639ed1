/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest does when it has become another machine: the programs in AGENT_HOOKS_DIR. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest-kit/agent/agent.h"

/* An emulated guest that shares its processor with others was seen to need more than half a minute for one of the kit's. */
enum { HOOK_SECONDS = 180 };

/* As run-parts(8) has it: no backups, no package manager's leftovers, nothing hidden. */
static int is_hook(const struct dirent *e)
{
	const char *c = e->d_name;
	while ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
	       *c == '-' || *c == '_')
		c++;
	return !*c;
}

static void run_one(const char *name, char *const *env)
{
	char path[512];
	snprintf(path, sizeof(path), "%s/%.255s", AGENT_HOOKS_DIR, name);
	pid_t pid = access(path, X_OK) ? -1 : fork();
	if (!pid) {
		alarm(HOOK_SECONDS); /* outlives the exec */
		execle(path, path, (char *)NULL, env);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* In a process of its own, one after the other. */
static void run_all(char *const *env)
{
	struct dirent **names;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	int null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd <= 2 && null >= 0; fd++)
		dup2(null, fd);
	int n = scandir(AGENT_HOOKS_DIR, &names, is_hook, alphasort);
	for (int i = 0; i < n; i++)
		run_one(names[i]->d_name, env);
	credentials_forget();
	_exit(0);
}

/* Held by the process that runs them, and not by what they start. -> the lock, or -1 where nobody can wait. */
static int lock_shared(void)
{
	int fd = open(AGENT_HOOKS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	/* The agent may have no standard input, and the one that runs the hooks makes itself one. */
	int lock = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	close(fd);
	if (lock >= 0)
		flock(lock, LOCK_SH | LOCK_NB);
	return lock;
}

void hooks_run(const struct frame *f)
{
	static const char *const events[] = {
		[AGENT_RESTORED] = "restore",
		[AGENT_REVERTED] = "revert",
		[AGENT_FORKED] = "fork",
		[AGENT_FIRST] = "first",
	};
	char event[32], name[128], code[32];
	char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	char credentials[] = "CREDENTIALS_DIRECTORY=" AGENT_CREDENTIALS_DIR;
	char *const env[] = { path, event, name, code, credentials, NULL };
	if (f->len < FRAME_IDENTITY_BYTES || f->len > FRAME_IDENTITY_BYTES + AGENT_NAME_MAX)
		return;
	uint32_t how = frame_u32(f, 0);
	if (how == AGENT_BOOTED || how >= sizeof(events) / sizeof(events[0]))
		return;
	snprintf(event, sizeof(event), "CHARMVM_EVENT=%s", events[how]);
	snprintf(code, sizeof(code), "CHARMVM_CODE=%u", frame_u32(f, 4));
	snprintf(name, sizeof(name), "CHARMVM_NAME=%.*s", (int)(f->len - FRAME_IDENTITY_BYTES),
		 (const char *)f->payload + FRAME_IDENTITY_BYTES);
	int lock = lock_shared(); /* before any command of this session runs */
	if (!fork())
		run_all(env);
	if (lock >= 0)
		close(lock);
}
