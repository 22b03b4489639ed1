/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket: who is connected, what is kept for whom, a client that does not read. */
#include "devices/chardev/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "devices/chardev/stream.h"
#include "tests/unit/chardev/socket_rig.h"
#include "tests/unit/test.h"

static bool is_connected(void *arg)
{
	(void)arg;
	return port.connected;
}

static bool is_disconnected(void *arg)
{
	(void)arg;
	return !port.connected;
}

/* Nothing to read, or the end of it. */
static bool is_silent(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, 0) == 0;
}

TEST(both_directions_work)
{
	rig_setup(socket_open);
	int fd = rig_connect();
	CHECK(run_until(loop, is_connected, NULL));
	put("login: ");
	check_gives(fd, "login: ");
	CHECK_EQ(write(fd, "root\n", 5), 5);
	CHECK(port_gets(loop, &port, "root\n"));
	close(fd);
	CHECK(run_until(loop, is_disconnected, NULL));
	rig_teardown();
}

TEST(first_client_sees_what_was_said_before_it_came)
{
	rig_setup(socket_open);
	put("Linux version 6.1\r\n");
	run_for_ms(loop, 5);
	int fd = rig_connect();
	check_gives(fd, "Linux version 6.1\r\n");
	close(fd);
	rig_teardown();
}

TEST(only_the_latest_64_kib_are_kept)
{
	static char got[STREAM_OUT_BYTES];
	rig_setup(socket_open);
	for (int i = 0; i < 10000; i++) {
		char line[32];
		snprintf(line, sizeof(line), "line %04d\n", i);
		put(line);
	}
	int fd = rig_connect();
	CHECK(fd_gives(loop, fd, got, sizeof(got)));
	CHECK(!memcmp(got + sizeof(got) - 10, "line 9999\n", 10));
	run_for_ms(loop, 5);
	CHECK(is_silent(fd));
	close(fd);
	rig_teardown();
}

TEST(next_client_gets_only_what_the_last_one_did_not)
{
	rig_setup(socket_open);
	int fd = rig_connect();
	put("one ");
	check_gives(fd, "one ");
	close(fd);
	CHECK(run_until(loop, is_disconnected, NULL));
	put("two ");
	fd = rig_connect();
	check_gives(fd, "two ");
	run_for_ms(loop, 5);
	CHECK(is_silent(fd));
	CHECK_EQ(port.times_connected, 2);
	close(fd);
	rig_teardown();
}

TEST(second_client_at_a_time_is_told_and_let_go)
{
	char buf[256] = "";
	rig_setup(socket_open);
	int first = rig_connect();
	CHECK(run_until(loop, is_connected, NULL));
	int second = rig_connect();
	CHECK(fd_gives(loop, second, buf, 40));
	CHECK(strstr(buf, "another client"));
	CHECK(read(second, buf, sizeof(buf)) > 0);
	CHECK_EQ(read(second, buf, sizeof(buf)), 0);
	put("still yours");
	check_gives(first, "still yours");
	close(first);
	close(second);
	rig_teardown();
}

TEST(client_may_come_in_the_turn_in_which_another_leaves)
{
	rig_setup(socket_open);
	for (int i = 0; i < 20; i++) {
		int fd = rig_connect();
		CHECK(run_until(loop, is_connected, NULL));
		close(fd);
		fd = rig_connect();
		put("hello");
		check_gives(fd, "hello");
		close(fd);
		CHECK(run_until(loop, is_disconnected, NULL));
	}
	CHECK_EQ(port.times_connected, 40);
	rig_teardown();
}

TEST(client_that_ended_its_input_still_reads)
{
	rig_setup(socket_open);
	int fd = rig_connect();
	CHECK_EQ(write(fd, "date\n", 5), 5);
	shutdown(fd, SHUT_WR);
	CHECK(port_gets(loop, &port, "date\n"));
	put("Mon Nov 23");
	check_gives(fd, "Mon Nov 23");
	CHECK(port.connected);
	close(fd);
	CHECK(run_until(loop, is_disconnected, NULL));
	rig_teardown();
}

TEST(input_of_a_client_that_left_at_once_arrives_whole)
{
	rig_setup(socket_open);
	port.limit = 2;
	int fd = rig_connect();
	CHECK_EQ(write(fd, "poweroff\n", 9), 9);
	close(fd);
	CHECK(port_gets(loop, &port, "po"));
	port.limit = 100;
	chardev_input_ready(stream);
	CHECK(port_gets(loop, &port, "poweroff\n"));
	CHECK(run_until(loop, is_disconnected, NULL));
	rig_teardown();
}

static unsigned int open_descriptors(void)
{
	unsigned int n = 0;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TEST(client_that_left_unread_input_gives_way_to_the_next)
{
	rig_setup(socket_open);
	port.limit = 0;
	int fd = rig_connect();
	CHECK(run_until(loop, is_connected, NULL));
	unsigned int before = open_descriptors();
	CHECK_EQ(write(fd, "lost", 4), 4);
	close(fd);
	run_for_ms(loop, 5);
	fd = rig_connect();
	put("hello");
	check_gives(fd, "hello");
	CHECK_EQ(open_descriptors(), before);
	close(fd);
	rig_teardown();
}

static bool room_was_told(void *arg)
{
	(void)arg;
	return port.room_calls > 0;
}

TEST(slow_reader_makes_the_stream_refuse_and_then_tells_room)
{
	static char buf[1024 * 1024];
	size_t taken = 0, n;
	uint8_t piece[1000];
	rig_setup(socket_open);
	memset(piece, 'x', sizeof(piece));
	int fd = rig_connect();
	CHECK(run_until(loop, is_connected, NULL));
	do {
		n = chardev_write(stream, piece, sizeof(piece));
		taken += n;
		run_for_ms(loop, 1);
	} while (n == sizeof(piece) && taken < sizeof(buf));
	CHECK(taken < sizeof(buf)); /* bounded: the socket's buffer and 64 KiB */
	CHECK_EQ(chardev_write(stream, piece, sizeof(piece)), 0);
	run_for_ms(loop, 20);
	CHECK_EQ(port.room_calls, 0);
	CHECK(fd_gives(loop, fd, buf, taken));
	CHECK(run_until(loop, room_was_told, NULL));
	CHECK_EQ(port.room_calls, 1);
	close(fd);
	rig_teardown();
}

TEST(slow_reader_that_leaves_frees_the_port)
{
	uint8_t piece[1000] = { 0 };
	rig_setup(socket_open);
	int fd = rig_connect();
	CHECK(run_until(loop, is_connected, NULL));
	while (chardev_write(stream, piece, sizeof(piece)) == sizeof(piece))
		run_for_ms(loop, 1);
	close(fd);
	CHECK(run_until(loop, room_was_told, NULL));
	CHECK_EQ(chardev_write(stream, piece, sizeof(piece)), sizeof(piece));
	rig_teardown();
}

TEST(idle_client_costs_no_turns)
{
	rig_setup(socket_open);
	int fd = rig_connect();
	CHECK(run_until(loop, is_connected, NULL));
	port.limit = 0;
	CHECK_EQ(write(fd, "refused", 7), 7);
	shutdown(fd, SHUT_WR);
	struct timespec a, b;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	run_for_ms(loop, 200);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	CHECK((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec < 100 * 1000 * 1000);
	close(fd);
	rig_teardown();
}

TEST(socket_file_is_the_owners_only)
{
	struct stat st;
	rig_setup(socket_open);
	CHECK_EQ(stat(path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0600);
	rig_teardown();
}

TEST(live_socket_is_not_taken_over_and_a_dead_one_is)
{
	struct chardev *other = NULL;
	rig_setup(socket_open);
	CHECK_EQ(socket_open(loop, path, &other), -EADDRINUSE);
	chardev_close(stream);
	/* What a killed process leaves behind. */
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	strcpy(addr.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	CHECK_EQ(access(path, F_OK), 0);
	CHECK_EQ(socket_open(loop, path, &stream), 0);
	rig_teardown();
}

TEST(other_files_are_left_alone)
{
	struct chardev *other = NULL;
	char file[128], longest[200];
	rig_setup(socket_open);
	snprintf(file, sizeof(file), "%s/file", dir);
	int fd = open(file, O_CREAT | O_WRONLY, 0600);
	CHECK_EQ(socket_open(loop, file, &other), -EEXIST);
	CHECK_EQ(access(file, F_OK), 0);
	close(fd);
	unlink(file);
	CHECK_EQ(socket_open(loop, "/nonexistent/x", &other), -ENOENT);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	CHECK_EQ(socket_open(loop, longest, &other), -ENAMETOOLONG);
	CHECK(!other);
	rig_teardown();
}

TEST(another_port_may_take_over_the_stream)
{
	static struct fake_port second;
	rig_setup(socket_open);
	int fd = rig_connect();
	CHECK(run_until(loop, is_connected, NULL));
	chardev_detach(stream);
	CHECK_EQ(write(fd, "kept", 4), 4);
	run_for_ms(loop, 5);
	CHECK_EQ(port.len, 0);
	fake_port_init(&second);
	chardev_attach(stream, &second.base, &second.lock);
	CHECK(port_gets(loop, &second, "kept"));
	CHECK_EQ(second.connected, 1);
	close(fd);
	rig_teardown();
}

TEST_MAIN(T(both_directions_work), T(first_client_sees_what_was_said_before_it_came),
	  T(only_the_latest_64_kib_are_kept), T(next_client_gets_only_what_the_last_one_did_not),
	  T(second_client_at_a_time_is_told_and_let_go),
	  T(client_may_come_in_the_turn_in_which_another_leaves),
	  T(client_that_ended_its_input_still_reads),
	  T(input_of_a_client_that_left_at_once_arrives_whole),
	  T(client_that_left_unread_input_gives_way_to_the_next),
	  T(slow_reader_makes_the_stream_refuse_and_then_tells_room),
	  T(slow_reader_that_leaves_frees_the_port), T(idle_client_costs_no_turns),
	  T(socket_file_is_the_owners_only), T(live_socket_is_not_taken_over_and_a_dead_one_is),
	  T(other_files_are_left_alone), T(another_port_may_take_over_the_stream))
