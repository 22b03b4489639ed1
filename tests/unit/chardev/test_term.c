/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal: raw mode and the way back, the escape, sizes, job control, pipes and files. */
#include "devices/chardev/term.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "devices/chardev/stream.h"
#include "tests/unit/chardev/fake_port.h"
#include "tests/unit/test.h"

static struct loop *loop;
static struct chardev *stream;
static struct fake_port port;
static int master, slave;

static void setup_loop(void)
{
	signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(loop_create(&loop), 0);
	fake_port_init(&port);
}

static void open_stream(int in_fd, int out_fd)
{
	const struct chardev_quit quit = { .fn = fake_port_quit, .opaque = &port };
	CHECK_EQ(term_open(loop, in_fd, out_fd, &quit, &stream), 0);
	chardev_attach(stream, &port.base, &port.lock);
}

static void setup_pty(void)
{
	setup_loop();
	CHECK_EQ(openpty(&master, &slave, NULL, NULL, NULL), 0);
}

static void teardown_pty(void)
{
	chardev_close(stream);
	loop_destroy(loop);
	close(slave);
	close(master);
}

static bool is_raw(void)
{
	struct termios t;
	CHECK_EQ(tcgetattr(slave, &t), 0);
	return !(t.c_lflag & (ICANON | ECHO | ISIG)) && !(t.c_oflag & OPOST) &&
	       !(t.c_iflag & (ICRNL | IXON));
}

static void type(const char *keys, size_t len)
{
	CHECK_EQ(write(master, keys, len), (ssize_t)len);
}

static void put(const char *text)
{
	CHECK_EQ(chardev_write(stream, (const uint8_t *)text, strlen(text)), strlen(text));
}

TEST(terminal_is_raw_while_open_and_as_before_after)
{
	struct termios before, after;
	setup_pty();
	CHECK(!is_raw());
	tcgetattr(slave, &before);
	open_stream(slave, slave);
	CHECK(is_raw());
	chardev_close(stream);
	tcgetattr(slave, &after);
	CHECK_EQ(after.c_lflag, before.c_lflag);
	CHECK_EQ(after.c_iflag, before.c_iflag);
	CHECK_EQ(after.c_oflag, before.c_oflag);
	CHECK_EQ(after.c_cflag, before.c_cflag);
	stream = NULL;
	teardown_pty();
}

TEST(keys_and_output_pass_unchanged)
{
	char buf[32] = "";
	setup_pty();
	open_stream(slave, slave);
	type("ls\r\x03\x1a", 5);
	CHECK(port_gets(loop, &port, "ls\r\x03\x1a"));
	put("one\r\ntwo\n");
	CHECK(fd_gives(loop, master, buf, 9));
	CHECK_STR(buf, "one\r\ntwo\n");
	teardown_pty();
}

TEST(flags_of_the_shared_descriptor_are_not_changed)
{
	setup_pty();
	int before = fcntl(slave, F_GETFL);
	open_stream(slave, slave);
	CHECK_EQ(fcntl(slave, F_GETFL), before);
	CHECK(!(before & O_NONBLOCK));
	teardown_pty();
}

TEST(escape_dot_quits)
{
	setup_pty();
	open_stream(slave, slave);
	type("a\x1d.", 3);
	CHECK(port_gets(loop, &port, "a"));
	CHECK(port.quit);
	teardown_pty();
}

TEST(escape_works_over_two_reads_and_while_the_guest_takes_nothing)
{
	static char many[3000];
	setup_pty();
	port.limit = 0;
	open_stream(slave, slave);
	memset(many, 'x', sizeof(many));
	for (int i = 0; i < 3; i++) {
		type(many, sizeof(many));
		run_for_ms(loop, 5);
	}
	type("\x1d", 1);
	run_for_ms(loop, 5);
	CHECK(!port.quit);
	type(".", 1);
	run_for_ms(loop, 5);
	CHECK(port.quit);
	teardown_pty();
}

TEST(double_escape_sends_one)
{
	setup_pty();
	open_stream(slave, slave);
	type("a\x1d\x1d.b", 5);
	CHECK(port_gets(loop, &port, "a\x1d.b"));
	CHECK(!port.quit);
	teardown_pty();
}

TEST(escape_question_mark_shows_help_on_the_terminal)
{
	char buf[16] = "";
	setup_pty();
	open_stream(slave, slave);
	type("\x1d?", 2);
	CHECK(fd_gives(loop, master, buf, 13));
	CHECK_STR(buf, "\r\nCtrl-] then");
	CHECK_EQ(port.len, 0);
	teardown_pty();
}

TEST(keys_typed_before_the_guest_listens_arrive_later)
{
	setup_pty();
	port.limit = 0;
	open_stream(slave, slave);
	type("root\r", 5);
	run_for_ms(loop, 5);
	CHECK_EQ(port.len, 0);
	port.limit = 3;
	chardev_input_ready(stream);
	port.limit = 100;
	chardev_input_ready(stream);
	CHECK(port_gets(loop, &port, "root\r"));
	teardown_pty();
}

static bool has_new_size(void *arg)
{
	(void)arg;
	return port.cols == 132;
}

TEST(size_is_told_at_the_start_and_when_it_changes)
{
	struct winsize ws = { .ws_col = 80, .ws_row = 24 };
	setup_pty();
	ioctl(slave, TIOCSWINSZ, &ws);
	open_stream(slave, slave);
	CHECK_EQ(port.cols, 80);
	CHECK_EQ(port.rows, 24);
	ws = (struct winsize){ .ws_col = 132, .ws_row = 50 };
	ioctl(slave, TIOCSWINSZ, &ws);
	kill(getpid(), SIGWINCH);
	CHECK(run_until(loop, has_new_size, NULL));
	CHECK_EQ(port.rows, 50);
	teardown_pty();
}

/* A child that has the terminal raw, says so through the pipe and then ends as @how tells. */
static int end_of_child(void (*how)(void))
{
	int pipe_fds[2], status;
	char byte;
	setup_pty();
	CHECK_EQ(pipe(pipe_fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		open_stream(slave, slave);
		if (write(pipe_fds[1], is_raw() ? "r" : "-", 1) == 1)
			how();
		_exit(99);
	}
	CHECK_EQ(read(pipe_fds[0], &byte, 1), 1);
	CHECK_EQ(byte, 'r');
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(!is_raw());
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	stream = NULL;
	teardown_pty();
	return status;
}

static void by_exit(void)
{
	exit(7);
}

static void by_sigterm(void)
{
	raise(SIGTERM);
}

static void by_hangup(void)
{
	raise(SIGHUP);
}

static void by_abort(void)
{
	freopen("/dev/null", "w", stderr);
	abort();
}

static void by_fault(void)
{
	volatile char *nowhere = (volatile char *)8;
	freopen("/dev/null", "w", stderr);
	*nowhere = 1;
}

TEST(exit_gives_the_terminal_back)
{
	int status = end_of_child(by_exit);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 7);
}

TEST(fatal_signals_give_the_terminal_back_and_still_kill)
{
	int status = end_of_child(by_sigterm);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGTERM);
	status = end_of_child(by_hangup);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGHUP);
}

TEST(abort_and_fault_give_the_terminal_back)
{
	int status = end_of_child(by_abort);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	/* A sanitizer, where there is one, turns the fault into an exit status. */
	status = end_of_child(by_fault);
	CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGSEGV : WEXITSTATUS(status) != 0);
}

static bool in_state(pid_t pid, int want_stopped)
{
	int status;
	pid_t got = waitpid(pid, &status, WUNTRACED | WCONTINUED);
	return got == pid && (want_stopped ? WIFSTOPPED(status) : WIFCONTINUED(status));
}

TEST(stop_gives_the_terminal_back_and_continue_takes_it)
{
	setup_pty();
	pid_t pid = fork();
	if (pid == 0) {
		open_stream(slave, slave);
		put("up");
		run_for_ms(loop, 20000);
		_exit(0);
	}
	char buf[8];
	CHECK_EQ(read(master, buf, 2), 2);
	CHECK(is_raw());
	kill(pid, SIGTSTP);
	CHECK(in_state(pid, true));
	CHECK(!is_raw());
	kill(pid, SIGCONT);
	CHECK(in_state(pid, false));
	for (int i = 0; i < 1000 && !is_raw(); i++)
		usleep(5000);
	CHECK(is_raw());
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	stream = NULL;
	teardown_pty();
}

/* In a session whose terminal is the pty: a job in the background leaves it alone until it is in
 * front. */
static void background_job(int sync_fd)
{
	char byte;
	setpgid(0, 0);
	open_stream(slave, slave);
	byte = is_raw() ? 'r' : '-';
	if (write(sync_fd, &byte, 1) != 1)
		_exit(1);
	run_for_ms(loop, 20000);
	_exit(0);
}

static void session_leader(int sync_fd)
{
	int fds[2];
	char byte = '?';
	setsid();
	ioctl(slave, TIOCSCTTY, 0);
	signal(SIGTTOU, SIG_IGN);
	if (pipe(fds) < 0)
		_exit(1);
	pid_t job = fork();
	if (job == 0)
		background_job(fds[1]);
	if (read(fds[0], &byte, 1) != 1 || write(sync_fd, &byte, 1) != 1)
		_exit(1);
	tcsetpgrp(slave, job);
	for (int i = 0; i < 1000 && !is_raw(); i++)
		usleep(5000);
	byte = is_raw() ? 'r' : '-';
	if (write(sync_fd, &byte, 1) != 1)
		_exit(1);
	kill(job, SIGKILL);
	waitpid(job, NULL, 0);
	_exit(0);
}

TEST(background_job_takes_the_terminal_only_when_it_comes_to_the_front)
{
	int fds[2];
	char byte;
	setup_pty();
	CHECK_EQ(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0)
		session_leader(fds[1]);
	CHECK_EQ(read(fds[0], &byte, 1), 1);
	CHECK_EQ(byte, '-');
	CHECK_EQ(read(fds[0], &byte, 1), 1);
	CHECK_EQ(byte, 'r');
	waitpid(pid, NULL, 0);
	close(fds[0]);
	close(fds[1]);
	stream = NULL;
	teardown_pty();
}

TEST(second_terminal_is_refused)
{
	struct chardev *other = NULL;
	int m2, s2;
	setup_pty();
	open_stream(slave, slave);
	CHECK_EQ(openpty(&m2, &s2, NULL, NULL, NULL), 0);
	CHECK_EQ(term_open(loop, s2, s2, NULL, &other), -EBUSY);
	CHECK(!other);
	close(m2);
	close(s2);
	teardown_pty();
}

TEST(pipe_input_has_no_escape_and_its_end_ends_only_the_input)
{
	int in[2], out[2];
	char buf[8] = "";
	setup_loop();
	CHECK_EQ(pipe(in), 0);
	CHECK_EQ(pipe(out), 0);
	open_stream(in[0], out[1]);
	CHECK_EQ(write(in[1], "a\x1d.b", 4), 4);
	close(in[1]);
	CHECK(port_gets(loop, &port, "a\x1d.b"));
	run_for_ms(loop, 10);
	CHECK(!port.quit);
	put("hello");
	CHECK(fd_gives(loop, out[0], buf, 5));
	CHECK_STR(buf, "hello");
	chardev_close(stream);
	loop_destroy(loop);
	close(in[0]);
	close(out[0]);
	close(out[1]);
}

TEST(pipe_is_read_no_faster_than_the_guest_takes_it)
{
	static char text[20000];
	int in[2];
	setup_loop();
	CHECK_EQ(pipe(in), 0);
	memset(text, 'k', sizeof(text));
	port.limit = 10;
	open_stream(in[0], STDERR_FILENO);
	CHECK_EQ(write(in[1], text, sizeof(text)), sizeof(text));
	close(in[1]);
	run_for_ms(loop, 20);
	CHECK_EQ(port.len, 10);
	CHECK(port.calls < 5); /* and it is not tried again and again */
	int left = 0;
	ioctl(in[0], FIONREAD, &left);
	CHECK(left >= (int)sizeof(text) - STREAM_IN_BYTES);
	port.limit = sizeof(port.got);
	chardev_input_ready(stream);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 200 && port.len < sizeof(text); i++)
		run_for_ms(loop, 5);
	CHECK_EQ(port.len, sizeof(text));
	chardev_close(stream);
	loop_destroy(loop);
	close(in[0]);
}

TEST(file_and_dev_null_are_input_as_well)
{
	char name[] = "/tmp/charmvm-test-XXXXXX";
	setup_loop();
	int fd = mkstemp(name);
	unlink(name);
	CHECK_EQ(write(fd, "uname\nexit\n", 11), 11);
	lseek(fd, 0, SEEK_SET);
	open_stream(fd, STDERR_FILENO);
	CHECK(port_gets(loop, &port, "uname\nexit\n"));
	chardev_close(stream);
	close(fd);
	fake_port_init(&port);
	fd = open("/dev/null", O_RDONLY);
	open_stream(fd, STDERR_FILENO);
	run_for_ms(loop, 10);
	CHECK_EQ(port.len, 0);
	chardev_close(stream);
	close(fd);
	loop_destroy(loop);
}

TEST(closed_standard_streams_are_ended_streams)
{
	setup_loop();
	int fd = open("/dev/null", O_RDONLY);
	close(fd);
	open_stream(fd, fd);
	put("nobody hears this");
	run_for_ms(loop, 5);
	chardev_close(stream);
	loop_destroy(loop);
}

TEST(pipe_reader_that_leaves_does_not_stop_the_port)
{
	int out[2];
	setup_loop();
	CHECK_EQ(pipe(out), 0);
	int null = open("/dev/null", O_RDONLY);
	open_stream(null, out[1]);
	close(out[0]);
	put("one");
	run_for_ms(loop, 5);
	for (int i = 0; i < 30000; i++)
		put("two");
	chardev_close(stream);
	loop_destroy(loop);
	close(out[1]);
	close(null);
}

static bool room_was_told(void *arg)
{
	(void)arg;
	return port.room_calls > 0;
}

TEST(slow_pipe_reader_is_waited_for_without_blocking)
{
	static char buf[512 * 1024];
	static uint8_t piece[4000];
	size_t taken = 0, n;
	int out[2];
	setup_loop();
	CHECK_EQ(pipe(out), 0);
	int null = open("/dev/null", O_RDONLY);
	open_stream(null, out[1]);
	do {
		n = chardev_write(stream, piece, sizeof(piece));
		taken += n;
		run_for_ms(loop, 1);
	} while (n == sizeof(piece) && taken < sizeof(buf));
	CHECK(taken <= 64 * 1024 + STREAM_OUT_BYTES);
	CHECK(fd_gives(loop, out[0], buf, taken));
	CHECK(run_until(loop, room_was_told, NULL));
	chardev_close(stream);
	loop_destroy(loop);
	close(out[0]);
	close(out[1]);
	close(null);
}

TEST_MAIN(T(terminal_is_raw_while_open_and_as_before_after), T(keys_and_output_pass_unchanged),
	  T(flags_of_the_shared_descriptor_are_not_changed), T(escape_dot_quits),
	  T(escape_works_over_two_reads_and_while_the_guest_takes_nothing),
	  T(double_escape_sends_one), T(escape_question_mark_shows_help_on_the_terminal),
	  T(keys_typed_before_the_guest_listens_arrive_later),
	  T(size_is_told_at_the_start_and_when_it_changes), T(exit_gives_the_terminal_back),
	  T(fatal_signals_give_the_terminal_back_and_still_kill),
	  T(abort_and_fault_give_the_terminal_back),
	  T(stop_gives_the_terminal_back_and_continue_takes_it),
	  T(background_job_takes_the_terminal_only_when_it_comes_to_the_front),
	  T(second_terminal_is_refused),
	  T(pipe_input_has_no_escape_and_its_end_ends_only_the_input),
	  T(pipe_is_read_no_faster_than_the_guest_takes_it), T(file_and_dev_null_are_input_as_well),
	  T(closed_standard_streams_are_ended_streams),
	  T(pipe_reader_that_leaves_does_not_stop_the_port),
	  T(slow_pipe_reader_is_waited_for_without_blocking))
