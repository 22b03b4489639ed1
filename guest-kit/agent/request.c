/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to a running command. */
/*
 * The child reports by a pipe that exec closes: nothing read from it means that the command runs. Between fork and exec the
 * child has this process's memory and no threads to fear, so it may do what it likes.
 */
#include "guest-kit/agent/request.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest-kit/agent/environment.h"
#include "guest-kit/agent/programs.h"
#include "guest-kit/agent/users.h"

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* ---- gathering ---- */

static int append(char ***list, unsigned int *n, char *s)
{
	char **more = realloc(*list, (*n + 2) * sizeof(*more));
	if (!more)
		return -1;
	more[(*n)++] = s;
	more[*n] = NULL;
	*list = more;
	return 0;
}

static int set(char **where, char *s)
{
	free(*where);
	*where = s;
	return 0;
}

int request_add(struct request *r, const struct frame *f)
{
	r->bytes += f->len + 1;
	if (r->bytes > AGENT_REQUEST_BYTES || ++r->nstrings > AGENT_REQUEST_STRINGS ||
	    memchr(f->payload, 0, f->len))
		return -1;
	char *s = strndup((const char *)f->payload, f->len);
	int err = -1;
	if (s && f->type == FRAME_ARG)
		err = append(&r->argv, &r->argc, s);
	else if (s && f->type == FRAME_ENV)
		err = append(&r->env, &r->nenv, s);
	else if (s && f->type == FRAME_CWD)
		err = set(&r->cwd, s);
	else if (s && f->type == FRAME_USER)
		err = set(&r->user, s);
	if (err)
		free(s);
	return err;
}

void request_free(struct request *r)
{
	for (unsigned int i = 0; i < r->argc; i++)
		free(r->argv[i]);
	for (unsigned int i = 0; i < r->nenv; i++)
		free(r->env[i]);
	free(r->argv);
	free(r->env);
	free(r->cwd);
	free(r->user);
	*r = (struct request){ 0 };
}

/* ---- pipes and terminals ---- */

struct ends {
	int in[2], out[2], err[2]; /* [0] reads, [1] writes; a terminal has one file for all */
	int report[2];
};

static void close_all(struct ends *e)
{
	int *fd = (int *)e;
	for (size_t i = 0; i < sizeof(*e) / sizeof(*fd); i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

static int open_terminal(struct ends *e, const struct request *r)
{
	struct winsize size = { .ws_col = r->cols, .ws_row = r->rows };
	int unlock = 0, master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	e->in[1] = master;
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	e->in[0] = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	ioctl(master, TIOCSWINSZ, &size);
	e->out[0] = fcntl(master, F_DUPFD_CLOEXEC, 3);
	e->out[1] = fcntl(e->in[0], F_DUPFD_CLOEXEC, 3);
	return e->in[0] < 0 || e->out[0] < 0 || e->out[1] < 0 ? -errno : 0;
}

static int open_ends(struct ends *e, const struct request *r)
{
	memset(e, -1, sizeof(*e));
	if (pipe2(e->report, O_CLOEXEC) < 0)
		return -errno;
	if (r->flags & EXEC_TTY)
		return open_terminal(e, r);
	return pipe2(e->in, O_CLOEXEC) < 0 || pipe2(e->out, O_CLOEXEC) < 0 ||
			       pipe2(e->err, O_CLOEXEC) < 0
		       ? -errno
		       : 0;
}

/* ---- the child ---- */

struct report {
	enum agent_error what;
	char why[256];
};

static void __attribute__((noreturn)) give_up(int fd, enum agent_error what, const char *name)
{
	struct report rep = { .what = what };
	int err = errno;
	snprintf(rep.why, sizeof(rep.why), "%.128s: %s", name, strerror(err));
	if (write(fd, &rep, sizeof(rep)) < 0) {
		/* Then the agent has gone, and nobody asks. */
	}
	_exit(127);
}

static void fresh_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The agent is not to be killed for want of memory; its children are as good as any. */
static void fresh_oom_score(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "0", 1) < 0) {
		/* A kernel without it. */
	}
	close(fd);
}

static void fresh_environment(const struct request *r, const struct user *u)
{
	clearenv();
	setenv("PATH", default_path, 1);
	setenv("LANG", "C.UTF-8", 1);
	environment_read("/etc/environment");
	setenv("HOME", u->home, 1);
	setenv("USER", u->name, 1);
	setenv("LOGNAME", u->name, 1);
	setenv("SHELL", u->shell, 1);
	for (unsigned int i = 0; i < r->nenv; i++)
		if (strchr(r->env[i], '=') > r->env[i])
			putenv(r->env[i]);
}

static void __attribute__((noreturn))
exec_command(const struct request *r, const struct user *u, int report)
{
	char name[PATH_MAX];
	const char *slash = strrchr(u->shell, '/');
	snprintf(name, sizeof(name), "-%.255s", slash ? slash + 1 : u->shell);
	char *shell[] = { name, NULL };
	if (r->argc)
		execvp(r->argv[0], r->argv);
	else
		execv(u->shell, shell);
	give_up(report, errno == ENOENT ? AGENT_ERROR_NOT_FOUND : AGENT_ERROR_CANNOT_RUN,
		r->argc ? r->argv[0] : u->shell);
}

static void __attribute__((noreturn))
child(const struct request *r, const struct user *u, const struct ends *e)
{
	bool tty = r->flags & EXEC_TTY;
	setsid();
	if (dup2(e->in[0], 0) < 0 || dup2(e->out[1], 1) < 0 ||
	    dup2(tty ? e->out[1] : e->err[1], 2) < 0 || (tty && ioctl(0, TIOCSCTTY, 0) < 0))
		give_up(e->report[1], AGENT_ERROR_LIMIT, "descriptors");
	fresh_signals();
	fresh_oom_score();
	/* Before the user is changed: who owns the terminal may chmod it. */
	if (tty && geteuid() == 0 && fchown(0, u->uid, (gid_t)-1) < 0)
		give_up(e->report[1], AGENT_ERROR_CANNOT_RUN, "the terminal");
	errno = -user_become(u);
	if (errno)
		give_up(e->report[1], AGENT_ERROR_USER, u->name);
	umask(022);
	if (chdir(r->cwd ? r->cwd : u->home) < 0 && (r->cwd || chdir("/") < 0))
		give_up(e->report[1], AGENT_ERROR_CANNOT_RUN, r->cwd ? r->cwd : "/");
	fresh_environment(r, u);
	if (!(r->flags & EXEC_BUILTIN))
		exec_command(r, u, e->report[1]);
	/* No exec closes what this process has open. */
	close_range(3, ~0U, 0);
	_exit(program_run((int)r->argc, r->argv));
}

/* ---- the start ---- */

static int take_report(struct ends *e, pid_t pid, enum agent_error *what, char why[256])
{
	struct report rep;
	close(e->report[1]);
	e->report[1] = -1;
	(void)pid; /* reaped with the others */
	if (read(e->report[0], &rep, sizeof(rep)) != sizeof(rep))
		return 0;
	*what = rep.what;
	memcpy(why, rep.why, sizeof(rep.why));
	return -1;
}

static int keep(int *fd)
{
	int kept = *fd;
	*fd = -1;
	if (kept >= 0)
		fcntl(kept, F_SETFL, fcntl(kept, F_GETFL) | O_NONBLOCK);
	return kept;
}

int request_start(const struct request *r, struct command *c, enum agent_error *what, char why[256])
{
	struct user u;
	struct ends e;
	pid_t pid;
	if (user_find(r->user, &u)) {
		*what = AGENT_ERROR_USER;
		snprintf(why, 256, "no user '%.64s'", r->user ? r->user : "root");
		return -1;
	}
	int err = open_ends(&e, r);
	pid = err ? -1 : fork();
	if (pid < 0) {
		*what = AGENT_ERROR_LIMIT;
		snprintf(why, 256, "cannot start a process: %s", strerror(err ? -err : errno));
		close_all(&e);
		return -1;
	}
	if (!pid)
		child(r, &u, &e);
	err = take_report(&e, pid, what, why);
	if (!err)
		*c = (struct command){ pid, keep(&e.in[1]), keep(&e.out[0]), keep(&e.err[0]) };
	close_all(&e);
	return err;
}
