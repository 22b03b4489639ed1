/* SPDX-License-Identifier: Apache-2.0 */
/* Running qemu-img. */
/*
 * How it works. The source is named to it as what it was found to be, by a descriptor that it inherits, and without a backing
 * file whatever it says: nothing is guessed from its contents and no name in it is followed. What it says on its standard
 * output is read as it comes (its answer, or how far it is); of its standard error the first line is told.
 */
#include "vmm/import/qemu_img.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/image/common.h"
#include "tools/image/output.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"

enum {
	LOOK_MS = 200,
	SAID_MAX = 16 * 1024, /* of either stream; the rest is read and dropped */
	STATUS_NO_PROGRAM = 127,
	NAME_BYTES = 256,
};
#define MEMORY_MAX (2 * GIB) /* a claimed table cannot take more */

struct stream {
	int fd; /* -1: ended */
	size_t n;
	char said[SAID_MAX + 1];
};

struct run {
	struct stream out, err;
	struct image_progress *progress; /* NULL: out is an answer, and kept */
};

/* ---- the child ---- */

/* Only what may be called after fork(2) of a process that may have threads. */
__attribute__((noreturn)) static void become(char *const *argv, const int *keep, int out, int err)
{
	const struct rlimit memory = { MEMORY_MAX, MEMORY_MAX };
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_AS, &memory);
	for (unsigned int i = 0; i < 2; i++)
		if (keep[i] >= 0)
			fcntl(keep[i], F_SETFD, 0);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? STATUS_NO_PROGRAM : STATUS_NO_PROGRAM - 1);
}

/* -> its process, or -errno. */
static pid_t start(struct run *r, char *const *argv, const int *keep)
{
	int out[2], err[2];
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	if (pipe2(err, O_CLOEXEC) < 0) {
		close(out[0]);
		close(out[1]);
		return -EMFILE;
	}
	fflush(NULL);
	pid_t pid = fork();
	if (!pid)
		become(argv, keep, out[1], err[1]);
	close(out[1]);
	close(err[1]);
	r->out.fd = out[0];
	r->err.fd = err[0];
	if (pid < 0) {
		pid = -errno;
		close(out[0]);
		close(err[0]);
	}
	return pid;
}

/* ---- what it says ---- */

/* "    (12.34/100%)\r", again and again. */
static void tell_progress(struct run *r)
{
	char *open = strrchr(r->out.said, '(');
	if (open && strchr(open, '/'))
		image_progress(r->progress, (uint64_t)(strtod(open + 1, NULL) * 100));
	if (r->out.n > SAID_MAX / 2)
		r->out.n = 0;
}

static void read_stream(struct stream *s)
{
	char rest[512];
	bool full = s->n == SAID_MAX;
	ssize_t n =
		read(s->fd, full ? rest : s->said + s->n, full ? sizeof(rest) : SAID_MAX - s->n);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		close(s->fd);
		s->fd = -1;
	} else if (!full) {
		s->n += (size_t)n;
		s->said[s->n] = '\0';
	}
}

/* Until both streams have ended. -> 0, or -EINTR: it was ended. */
static int listen_to(struct run *r, pid_t pid)
{
	int err = 0;
	while (r->out.fd >= 0 || r->err.fd >= 0) {
		struct pollfd p[] = { { r->out.fd, POLLIN, 0 }, { r->err.fd, POLLIN, 0 } };
		if (poll(p, 2, LOOK_MS) > 0) {
			if (p[0].revents)
				read_stream(&r->out);
			if (p[1].revents)
				read_stream(&r->err);
		}
		if (r->progress)
			tell_progress(r);
		if (!err && output_interrupted()) {
			kill(pid, SIGKILL);
			err = -EINTR;
		}
	}
	return err;
}

static int complain(const struct run *r, int status, const char *shown)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_NO_PROGRAM) {
		log_error("%s: this format needs qemu-img: install qemu-utils", shown);
		return -ENOPKG;
	}
	const char *why = r->err.said;
	if (!strncmp(why, "qemu-img: ", 10))
		why += 10;
	int n = (int)strcspn(why, "\n");
	log_error("%s: qemu-img cannot convert it: %.*s", shown, n ? n : 17,
		  n ? why : "it ended at once.");
	return -EINVAL;
}

static int run(struct run *r, char *const *argv, const int *keep, const char *shown)
{
	int status = 0;
	pid_t pid = start(r, argv, keep);
	if (pid < 0) {
		log_error("cannot start qemu-img: %s", strerror(-pid));
		return pid;
	}
	int err = listen_to(r, pid);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r->progress)
		image_progress_end(r->progress);
	return err || !status ? err : complain(r, status, shown);
}

/* ---- what is asked ---- */

/* As its option --image-opts would have it, but with a null. */
static void name_source(const struct qemu_img_source *s, char out[NAME_BYTES])
{
	snprintf(out, NAME_BYTES,
		 "json:{\"driver\":\"%s\",\"backing\":null,\"file\":{\"driver\":\"file\","
		 "\"filename\":\"/proc/self/fd/%d\"}}",
		 s->format, s->fd);
}

static int parse_size(const char *text, uint64_t *bytes)
{
	json_t *o = json_loads(text, 0, NULL);
	const json_t *v = json_object_get(o, "virtual-size");
	bool ok = json_is_integer(v) && json_integer_value(v) > 0;
	if (ok)
		*bytes = (uint64_t)json_integer_value(v);
	json_decref(o);
	return ok ? 0 : -EINVAL;
}

int qemu_img_size(const struct qemu_img_source *s, uint64_t *bytes)
{
	char name[NAME_BYTES];
	char *argv[] = { "qemu-img", "info", "--output=json", name, NULL };
	const int keep[] = { s->fd, -1 };
	struct run *r = calloc(1, sizeof(*r));
	if (!r) {
		log_error("out of memory");
		return -ENOMEM;
	}
	name_source(s, name);
	int err = run(r, argv, keep, s->shown);
	if (!err && (err = parse_size(r->out.said, bytes)))
		log_error("%s: qemu-img does not say how large its disk is", s->shown);
	free(r);
	return err;
}

int qemu_img_convert(const struct qemu_img_source *s, int to)
{
	char name[NAME_BYTES], target[64];
	char *argv[] = { "qemu-img", "convert", "-p", "-n",   "--target-is-zero",
			 "-O",	     "qcow2",	name, target, NULL };
	const int keep[] = { s->fd, to };
	struct image_progress progress;
	struct run *r = calloc(1, sizeof(*r));
	if (!r) {
		log_error("out of memory");
		return -ENOMEM;
	}
	name_source(s, name);
	snprintf(target, sizeof(target), "/proc/self/fd/%d", to);
	image_progress_begin(&progress, 100 * 100, false, false);
	r->progress = &progress;
	int err = run(r, argv, keep, s->shown);
	free(r);
	return err;
}
