/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs QEMU with one command in it and behaves as that command would: same
 * standard input, output, error, terminal, signals and exit status. Called by
 * tests/lab/lab, which prepares the QEMU line.
 *
 * How it works
 *   Every channel to QEMU is an inherited socket (enum lab_fd; the QEMU line
 * names them by number), so there is no file or socket path to clean up; the
 * scratch disk is a file without a name. QEMU dies with this process
 * (PDEATHSIG), however that ends. One poll loop, no threads. Nothing is written
 * unless poll() found room, and then at most PIPE_BUF bytes, so that a slow
 *   reader of our output delays neither signals nor time limits.
 *
 *   States: boot -> running -> (stopping) -> draining -> end. The lab's last
 * message says how many bytes of output there were; we end when all of them are
 * through.
 */
#include "lab_job.h"
#include "lab_net.h"
#include "lab_pump.h"
#include "lab_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* The descriptors as QEMU sees them; tests/lab/lab has the same numbers. */
enum lab_fd {
	LAB_FD_CTL = 3,
	LAB_FD_IN,
	LAB_FD_OUT,
	LAB_FD_ERR,
	LAB_FD_LOG, /* the lab kernel's serial console, and QEMU's own words */
	LAB_FD_NET,
	LAB_FD_SCRATCH,
	LAB_FD_END,
};

enum {
	STATUS_TIMEOUT = 124,
	STATUS_LAB_FAILED = 125,
	BOOT_LIMIT_MS = 180000,
	STOP_GRACE_MS = 10000,	 /* between the signal passed on and the end of the lab */
	TIMEOUT_GRACE_MS = 5000, /* the same after --time */
	LOG_TAIL_BYTES = 16384,	 /* kept of the lab's console, for when something breaks */
	RANGES_MAX = 64,
};

struct port_range {
	unsigned int first;
	unsigned int last;
};

struct options {
	int64_t time_ms; /* 0: no limit */
	int64_t scratch_bytes;
	const char *scratch_dir;
	const char *log_path;
	bool as_root;
	struct port_range ranges[RANGES_MAX];
	size_t range_count;
	char **qemu; /* NULL-terminated */
	char **argv;
};

struct host {
	struct options opt;
	int fds[LAB_FD_END]; /* our ends */
	int signals;
	pid_t qemu;
	bool tty;
	bool tty_raw;
	int tty_guard; /* write end of the guard's pipe */
	pid_t tty_guard_pid;
	struct termios tty_saved;
	bool running;
	bool exited;	 /* the last message is here */
	bool merged_err; /* our standard error is the same file as standard output */
	int stop_status; /* what to return when the command does not end by itself */
	int64_t limit_ms;
	struct lab_exit last;
	struct lab_pump in, out, err;
	struct lab_rx rx;
	char log_tail[LOG_TAIL_BYTES];
	size_t log_bytes;
	FILE *log_file;
	struct lab_net *net;
	uint32_t refused_port; /* the last one complained about */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

__attribute__((format(printf, 2, 3))) static void say(const struct host *h, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("lab: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputs(h->tty_raw ? "\r\n" : "\n", stderr);
	va_end(ap);
}

/* --- the way out --- */

static void tty_restore(struct host *h)
{
	if (!h->tty_raw)
		return;
	tcsetattr(0, TCSADRAIN, &h->tty_saved);
	h->tty_raw = false;
}

static void tty_guard_stop(struct host *h)
{
	if (h->tty_guard_pid <= 0)
		return;
	if (write(h->tty_guard, "", 1) == 1) /* it has nothing left to do */
		waitpid(h->tty_guard_pid, NULL, 0);
	h->tty_guard_pid = 0;
}

__attribute__((noreturn)) static void finish(struct host *h, int status)
{
	if (h->qemu > 0) {
		kill(h->qemu, SIGKILL);
		waitpid(h->qemu, NULL, 0);
	}
	tty_restore(h);
	tty_guard_stop(h);
	exit(status);
}

static void last_words(struct host *h)
{
	if (h->log_bytes)
		say(h, "last words of the lab's console and of QEMU:");
	for (size_t i = 0; i < h->log_bytes; i++) {
		if (h->log_tail[i] != '\r')
			fputc(h->log_tail[i], stderr);
	}
}

__attribute__((noreturn)) static void lab_failed(struct host *h, const char *why)
{
	tty_restore(h);
	last_words(h);
	say(h, "%s (status %d is the lab's own failure, not the command's)", why,
	    STATUS_LAB_FAILED);
	finish(h, STATUS_LAB_FAILED);
}

__attribute__((noreturn)) static void setup_failed(struct host *h, const char *what)
{
	say(h, "%s: %s", what, strerror(errno));
	finish(h, STATUS_LAB_FAILED);
}

/* --- terminal --- */

/* In the guard: waits until the other end of the pipe is closed or says that
 * all is well. */
__attribute__((noreturn)) static void tty_guard_run(const struct host *h, int from)
{
	sigset_t all;
	char word;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL); /* SIGTTOU, too: tcsetattr() works in the background */
	setpgid(0, 0);
	if (read(from, &word, 1) == 0)
		tcsetattr(0, TCSANOW, &h->tty_saved);
	_exit(0);
}

/* Not even SIGKILL may leave the terminal raw: a child waits for our end of a
 * pipe to close. */
static void tty_guard_start(struct host *h)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		setup_failed(h, "pipe");
	pid = fork();
	if (pid < 0)
		setup_failed(h, "fork");
	if (!pid) {
		close(ends[1]);
		tty_guard_run(h, ends[0]);
	}
	close(ends[0]);
	h->tty_guard = ends[1];
	h->tty_guard_pid = pid;
}

static struct lab_winsize winsize_get(void)
{
	struct winsize ws = { .ws_row = 24, .ws_col = 80 };

	ioctl(0, TIOCGWINSZ, &ws);
	return (struct lab_winsize){ .rows = ws.ws_row, .cols = ws.ws_col };
}

static void tty_raw(struct host *h)
{
	struct termios raw = h->tty_saved;

	cfmakeraw(&raw);
	h->tty_raw = true;
	tcsetattr(0, TCSADRAIN, &raw);
}

/* --- QEMU --- */

static int scratch_file(struct host *h)
{
	char path[PATH_MAX];
	int fd = open(h->opt.scratch_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) { /* a file system without nameless files */
		snprintf(path, sizeof(path), "%s/charmvm-lab-XXXXXX", h->opt.scratch_dir);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
	}
	if (fd < 0 || ftruncate(fd, h->opt.scratch_bytes))
		setup_failed(h, h->opt.scratch_dir);
	return fd;
}

static void scratch_format(struct host *h, int fd)
{
	char path[64];
	pid_t pid;
	int status;

	pid = fork();
	if (pid < 0)
		setup_failed(h, "fork");
	if (!pid) {
		dup2(fd, 3);
		snprintf(path, sizeof(path), "/proc/self/fd/3");
		execlp("mke2fs", "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-O",
		       "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard", path,
		       (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0 || status)
		say(h, "mke2fs failed (package e2fsprogs): there is no $LAB_SCRATCH");
}

/* In the child; never returns. Descriptors were made above LAB_FD_END, so none
 * is overwritten. */
static void qemu_exec(const struct host *h, const int theirs[LAB_FD_END], pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid(); /* the terminal's Ctrl-C is for us alone */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	for (int i = LAB_FD_CTL; i < LAB_FD_END; i++)
		dup2(theirs[i], i);
	dup2(open("/dev/null", O_RDONLY), 0);
	dup2(LAB_FD_LOG, 1);
	dup2(LAB_FD_LOG, 2);
	closefrom(LAB_FD_END);
	execvp(h->opt.qemu[0], h->opt.qemu);
	dprintf(2, "cannot run %s: %s\n", h->opt.qemu[0], strerror(errno));
	_exit(127);
}

static int fd_raise(struct host *h, int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, LAB_FD_END);

	if (high < 0)
		setup_failed(h, "descriptors");
	close(fd);
	return high;
}

static void qemu_start(struct host *h)
{
	int theirs[LAB_FD_END];
	pid_t parent = getpid();

	for (int i = LAB_FD_CTL; i < LAB_FD_SCRATCH; i++) {
		int ends[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
			setup_failed(h, "socketpair");
		h->fds[i] = fd_raise(h, ends[0]);
		theirs[i] = fd_raise(h, ends[1]);
		fcntl(h->fds[i], F_SETFL, O_RDWR | O_NONBLOCK);
	}
	theirs[LAB_FD_SCRATCH] = fd_raise(h, scratch_file(h));
	scratch_format(h, theirs[LAB_FD_SCRATCH]);
	h->qemu = fork();
	if (h->qemu < 0)
		setup_failed(h, "fork");
	if (!h->qemu)
		qemu_exec(h, theirs, parent);
	for (int i = LAB_FD_CTL; i < LAB_FD_END; i++)
		close(theirs[i]);
}

/* --- ports passed on --- */

static bool port_is_wanted(const struct options *opt, unsigned int port)
{
	for (size_t i = 0; i < opt->range_count; i++) {
		if (port >= opt->ranges[i].first && port <= opt->ranges[i].last)
			return true;
	}
	return false;
}

static void port_listen(struct host *h, const struct lab_listen *l)
{
	int rc = port_is_wanted(&h->opt, l->port) ? lab_net_listen(h->net, l) : 0;

	if (!rc || h->refused_port == l->port) /* one line for both loopbacks */
		return;
	if (l->is_v6 && rc != -EADDRINUSE) /* a machine without IPv6 is no news */
		return;
	h->refused_port = l->port;
	say(h, "port %u is not passed on: %s", l->port,
	    rc == -EADDRINUSE ? "it is taken on this machine" : strerror(-rc));
}

/* --- the job --- */

static void job_send(struct host *h)
{
	uint32_t flags = (h->tty ? LAB_JOB_TTY : 0) | (h->merged_err ? 0 : LAB_JOB_ERR_OWN) |
			 (h->opt.range_count ? LAB_JOB_WATCH_TCP : 0);
	size_t blob_bytes = 0;
	void *blob;
	int rc =
		lab_job_pack(h->opt.argv, h->opt.as_root, flags, winsize_get(), &blob, &blob_bytes);

	if (!rc)
		rc = lab_wire_send(h->fds[LAB_FD_CTL], LAB_MSG_JOB, blob, blob_bytes);
	if (rc) {
		say(h, "cannot send the command to the lab: %s", strerror(-rc));
		finish(h, STATUS_LAB_FAILED);
	}
	free(blob);
	h->running = true;
	h->limit_ms = h->opt.time_ms ? now_ms() + h->opt.time_ms : INT64_MAX;
	h->stop_status = STATUS_TIMEOUT;
	if (h->tty)
		tty_raw(h);
}

static void job_signal(struct host *h, int number, int64_t grace_ms)
{
	uint32_t n = (uint32_t)number;

	lab_wire_send(h->fds[LAB_FD_CTL], LAB_MSG_SIGNAL, &n, sizeof(n));
	h->limit_ms = now_ms() + grace_ms;
}

/* --- byte streams --- */

/* A terminal is read only while we are its foreground job: else we would be
 * stopped. */
static struct pollfd input_poll(const struct host *h)
{
	struct pollfd pfd = lab_pump_poll(&h->in);

	if (!h->running || (!h->in.len_bytes && isatty(0) && tcgetpgrp(0) != getpgrp()))
		pfd.fd = -1;
	return pfd;
}

static void input_turn(struct host *h, const struct pollfd *pfd)
{
	if (lab_pump_turn(&h->in, pfd) && lab_pump_is_empty(&h->in))
		shutdown(h->fds[LAB_FD_IN], SHUT_WR); /* the command's end of input */
}

static void output_turn(struct host *h, struct lab_pump *p, const struct pollfd *pfd,
			uint32_t stream)
{
	bool had_reader = p->to >= 0;

	lab_pump_turn(p, pfd);
	if (had_reader && p->to < 0 && !h->exited)
		lab_wire_send(h->fds[LAB_FD_CTL], LAB_MSG_HANGUP, &stream, sizeof(stream));
}

static void log_turn(struct host *h)
{
	char text[4096];
	ssize_t got = read(h->fds[LAB_FD_LOG], text, sizeof(text));
	size_t excess_bytes;

	if (got <= 0)
		return;
	if (h->log_file) {
		fwrite(text, 1, (size_t)got, h->log_file);
		fflush(h->log_file);
	}
	if (h->log_bytes + (size_t)got > LOG_TAIL_BYTES) {
		excess_bytes = h->log_bytes + (size_t)got - LOG_TAIL_BYTES;
		h->log_bytes -= excess_bytes;
		memmove(h->log_tail, h->log_tail + excess_bytes, h->log_bytes);
	}
	memcpy(h->log_tail + h->log_bytes, text, (size_t)got);
	h->log_bytes += (size_t)got;
}

/* --- the loop --- */

static void control_message(struct host *h, const struct lab_msg_head *msg)
{
	struct lab_listen l = { 0 };

	if (msg->len_bytes == sizeof(l))
		memcpy(&l, msg + 1, sizeof(l));
	switch (msg->type) {
	case LAB_MSG_HELLO:
		if (!h->running)
			job_send(h);
		break;
	case LAB_MSG_EXIT:
		if (msg->len_bytes != sizeof(h->last))
			lab_failed(h, "the lab's last message is broken");
		memcpy(&h->last, msg + 1, sizeof(h->last));
		h->exited = true;
		break;
	case LAB_MSG_LISTEN: port_listen(h, &l); break;
	case LAB_MSG_UNLISTEN: lab_net_unlisten(h->net, &l); break;
	}
}

static void control_turn(struct host *h)
{
	const struct lab_msg_head *msg;
	int rc = lab_wire_fill(&h->rx, h->fds[LAB_FD_CTL]);

	if (rc < 0 && rc != -EAGAIN)
		lab_failed(h, "lost the lab's control port");
	while ((msg = lab_wire_peek(&h->rx))) {
		control_message(h, msg);
		lab_wire_drop(&h->rx);
	}
}

static void qemu_ended(struct host *h)
{
	int status;

	if (waitpid(h->qemu, &status, WNOHANG) != h->qemu)
		return;
	h->qemu = 0;
	log_turn(h);
	control_turn(h);
	if (h->exited)
		return;
	if (WIFSIGNALED(status))
		lab_failed(h, "QEMU was killed");
	lab_failed(h, h->running ? "the lab's kernel ended" : "the lab did not start");
}

static void stop_asked(struct host *h, int number)
{
	if (!h->running || h->stop_status != STATUS_TIMEOUT)
		finish(h, 128 + number); /* nothing to stop yet, or asked twice */
	h->stop_status = 128 + number;
	job_signal(h, number, STOP_GRACE_MS);
}

static void signals_turn(struct host *h)
{
	struct signalfd_siginfo info;
	struct lab_winsize win;

	while (read(h->signals, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD: qemu_ended(h); break;
		case SIGWINCH:
			win = winsize_get();
			if (h->running && h->tty)
				lab_wire_send(h->fds[LAB_FD_CTL], LAB_MSG_WINSIZE, &win,
					      sizeof(win));
			break;
		default: stop_asked(h, (int)info.ssi_signo);
		}
	}
}

static void limit_reached(struct host *h)
{
	if (!h->running)
		lab_failed(h, "the lab's kernel did not start in time");
	if (h->stop_status == STATUS_TIMEOUT && h->opt.time_ms) {
		h->opt.time_ms = 0;
		say(h, "time is up");
		job_signal(h, SIGTERM, TIMEOUT_GRACE_MS);
		return;
	}
	if (h->stop_status == STATUS_TIMEOUT)
		last_words(
			h); /* a command that does not end on SIGTERM: does its kernel still live? */
	finish(h, h->stop_status);
}

static bool is_through(const struct lab_pump *p, uint64_t want_bytes)
{
	return p->from < 0 || p->total_bytes >= want_bytes;
}

static void turn(struct host *h)
{
	struct pollfd pfd[7] = {
		{ .fd = h->signals, .events = POLLIN },
		{ .fd = h->qemu ? h->fds[LAB_FD_CTL] : -1, .events = POLLIN },
		{ .fd = h->qemu ? h->fds[LAB_FD_LOG] : -1, .events = POLLIN },
		{ .fd = lab_net_fd(h->net), .events = POLLIN },
		input_poll(h),
		lab_pump_poll(&h->out),
		lab_pump_poll(&h->err),
	};
	int64_t left_ms = h->limit_ms - now_ms();

	if (left_ms <= 0) {
		limit_reached(h);
		return;
	}
	if (poll(pfd, 7, left_ms > 1000 ? 1000 : (int)left_ms) < 0)
		return;
	if (pfd[1].revents)
		control_turn(h);
	if (pfd[2].revents)
		log_turn(h);
	if (pfd[3].revents)
		lab_net_turn(h->net);
	input_turn(h, &pfd[4]);
	output_turn(h, &h->out, &pfd[5], 1);
	output_turn(h, &h->err, &pfd[6], 2);
	if (pfd[0].revents)
		signals_turn(h);
}

static int run(struct host *h)
{
	while (!h->exited || !is_through(&h->out, h->last.out_bytes) ||
	       !is_through(&h->err, h->last.err_bytes))
		turn(h);
	if (h->stop_status == STATUS_TIMEOUT && !h->opt.time_ms && h->limit_ms != INT64_MAX)
		return STATUS_TIMEOUT;
	return (int)h->last.status;
}

/* --- start --- */

static void ports_parse(struct host *h, char *spec)
{
	struct port_range *r;
	char *word;

	h->opt.range_count = 0;
	while ((word = strsep(&spec, ",")) && h->opt.range_count < RANGES_MAX) {
		char *end;

		r = &h->opt.ranges[h->opt.range_count];
		r->first = (unsigned int)strtoul(word, &end, 10);
		r->last = *end == '-' ? (unsigned int)strtoul(end + 1, &end, 10) : r->first;
		if (*word && !*end)
			h->opt.range_count++;
		else if (strcmp(word, "none"))
			say(h, "--ports: %s is no port and no range", word), finish(h, 2);
	}
}

static void options_parse(struct host *h, int argc, char **argv)
{
	static const struct option table[] = {
		{ "time", required_argument, NULL, 't' },
		{ "scratch", required_argument, NULL, 's' },
		{ "scratch-dir", required_argument, NULL, 'd' },
		{ "console", required_argument, NULL, 'c' },
		{ "ports", required_argument, NULL, 'p' },
		{ "root", no_argument, NULL, 'r' },
		{ 0 },
	};
	struct options *opt = &h->opt;
	int c;

	while ((c = getopt_long(argc, argv, "+", table, NULL)) != -1) {
		switch (c) {
		case 't': opt->time_ms = (int64_t)(strtod(optarg, NULL) * 1000); break;
		case 's': opt->scratch_bytes = strtoll(optarg, NULL, 10) << 20; break;
		case 'd': opt->scratch_dir = optarg; break;
		case 'c': opt->log_path = optarg; break;
		case 'p': ports_parse(h, optarg); break;
		case 'r': opt->as_root = true; break;
		default: exit(2);
		}
	}
	/* COUNT QEMU-WORD... COMMAND ARG... */
	opt->argv = argv + optind + 1 + atoi(argv[optind]);
	opt->qemu = calloc((size_t)atoi(argv[optind]) + 1, sizeof(char *));
	if (!opt->qemu || !*opt->argv)
		exit(2);
	memcpy(opt->qemu, argv + optind + 1, (size_t)atoi(argv[optind]) * sizeof(char *));
}

static void signals_open(struct host *h)
{
	static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGWINCH };
	struct sigaction now;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++) {
		if (sigaction(caught[i], NULL, &now) || now.sa_handler == SIG_IGN)
			continue; /* as nohup wants it */
		sigaddset(&set, caught[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	h->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (h->signals < 0)
		setup_failed(h, "signalfd");
}

static bool is_same_file(int a, int b)
{
	struct stat sa, sb;

	return !fstat(a, &sa) && !fstat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

int main(int argc, char **argv)
{
	struct host *h = calloc(1, sizeof(*h));

	if (!h)
		return STATUS_LAB_FAILED;
	while (open("/dev/null", O_RDWR | O_CLOEXEC) <= 2) /* 0, 1 and 2 may have been closed */
		;
	options_parse(h, argc, argv);
	h->merged_err = is_same_file(1, 2);
	h->tty = isatty(0) && isatty(1) && !tcgetattr(0, &h->tty_saved);
	if (h->opt.log_path && !(h->log_file = fopen(h->opt.log_path, "we")))
		setup_failed(h, h->opt.log_path);
	signals_open(h);
	if (h->tty)
		tty_guard_start(h);
	qemu_start(h);
	h->net = lab_net_new(h->fds[LAB_FD_NET]);
	if (!h->net)
		setup_failed(h, "memory");
	h->in = (struct lab_pump){ .from = 0,
				   .to = h->fds[LAB_FD_IN],
				   .chunk_bytes = LAB_PUMP_BYTES };
	h->out = (struct lab_pump){ .from = h->fds[LAB_FD_OUT], .to = 1, .chunk_bytes = PIPE_BUF };
	h->err = (struct lab_pump){ .from = h->fds[LAB_FD_ERR], .to = 2, .chunk_bytes = PIPE_BUF };
	h->limit_ms = now_ms() + BOOT_LIMIT_MS;
	finish(h, run(h));
}
