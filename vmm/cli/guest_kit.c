/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the guest kit, what is in it, and having it make an image. */
/*
 * A recipe is a Charmfile in recipes/. A base is a line of the file bases, which begins with its name.
 */
#include "vmm/cli/guest_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/config.h"
#include "vmm/exit_status.h"
#include "vmm/paths.h"

enum { LINE_BYTES = 512 };

bool guest_kit_find(char kit[PATH_MAX])
{
	static const char *const places[] = { "../guest-kit", "../share/charmvm/guest-kit" };
	char self[PATH_MAX], path[PATH_MAX];
	const char *given = getenv("CHARMVM_GUEST_KIT");
	if (given && *given)
		return realpath(given, kit);
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n <= 0)
		return false;
	self[n] = '\0';
	*(strrchr(self, '/') + 1) = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		int len = snprintf(path, sizeof(path), "%s%s", self, places[i]);
		int tool = snprintf(kit, PATH_MAX, "%s/make-base", path);
		if (len < (int)sizeof(path) && tool < PATH_MAX && !access(kit, X_OK))
			return realpath(path, kit);
	}
	return false;
}

bool guest_kit_recipe(const char *kit, const char *name, char path[PATH_MAX])
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
	if (!n || name[n] || n > CONFIG_NAME_MAX || *name == '-')
		return false;
	int len = snprintf(path, PATH_MAX, "%s/recipes/%s", kit, name);
	return len < PATH_MAX && !access(path, R_OK);
}

bool guest_kit_has_base(const char *kit, const char *name)
{
	char path[PATH_MAX], line[LINE_BYTES];
	bool has = false;
	FILE *f = paths_join(path, kit, "bases", NULL) ? NULL : fopen(path, "re");
	while (f && !has && fgets(line, sizeof(line), f)) {
		line[strcspn(line, " \t\n")] = '\0';
		has = *line != '#' && !strcmp(line, name);
	}
	if (f)
		fclose(f);
	return has;
}

/* ---- making ---- */

pid_t guest_kit_start(const char *const *argv, int fd)
{
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(fd, STDOUT_FILENO);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		log_error("%s: %s", argv[0], strerror(errno));
		_exit(EXIT_STATUS_NOT_FOUND);
	}
	return pid;
}

bool guest_kit_ended_well(pid_t pid)
{
	int status = 0;
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status);
}

static bool read_line(int fd, char line[PATH_MAX])
{
	size_t len = 0;
	ssize_t n;
	while (len < PATH_MAX - 1 &&
	       ((n = read(fd, line + len, PATH_MAX - 1 - len)) > 0 || (n < 0 && errno == EINTR)))
		len += n > 0 ? (size_t)n : 0;
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return len;
}

bool guest_kit_make(const char *recipe, char image[PATH_MAX])
{
	char line[PATH_MAX];
	int fds[2];
	const char *const argv[] = { "/proc/self/exe", "build", "--cached", recipe, NULL };
	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	pid_t pid = guest_kit_start(argv, fds[1]);
	close(fds[1]);
	bool got = read_line(fds[0], line);
	close(fds[0]);
	return guest_kit_ended_well(pid) && got && realpath(line, image);
}
