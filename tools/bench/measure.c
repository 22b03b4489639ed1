/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a VMM and records what it costs, from outside: nothing in the VMM takes part.
 *
 * The guest marks moments by writing a byte to I/O port 0xf4, which the host kernel's kvm:kvm_pio
 * tracepoint sees. Two tracefs instances are used:
 *
 *   counts   exits, exits to user space and system calls of the VMM's process and all its threads
 *            (event-fork), with the marks between them, stamped by the TSC. It is written to
 *            --trace at the end; what lies between two marks is counted there (counts.awk).
 *   marks    the marks alone, read as they come.
 *
 * Tracing costs instructions: one event about 500. With --phases it is therefore on only between
 * marks whose low bits say so, and a workload is done twice: once for the clock, once for the
 * events. The low two bits of such a mark: 0 start and 1 end of the pass for the clock, 2 start
 * and 3 end of the pass for the events. After 1 and 3 the guest sleeps a little, and the events
 * are switched meanwhile.
 *
 * At the mark --last the VMM is stopped, its memory and threads are counted, and it is killed.
 * --detail traces what the exits are about as well. --peer runs a command beside the VMM as soon as the mark 2 is seen ("ready").
 *
 * Needs root, tracefs and a real /dev/kvm. The other form, --cpu-time N COMMAND, runs a command N
 * times and prints the median of its user and system time in microseconds; it needs nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRACEFS	    "/sys/kernel/tracing/instances"
#define MARK_FILTER "port == 0xf4 && rw == 1"

enum {
	MARK_INIT = 1, /* the first instruction of /init */
	MARK_READY = 2,
	RAM_MIN_KIB = 256 << 10, /* a writable mapping of this size is guest RAM */
	PEER_WORDS_MAX = 8,
	RUNS_MAX = 1000,
};

struct run {
	char counts[96]; /* directory of the instance */
	char marks[96];
	const char *trace;  /* where the trace goes */
	const char *report; /* where the figures go */
	const char *output; /* where what the VMM and the peer print goes */
	const char *peer;
	int last;
	int time_limit_s;
	bool phases; /* count between marks only */
	bool detail;
	bool begun; /* /init has */
	pid_t vmm;
	pid_t peer_pid;
	int peer_status;
};

static volatile sig_atomic_t stop_signal;

static void on_signal(int number)
{
	stop_signal = number;
}

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void complain(const char *format, ...)
{
	va_list args;

	fputs("measure: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* ---- tracefs ---- */

/* Writes TEXT into FILE of the instance DIR; returns 0 or -errno, after one line about it. */
static int tracefs_write(const char *dir, const char *file, const char *text)
{
	char path[256];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		err = -errno;
		complain("cannot write \"%s\" to %s: %s", text, path, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return err;
}

static int counting_set(const struct run *run, bool on)
{
	const char *value = on ? "1" : "0";

	return tracefs_write(run->counts, "events/kvm/kvm_exit/enable", value) ?:
	       tracefs_write(run->counts, "events/kvm/kvm_userspace_exit/enable", value) ?:
	       tracefs_write(run->counts, "events/raw_syscalls/sys_enter/enable", value);
}

static int instances_make(struct run *run)
{
	snprintf(run->counts, sizeof(run->counts), TRACEFS "/bench-%d", getpid());
	snprintf(run->marks, sizeof(run->marks), TRACEFS "/bench-%d-marks", getpid());
	if (mkdir(run->counts, 0700) || mkdir(run->marks, 0700)) {
		complain("cannot make %s: %s (root and tracefs are needed)", run->counts,
			 strerror(errno));
		return -errno;
	}
	return tracefs_write(run->counts, "buffer_size_kb", "131072") ?:
	       tracefs_write(run->counts, "trace_clock", "x86-tsc") ?:
	       tracefs_write(run->counts, "options/event-fork", "1") ?:
	       (run->detail ? 0 :
			      tracefs_write(run->counts, "events/kvm/kvm_pio/filter", MARK_FILTER)) ?:
	       tracefs_write(run->marks, "events/kvm/kvm_pio/filter", MARK_FILTER);
}

/* What exits are about, for a closer look; the figures suffer. */
static int detail_start(const struct run *run)
{
	return tracefs_write(run->counts, "events/kvm/kvm_mmio/enable", "1") ?:
	       tracefs_write(run->counts, "events/kvm/kvm_msr/enable", "1") ?:
	       tracefs_write(run->counts, "events/kvm/kvm_page_fault/enable", "1") ?:
	       tracefs_write(run->counts, "events/sched/sched_switch/enable", "1");
}

/* From here on VMM, which waits, and what it starts are traced. */
static int instances_start(const struct run *run)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", run->vmm);
	return tracefs_write(run->counts, "set_event_pid", pid) ?:
	       tracefs_write(run->counts, "events/sched/sched_process_exec/enable", "1") ?:
	       tracefs_write(run->counts, "events/kvm/kvm_pio/enable", "1") ?:
	       tracefs_write(run->marks, "events/kvm/kvm_pio/enable", "1") ?:
	       (run->detail ? detail_start(run) : 0) ?:
	       (run->phases ? 0 : counting_set(run, true));
}

static void instances_remove(const struct run *run)
{
	rmdir(run->counts);
	rmdir(run->marks);
}

static int copy_file(const char *from, const char *to)
{
	static char buffer[1 << 16];
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	ssize_t length = -1;

	if (in >= 0 && out >= 0)
		while ((length = read(in, buffer, sizeof(buffer))) > 0)
			if (write(out, buffer, length) != length)
				break;
	if (length)
		complain("cannot copy %s to %s: %s", from, to, strerror(errno));
	close(in);
	close(out);
	return length ? -EIO : 0;
}

/* ---- the VMM ---- */

/* Starts ARGV with its output in a file; it waits for a byte on GATE first, if that is >= 0. */
static pid_t start(const struct run *run, char *const argv[], int gate)
{
	pid_t pid = fork();
	char byte;
	int in, out;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	in = open("/dev/null", O_RDONLY);
	out = open(run->output, O_WRONLY | O_CREAT | O_APPEND, 0644);
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (gate >= 0 && read(gate, &byte, 1) != 1)
		_exit(127);
	execvp(argv[0], argv);
	fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Without a shell: while its files are fetched, the clock of an idle lab runs away. */
static pid_t start_peer(const struct run *run)
{
	char *words = strdup(run->peer), *argv[PEER_WORDS_MAX + 1] = { NULL };
	pid_t pid;

	for (int i = 0; words && i < PEER_WORDS_MAX; i++)
		argv[i] = strtok(i ? NULL : words, " ");
	pid = argv[0] ? start(run, argv, -1) : -1;
	free(words);
	return pid;
}

struct memory {
	long private_kib; /* anonymous, or copies of file pages; guest RAM apart */
	long ram_kib;	  /* of guest RAM, what is there */
};

static int memory_read(pid_t pid, struct memory *memory)
{
	char path[64], line[512], perms[8] = "";
	unsigned long from, to, kib;
	bool ram = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	file = fopen(path, "re");
	if (!file) {
		complain("cannot read %s: %s", path, strerror(errno));
		return -errno;
	}
	*memory = (struct memory){ 0 };
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, perms) == 3)
			ram = perms[1] == 'w' && (to - from) >> 10 >= RAM_MIN_KIB;
		else if (sscanf(line, "Anonymous: %lu", &kib) == 1)
			*(ram ? &memory->ram_kib : &memory->private_kib) += kib;
	}
	fclose(file);
	return 0;
}

static int threads_count(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	int count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return count;
}

static int sample(const struct run *run)
{
	struct memory memory;
	FILE *file;
	int threads;

	kill(run->vmm, SIGSTOP);
	threads = threads_count(run->vmm);
	if (memory_read(run->vmm, &memory))
		return -EIO;
	file = fopen(run->report, "we");
	if (!file) {
		complain("cannot write %s: %s", run->report, strerror(errno));
		return -errno;
	}
	fprintf(file, "threads %d\nprivate_kib %ld\nram_kib %ld\n", threads, memory.private_kib,
		memory.ram_kib);
	return fclose(file) ? -EIO : 0;
}

/* ---- the run ---- */

/* Acts on the mark VALUE; returns 1 when it was the last, 0 to go on, or -errno. */
static int on_mark(struct run *run, int value)
{
	if (value == run->last)
		return sample(run) ?: 1;
	if (value == MARK_INIT && run->begun) {
		complain("the guest has started anew, see %s", run->output);
		return -ECHILD;
	}
	run->begun |= value == MARK_INIT;
	if (value == MARK_READY && run->peer && !run->peer_pid)
		run->peer_pid = start_peer(run);
	if (run->phases && value >= 0x10 && (value & 1))
		return counting_set(run, (value & 3) == 1);
	return 0;
}

static int reap(struct run *run)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == run->vmm) {
			run->vmm = 0;
			complain("the VMM ended before its mark (status %#x), see %s", status,
				 run->output);
			return -ECHILD;
		}
		if (status) {
			complain("the peer failed (status %#x), see %s", status, run->output);
			return -ECHILD;
		}
	}
	return 0;
}

/* Reads marks until the last one; returns 0 or -errno. */
static int follow(struct run *run)
{
	struct timespec now;
	char path[128], line[4096], *at;
	int err = 0, value;
	ssize_t length;
	time_t end;
	struct pollfd pipe;

	snprintf(path, sizeof(path), "%s/trace_pipe", run->marks);
	pipe = (struct pollfd){ .fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC),
				.events = POLLIN };
	if (pipe.fd < 0)
		return -errno;
	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + run->time_limit_s;
	while (!err) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (stop_signal || now.tv_sec >= end) {
			complain("%s, see %s", stop_signal ? "interrupted" : "no mark in time",
				 run->output);
			err = -ETIME;
			break;
		}
		poll(&pipe, 1, 1000);
		length = read(pipe.fd, line, sizeof(line) - 1);
		if (length <= 0) {
			err = reap(run);
			continue;
		}
		line[length] = 0;
		for (at = line; !err && (at = strstr(at, "val 0x")); at++)
			if (sscanf(at, "val 0x%x", &value) == 1)
				err = on_mark(run, value);
	}
	close(pipe.fd);
	return err > 0 ? 0 : err;
}

static void end_process(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int run_vmm(struct run *run, char *const argv[])
{
	char path[128];
	int gate[2], err;

	if (pipe2(gate, O_CLOEXEC))
		return -errno;
	err = instances_make(run);
	if (!err) {
		run->vmm = start(run, argv, gate[0]);
		err = instances_start(run);
	}
	if (!err && write(gate[1], "", 1) == 1)
		err = follow(run);
	end_process(run->vmm);
	end_process(run->peer_pid);
	snprintf(path, sizeof(path), "%s/trace", run->counts);
	int copy_err =
		copy_file(path, run->trace); /* of a failed run too: it says how far it came */
	instances_remove(run);
	return err ?: copy_err;
}

/* ---- CPU time of a short command ---- */

static int compare(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

/* Of one run of ARGV, in microseconds; or -errno. */
static long cpu_time_us(char *const argv[])
{
	struct rusage usage;
	int status, null;
	pid_t pid = fork();

	if (!pid) {
		null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || status)
		return -ECHILD;
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec +
	       usage.ru_stime.tv_usec;
}

static int cpu_time(int runs, char *const argv[])
{
	static long us[RUNS_MAX];

	for (int i = 0; i < runs; i++) {
		us[i] = cpu_time_us(argv);
		if (us[i] < 0) {
			complain("%s failed", argv[0]);
			return 1;
		}
	}
	qsort(us, runs, sizeof(us[0]), compare);
	printf("%ld\n", us[runs / 2]);
	return 0;
}

static const struct option options[] = {
	{ "trace", required_argument, NULL, 't' },    { "report", required_argument, NULL, 'r' },
	{ "output", required_argument, NULL, 'o' },   { "last", required_argument, NULL, 'l' },
	{ "time", required_argument, NULL, 's' },     { "peer", required_argument, NULL, 'p' },
	{ "phases", no_argument, NULL, 'P' },	      { "detail", no_argument, NULL, 'd' },
	{ "cpu-time", required_argument, NULL, 'c' }, { 0 },
};

int main(int argc, char **argv)
{
	struct run run = { .last = 1, .time_limit_s = 600 };
	struct sigaction action = { .sa_handler = on_signal };
	int option;

	while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (option) {
		case 't': run.trace = optarg; break;
		case 'r': run.report = optarg; break;
		case 'o': run.output = optarg; break;
		case 'l': run.last = strtol(optarg, NULL, 0); break;
		case 's': run.time_limit_s = atoi(optarg); break;
		case 'p': run.peer = optarg; break;
		case 'P': run.phases = true; break;
		case 'd': run.detail = true; break;
		case 'c':
			if (optind >= argc || atoi(optarg) < 1 || atoi(optarg) > RUNS_MAX)
				return 2;
			return cpu_time(atoi(optarg), argv + optind);
		default: return 2;
		}
	}
	if (optind >= argc || !run.trace || !run.report || !run.output) {
		complain("--trace, --report, --output FILE and a command are needed");
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	return run_vmm(&run, argv + optind) ? 1 : 0;
}
