/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lab's process 1: runs one command for lab_host and reports how it ended.
 *
 * How it works
 *   lab_host speaks on virtio ports: lab.ctl (messages, lab_wire.h), lab.in,
 * lab.out and lab.err (bytes), lab.net (connections to what listens here,
 * lab_net.h). The command gets pipes, or a terminal of its own when lab_host
 * has one, and this process copies between them and the ports: a port can be
 * opened only once, so it could not be anyone's /dev/stdout. One poll loop, no
 * threads. A small child blocks on a tracepoint and wakes the loop when a TCP
 * socket begins or ceases to listen; the list itself comes from /proc/net/tcp.
 * Nothing polls.
 *
 * Invariant
 *   LAB_MSG_EXIT is sent after the last output byte was handed over and after
 * the host's file system was synced; lab_host kills the machine as soon as it
 * has that and those bytes.
 */
#include "lab_job.h"
#include "lab_net.h"
#include "lab_pump.h"
#include "lab_watch.h"
#include "lab_wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	QUIET_MS = 300,	      /* how long output of left-over processes is waited for */
	PORT_WAIT_MS = 20000, /* for the virtio ports to appear */
	OPEN_FILES_MAX = 524288,
};

struct guest {
	int ctl;
	int signals;
	int pty;	/* or -1 */
	int stdin_pipe; /* the command's standard input, or -1 */
	pid_t job;
	bool job_done;
	uint32_t status;
	int64_t quiet_until_ms;
	struct lab_watch *watch; /* or NULL */
	struct lab_pump in, out, err;
	struct lab_rx rx;
	struct lab_net *net;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

__attribute__((noreturn)) static void die(const char *what)
{
	FILE *console = fopen("/dev/console", "w");

	if (console)
		fprintf(console, "lab: %s: %s\n", what, strerror(errno));
	_exit(1); /* process 1: the kernel panics, QEMU exits, lab_host reports */
}

static void set_nonblock(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* --- virtio ports --- */

static bool port_has_name(const char *dev, const char *name)
{
	char path[300];
	char line[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", dev);
	f = fopen(path, "re");
	if (!f)
		return false;
	if (fgets(line, sizeof(line), f))
		line[strcspn(line, "\n")] = 0;
	fclose(f);
	return !strcmp(line, name);
}

static int port_try_open(const char *name)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *de;
	char path[300];
	int fd = -1;

	if (!dir)
		return -1;
	while (fd < 0 && (de = readdir(dir))) {
		if (!port_has_name(de->d_name, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", de->d_name);
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	closedir(dir);
	return fd;
}

/* The kernel adds ports a little after the module is there. */
static int port_open(const char *name)
{
	int64_t give_up_ms = now_ms() + PORT_WAIT_MS;
	int fd;

	while ((fd = port_try_open(name)) < 0) {
		if (now_ms() > give_up_ms)
			die(name);
		nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
	}
	return fd;
}

/* --- the job --- */

static void job_receive(struct guest *g, struct lab_job *job)
{
	const struct lab_msg_head *msg;
	void *blob;
	int rc;

	lab_wire_send(g->ctl, LAB_MSG_HELLO, NULL, 0);
	while (!(msg = lab_wire_peek(&g->rx))) {
		poll(&(struct pollfd){ .fd = g->ctl, .events = POLLIN }, 1, -1);
		rc = lab_wire_fill(&g->rx, g->ctl);
		if (rc <= 0 && rc != -EAGAIN)
			die("control port");
	}
	if (msg->type != LAB_MSG_JOB)
		die("broken job");
	blob = malloc(msg->len_bytes);
	if (!blob)
		die("memory");
	memcpy(blob, msg + 1, msg->len_bytes);
	if (lab_job_unpack(job, blob, msg->len_bytes))
		die("broken job");
	lab_wire_drop(&g->rx);
}

static void become_user(const struct lab_job *job)
{
	char path[64];

	snprintf(path, sizeof(path), "/run/user/%u", job->head.uid);
	mkdir(path, 0700);
	if (chown(path, job->head.uid, job->head.gid) ||
	    setgroups(job->head.ngroups, job->groups) || setgid(job->head.gid) ||
	    setuid(job->head.uid)) {
		perror("lab: cannot become the caller");
		_exit(126);
	}
}

/* In the child; never returns. */
static void job_exec(const struct lab_job *job)
{
	struct rlimit files = { .rlim_cur = 1024, .rlim_max = OPEN_FILES_MAX };
	sigset_t none;
	int saved;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setrlimit(RLIMIT_NOFILE, &files);
	become_user(job);
	umask(job->head.umask);
	if (chdir(job->cwd)) {
		fprintf(stderr, "lab: cannot enter %s: %s\n", job->cwd, strerror(errno));
		_exit(126);
	}
	environ = job->envp;
	execvp(job->argv[0], job->argv);
	saved = errno;
	fprintf(stderr, "lab: cannot run %s: %s\n", job->argv[0], strerror(saved));
	_exit(saved == ENOENT ? 127 : 126);
}

static void winsize_set(int pty, const struct lab_winsize *win)
{
	struct winsize ws = { .ws_row = win->rows, .ws_col = win->cols };

	ioctl(pty, TIOCSWINSZ, &ws);
}

/* Makes 0, 1, 2 of the child and the pumps' ends of them. */
static void job_start(struct guest *g, const struct lab_job *job)
{
	bool err_own = job->head.flags & LAB_JOB_ERR_OWN;
	bool tty = job->head.flags & LAB_JOB_TTY;
	int in[2] = { -1, -1 };
	int out[2] = { -1, -1 };
	int err[2] = { -1, -1 };

	if (tty) {
		if (openpty(&out[0], &out[1], NULL, NULL, NULL))
			die("terminal");
		winsize_set(out[0], &job->head.win);
		fchown(out[1], job->head.uid, 5);
		in[0] = out[1];
		in[1] = dup(out[0]);
		g->pty = dup(out[0]);
	} else if (pipe(in) || pipe(out)) {
		die("pipe");
	}
	if (err_own && pipe(err))
		die("pipe");

	g->job = fork();
	if (g->job < 0)
		die("fork");
	if (!g->job) {
		setsid();
		if (tty)
			ioctl(out[1], TIOCSCTTY, 0);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err_own ? err[1] : out[1], 2);
		closefrom(3);
		job_exec(job);
	}
	if (!tty)
		close(in[0]);
	close(out[1]);
	if (err_own)
		close(err[1]);
	g->in.to = in[1];
	g->stdin_pipe = tty ? -1 : in[1];
	g->out.from = out[0];
	g->err.from = err[0];
	set_nonblock(in[1]);
	set_nonblock(out[0]);
	if (err_own)
		set_nonblock(err[0]);
}

/* --- the loop --- */

static void reap(struct guest *g)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(g->signals, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != g->job)
			continue;
		g->job_done = true;
		g->quiet_until_ms = now_ms() + QUIET_MS;
		g->status = (uint32_t)(WIFSIGNALED(status) ? 128 + WTERMSIG(status)
							   : WEXITSTATUS(status));
	}
}

/* The command shall see what it would see here: a broken pipe. */
static void output_close(struct lab_pump *p)
{
	if (p->from >= 0)
		close(p->from);
	p->from = -1;
}

static void control_message(struct guest *g, const struct lab_msg_head *msg)
{
	const void *payload = msg + 1;
	uint32_t number = 0;

	if (msg->len_bytes == sizeof(number))
		memcpy(&number, payload, sizeof(number));
	switch (msg->type) {
	case LAB_MSG_SIGNAL:
		if (!g->job_done)
			kill(-g->job, (int)number);
		break;
	case LAB_MSG_WINSIZE:
		if (g->pty >= 0 && msg->len_bytes == sizeof(struct lab_winsize))
			winsize_set(g->pty, payload);
		break;
	case LAB_MSG_HANGUP: output_close(number == 2 ? &g->err : &g->out); break;
	}
}

static void control_turn(struct guest *g)
{
	const struct lab_msg_head *msg;
	int rc = lab_wire_fill(&g->rx, g->ctl);

	if (rc <= 0 && rc != -EAGAIN)
		die("control port");
	while ((msg = lab_wire_peek(&g->rx))) {
		control_message(g, msg);
		lab_wire_drop(&g->rx);
	}
}

static bool is_finished(const struct guest *g)
{
	if (!g->job_done || g->out.len_bytes || g->err.len_bytes)
		return false;
	if (g->out.from < 0 && g->err.from < 0)
		return true;
	return now_ms() >= g->quiet_until_ms;
}

static int next_timeout_ms(const struct guest *g)
{
	int64_t next_ms = lab_watch_next_ms(g->watch);
	int64_t left_ms;

	if (g->job_done && g->quiet_until_ms < next_ms)
		next_ms = g->quiet_until_ms;
	if (next_ms == INT64_MAX)
		return -1;
	left_ms = next_ms - now_ms();
	return left_ms < 0 ? 0 : (int)left_ms;
}

static void input_turn(struct guest *g, const struct pollfd *pfd)
{
	lab_pump_turn(&g->in, pfd);
	if (lab_pump_is_empty(&g->in) && g->stdin_pipe >= 0) {
		close(g->stdin_pipe); /* end of input reaches the command */
		g->stdin_pipe = -1;
		g->in.to = -1;
	}
}

static void turn(struct guest *g)
{
	struct pollfd pfd[7] = {
		{ .fd = g->ctl, .events = POLLIN },
		{ .fd = g->signals, .events = POLLIN },
		{ .fd = lab_watch_fd(g->watch), .events = POLLIN },
		{ .fd = lab_net_fd(g->net), .events = POLLIN },
		lab_pump_poll(&g->in),
		lab_pump_poll(&g->out),
		lab_pump_poll(&g->err),
	};
	bool moved;

	if (poll(pfd, 7, next_timeout_ms(g)) < 0)
		return;
	if (pfd[0].revents)
		control_turn(g);
	if (pfd[1].revents)
		reap(g);
	if (pfd[2].revents)
		lab_watch_event(g->watch);
	lab_watch_due(g->watch, now_ms());
	if (pfd[3].revents)
		lab_net_turn(g->net);
	input_turn(g, &pfd[4]);
	moved = lab_pump_turn(&g->out, &pfd[5]);
	moved = lab_pump_turn(&g->err, &pfd[6]) || moved;
	if (moved)
		g->quiet_until_ms = now_ms() + QUIET_MS;
}

static void finish(struct guest *g)
{
	struct lab_exit last = {
		.status = g->status,
		.out_bytes = g->out.total_bytes,
		.err_bytes = g->err.total_bytes,
	};
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root >= 0)
		syncfs(root);
	lab_wire_send(g->ctl, LAB_MSG_EXIT, &last, sizeof(last));
	for (;;)
		pause();
}

/*
 * The first VM makes Linux patch a branch in __schedule() (preempt_notifier_key), and the end of the last one
 * patches it back: a breakpoint is written over the instruction, then the instruction. Where QEMU (seen with
 * 7.2) is translating that code on another processor at the same moment, it keeps the breakpoint in its
 * translation for ever, and the lab stands still with every processor in exc_int3(). So one VM, which never
 * runs, is there as long as the lab, and the branch is patched once, before there is anything to disturb.
 */
static void hold_a_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0 || ioctl(kvm, KVM_CREATE_VM, 0) < 0)
		die("/dev/kvm");
}

int main(void)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct lab_job job;
	sigset_t set;

	if (!g)
		die("memory");
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	g->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	g->in.from = port_open("lab.in");
	g->out.to = port_open("lab.out");
	g->err.to = port_open("lab.err");
	g->net = lab_net_new(port_open("lab.net"));
	g->ctl = port_open("lab.ctl");
	g->pty = -1;
	g->in.chunk_bytes = g->out.chunk_bytes = g->err.chunk_bytes = LAB_PUMP_BYTES;
	if (!g->net)
		die("memory");

	hold_a_vm();
	job_receive(g, &job);
	clock_settime(CLOCK_REALTIME,
		      &(struct timespec){ .tv_sec = job.head.now_s, .tv_nsec = job.head.now_ns });
	if (job.head.flags & LAB_JOB_WATCH_TCP)
		g->watch = lab_watch_new(g->ctl);
	job_start(g, &job);
	while (!is_finished(g))
		turn(g);
	finish(g);
}
