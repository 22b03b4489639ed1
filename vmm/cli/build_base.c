/* SPDX-License-Identifier: Apache-2.0 */
/* What an image is made from: FROM. */
/*
 * In this order: an image file, by its path from the Charmfile's directory, with or without .qcow2; the same from where the
 * command runs, for images that were built there; a recipe of the guest kit by its name, or by DISTRIBUTION:VERSION, which
 * guest-kit/demo-image builds once and keeps.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/block/probe.h"
#include "vmm/base/log.h"
#include "vmm/cli/build.h"

enum { HEAD_BYTES = 512 };

/* ---- files ---- */

/* @dir/@name, or that with .qcow2 behind it. */
static bool find_file(struct build *b, const char *dir, const char *name)
{
	static const char *const ends[] = { "", ".qcow2" };
	for (int i = 0; i < 2; i++) {
		char path[PATH_MAX];
		struct stat st;
		int n = snprintf(path, sizeof(path), "%s%s%s%s", *name == '/' ? "" : dir,
				 *name == '/' ? "" : "/", name, ends[i]);
		if (n < (int)sizeof(path) && !stat(path, &st) && S_ISREG(st.st_mode) &&
		    realpath(path, b->base))
			return true;
	}
	return false;
}

static enum exit_status probe(struct build *b, const char *at)
{
	uint8_t head[HEAD_BYTES];
	int fd = open(b->base, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);
	if (n < 0)
		log_error("%s: %s: %s", at, b->base, strerror(errno));
	else if (!n)
		log_error("%s: %s: the file is empty: not an image", at, b->base);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return EXIT_STATUS_FILE;
	const char *format = probe_format(head, (size_t)n);
	b->base_format = !format ? "raw" : !strcmp(format, "qcow2") ? "qcow2" : NULL;
	if (b->base_format)
		return EXIT_STATUS_OK;
	log_error("%s: %s is a %s image; convert it: qemu-img convert -O qcow2", at, b->base,
		  format);
	return EXIT_STATUS_FILE;
}

/* ---- the guest kit ---- */

/* Where it is: as the user says, beside the source tree's program, or where it is installed. */
static bool find_kit(char kit[PATH_MAX])
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

/* "debian:12" is the recipe debian-12. -> false: it cannot be one's name. */
static bool recipe_name(const char *from, char out[64])
{
	size_t n = strspn(from, "abcdefghijklmnopqrstuvwxyz0123456789.:-");
	if (!n || from[n] || n >= 64 || *from == '.' || *from == '-')
		return false;
	snprintf(out, 64, "%s", from);
	for (char *p = out; *p; p++)
		if (*p == ':')
			*p = '-';
	return true;
}

static bool has_recipe(const char *kit, const char *recipe)
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

static bool make_base(struct build *b, const char *kit, const char *recipe)
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
	return got && WIFEXITED(status) && !WEXITSTATUS(status) && realpath(line, b->base);
}

static enum exit_status find_recipe(struct build *b, const char *at, const char *from)
{
	char kit[PATH_MAX], recipe[64];
	bool named = recipe_name(from, recipe);
	if (!named || !find_kit(kit) || !has_recipe(kit, recipe)) {
		log_error("%s: no such image file, beside the Charmfile or here, with or without "
			  ".qcow2%s",
			  at,
			  !named ? ""
			  : !find_kit(kit)
				  ? "; and the guest kit, which has recipes, is not found: "
				    "set CHARMVM_GUEST_KIT"
				  : "; and no recipe of the guest kit (debian:12 is one)");
		return EXIT_STATUS_FILE;
	}
	if (make_base(b, kit, recipe))
		return EXIT_STATUS_OK;
	log_error("%s: the base could not be made; %s/demo-image %s has said why", at, kit, recipe);
	return EXIT_STATUS_FAILED;
}

enum exit_status build_find_base(struct build *b)
{
	const struct charmfile_step *s = &b->cf.steps[0];
	const char *from = s->operands[0];
	char at[PATH_MAX + 128];
	snprintf(at, sizeof(at), "%s:%u: FROM %.80s", b->file, s->line, from);
	enum exit_status status = EXIT_STATUS_OK;
	if (!find_file(b, b->context, from) && !find_file(b, ".", from))
		status = find_recipe(b, at, from);
	return status ? status : probe(b, at);
}
