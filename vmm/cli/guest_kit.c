/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the guest kit, and having it make an image. */
#include "vmm/cli/guest_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/exit_status.h"

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
	for (int i = 0; i < 2; i++) {
		int len = snprintf(path, sizeof(path), "%s%s", self, places[i]);
		int tool = snprintf(kit, PATH_MAX, "%s/demo-image", path);
		if (len < (int)sizeof(path) && tool < PATH_MAX && !access(kit, X_OK))
			return realpath(path, kit);
	}
	return false;
}

bool guest_kit_has(const char *kit, const char *recipe)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/recipes/%s.conf", kit, recipe);
	return n < (int)sizeof(path) && !access(path, R_OK);
}

/* Its standard output, one line, is what it has made. */
static pid_t start_tool(const char *kit, const char *recipe, int *out)
{
	char tool[PATH_MAX];
	int fds[2];
	if (snprintf(tool, sizeof(tool), "%s/demo-image", kit) >= (int)sizeof(tool) ||
	    pipe2(fds, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();
	if (!pid) {
		dup2(fds[1], STDOUT_FILENO);
		execl(tool, tool, recipe, (char *)NULL);
		_exit(EXIT_STATUS_NOT_FOUND);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
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

bool guest_kit_make(const char *kit, const char *recipe, char image[PATH_MAX])
{
	char line[PATH_MAX];
	int out, status;
	pid_t pid = start_tool(kit, recipe, &out);
	if (pid < 0)
		return false;
	bool got = read_line(out, line);
	close(out);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return got && WIFEXITED(status) && !WEXITSTATUS(status) && realpath(line, image);
}
