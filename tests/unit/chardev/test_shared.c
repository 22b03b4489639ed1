/* SPDX-License-Identifier: Apache-2.0 */
/* The shared console: who writes, who comes late, who does not read. */
#include "devices/chardev/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/chardev/socket_rig.h"
#include "tests/unit/test.h"
#include "vmm/base/clock.h"

/* One that has been accepted. */
static int client(void)
{
	int fd = rig_connect();
	run_for_ms(loop, 3);
	return fd;
}

/* One that comes by the control socket. */
static int joined(struct chardev_join how)
{
	int fds[2];
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	CHECK_EQ(chardev_join(stream, fds[1], &how), 0);
	return fds[0];
}

static void type(int fd, const char *text)
{
	CHECK_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	run_for_ms(loop, 3);
}

/* All that can be read now, as text. */
static const char *all_of(int fd)
{
	static char buf[512 * 1024];
	size_t len = 0;
	ssize_t n;
	run_for_ms(loop, 5);
	while ((n = recv(fd, buf + len, sizeof(buf) - 1 - len, MSG_DONTWAIT)) > 0) {
		len += (size_t)n;
		run_for_ms(loop, 2);
	}
	buf[len] = '\0';
	return buf;
}

static bool has_ended(int fd)
{
	char byte;
	all_of(fd);
	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

TEST(all_see_and_the_first_writes)
{
	rig_setup(shared_open);
	int first = client(), second = client();
	CHECK(strstr(all_of(second), "[charmvm: another client writes here"));
	put("login: ");
	check_gives(first, "login: ");
	check_gives(second, "login: ");
	type(second, "evil\n");
	type(first, "root\n");
	CHECK(port_gets(loop, &port, "root\n"));
	CHECK_STR(all_of(first), "");
	close(first);
	close(second);
	rig_teardown();
}

TEST(keys_of_a_reader_are_told_once_and_never_pile_up)
{
	static char keys[300 * 1024];
	rig_setup(shared_open);
	int first = client(), second = client();
	type(first, "mine");
	/* Who was taken the writing from is told when it types on. */
	int third = joined((struct chardev_join){ .force = true });
	CHECK(strstr(all_of(first), "has taken over"));
	memset(keys, 'k', sizeof(keys));
	for (size_t sent = 0; sent < sizeof(keys);) {
		ssize_t n = send(first, keys, sizeof(keys) - sent, MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
		run_for_ms(loop, 1);
	}
	const char *said = strstr(all_of(first), "[charmvm: another client writes here");
	CHECK(said && !strstr(said + 1, "[charmvm"));
	type(third, " theirs");
	CHECK(port_gets(loop, &port, "mine theirs"));
	close(first);
	close(second);
	close(third);
	rig_teardown();
}

TEST(who_waits_longest_follows_and_who_watches_never_does)
{
	rig_setup(shared_open);
	int writer = client();
	int watcher = joined((struct chardev_join){ .watch = true });
	int second = client(), third = client();
	CHECK(strstr(all_of(watcher), "[charmvm: this client reads only]"));
	all_of(second);
	all_of(third);
	close(writer);
	CHECK(strstr(all_of(second), "this client writes from now on"));
	CHECK_STR(all_of(third), "");
	CHECK_STR(all_of(watcher), "");
	type(second, "two");
	shutdown(second, SHUT_WR); /* ends its input and reads on */
	CHECK(strstr(all_of(third), "this client writes from now on"));
	type(third, "three");
	CHECK(port_gets(loop, &port, "twothree"));
	put("to all");
	check_gives(second, "to all");
	close(second);
	close(third);
	run_for_ms(loop, 5);
	type(watcher, "nothing");
	CHECK_EQ(port.len, 8);
	CHECK(port.connected);
	close(watcher);
	run_for_ms(loop, 5);
	CHECK(!port.connected);
	CHECK_EQ(port.times_connected, 1);
	rig_teardown();
}

TEST(late_comer_gets_what_was_said)
{
	rig_setup(shared_open);
	put("Linux version 6.1\r\n");
	int first = client();
	check_gives(first, "Linux version 6.1\r\n");
	put("login: ");
	int second = client();
	CHECK(strstr(all_of(second), "Linux version 6.1\r\nlogin: \r\n[charmvm: another"));
	int third = joined((struct chardev_join){ .force = true, .no_history = true });
	CHECK_STR(all_of(third), "");
	close(first);
	close(second);
	close(third);
	rig_teardown();
}

TEST(history_is_the_latest_64_kib_from_a_line_on)
{
	rig_setup(shared_open);
	for (int i = 0; i < 10000; i++) {
		char line[32];
		snprintf(line, sizeof(line), "line %04d\n", i);
		put(line);
	}
	int fd = client();
	const char *text = all_of(fd);
	size_t len = strlen(text);
	CHECK(len <= SHARED_HISTORY_BYTES && len > SHARED_HISTORY_BYTES - 10);
	CHECK(!strncmp(text, "line ", 5) && text[9] == '\n');
	CHECK_STR(text + len - 10, "line 9999\n");
	close(fd);
	rig_teardown();
}

TEST(writer_may_be_slow_and_the_guest_waits_for_it)
{
	static uint8_t piece[1000];
	size_t taken = 0, got = 0, n;
	rig_setup(shared_open);
	memset(piece, 'x', sizeof(piece));
	int fd = client();
	do {
		n = chardev_write(stream, piece, sizeof(piece));
		taken += n;
		run_for_ms(loop, 1);
	} while (n == sizeof(piece) && taken < 2000000);
	CHECK(taken < 2000000);
	CHECK_EQ(port.room_calls, 1); /* of its coming */
	/* It reads, but less than what frees half of its queue in time. */
	uint64_t end_ns = clock_now_ns() + (SHARED_STALL_MS + 1000) * NS_PER_MS;
	while (clock_now_ns() < end_ns) {
		char buf[40000];
		ssize_t r = got < taken / 2 ? recv(fd, buf, sizeof(buf), MSG_DONTWAIT) : 0;
		got += r > 0 ? (size_t)r : 0;
		run_for_ms(loop, 500);
	}
	const char *rest = all_of(fd);
	CHECK(!strstr(rest, "[charmvm"));
	CHECK_EQ(got + strlen(rest), taken);
	CHECK_EQ(port.room_calls, 2);
	close(fd);
	rig_teardown();
}

static bool room_was_told(void *arg)
{
	(void)arg;
	return port.room_calls > 1;
}

TEST(writer_that_does_not_read_is_let_go_and_another_follows)
{
	static uint8_t piece[1000];
	rig_setup(shared_open);
	memset(piece, 'x', sizeof(piece));
	int fd = client(), other = client();
	all_of(other);
	do
		run_for_ms(loop, 1);
	while (chardev_write(stream, piece, sizeof(piece)) == sizeof(piece) && all_of(other));
	uint64_t begin_ns = clock_now_ns();
	CHECK(run_until(loop, room_was_told, NULL));
	CHECK(clock_now_ns() - begin_ns < 2 * SHARED_STALL_MS * NS_PER_MS);
	CHECK(strstr(all_of(other), "this client writes from now on"));
	CHECK_EQ(chardev_write(stream, piece, sizeof(piece)), sizeof(piece));
	const char *rest = all_of(fd);
	CHECK(strstr(rest, "this client reads too slowly and is let go; come again]\r\n"));
	CHECK(has_ended(fd));
	close(fd);
	close(other);
	rig_teardown();
}

TEST(reader_that_does_not_read_harms_nobody)
{
	static uint8_t piece[1000];
	size_t said = 0, heard = 0;
	rig_setup(shared_open);
	memset(piece, 'x', sizeof(piece));
	int fd = client(), stuck = client();
	while (said < 2000000) {
		said += chardev_write(stream, piece, sizeof(piece));
		heard += strlen(all_of(fd));
	}
	CHECK_EQ(said, 2000000);
	heard += strlen(all_of(fd));
	CHECK_EQ(heard, said);
	CHECK(strstr(all_of(stuck), "too slowly"));
	CHECK(has_ended(stuck));
	close(stuck);
	close(fd);
	rig_teardown();
}

TEST(places_are_bounded_and_the_stuck_make_way)
{
	static uint8_t piece[1000];
	int fds[SHARED_CLIENTS_MAX];
	rig_setup(shared_open);
	memset(piece, 'x', sizeof(piece));
	for (int i = 0; i < SHARED_CLIENTS_MAX; i++)
		fds[i] = client();
	int late = client();
	CHECK(strstr(all_of(late), "as many as can be"));
	CHECK(has_ended(late));
	close(late);
	for (int n = 0; n < 1000; n++) {
		CHECK_EQ(chardev_write(stream, piece, sizeof(piece)), sizeof(piece));
		for (int i = 0; i < SHARED_CLIENTS_MAX - 1; i++)
			if (n % 50 == 0)
				all_of(fds[i]);
		run_for_ms(loop, n % 50 == 0);
	}
	late = client();
	CHECK(!strstr(all_of(late), "as many as can be"));
	put("for all");
	CHECK(strstr(all_of(late), "for all"));
	for (int i = 0; i < SHARED_CLIENTS_MAX; i++)
		close(fds[i]);
	close(late);
	run_for_ms(loop, 5);
	CHECK(!port.connected);
	rig_teardown();
}

TEST(keys_of_one_that_left_at_once_arrive_whole)
{
	rig_setup(shared_open);
	port.limit = 2;
	int fd = client();
	CHECK_EQ(write(fd, "poweroff\n", 9), 9);
	close(fd);
	CHECK(port_gets(loop, &port, "po"));
	port.limit = 100;
	chardev_input_ready(stream);
	CHECK(port_gets(loop, &port, "poweroff\n"));
	run_for_ms(loop, 5);
	CHECK(!port.connected);
	rig_teardown();
}

TEST(what_a_guest_does_not_take_holds_nobody_up)
{
	rig_setup(shared_open);
	port.limit = 0;
	int first = client(), second = client();
	type(first, "lost");
	close(joined((struct chardev_join){ .force = true }));
	CHECK(strstr(all_of(first), "writes from now on")); /* the one who has been there longest */
	close(first);
	run_for_ms(loop, 5);
	port.limit = 100;
	type(second, "here");
	CHECK(port_gets(loop, &port, "here"));
	close(second);
	rig_teardown();
}

TEST(another_port_may_take_over_the_stream)
{
	static struct fake_port second;
	rig_setup(shared_open);
	put("before ");
	int fd = client();
	chardev_detach(stream);
	CHECK_EQ(write(fd, "kept", 4), 4);
	run_for_ms(loop, 5);
	CHECK_EQ(port.len, 0);
	fake_port_init(&second);
	chardev_attach(stream, &second.base, &second.lock);
	CHECK(port_gets(loop, &second, "kept"));
	CHECK_EQ(second.connected, 1);
	put("after");
	check_gives(fd, "before after");
	int late = client();
	CHECK(!strncmp(all_of(late), "before after", 12));
	close(fd);
	close(late);
	rig_teardown();
}

TEST_MAIN(T(all_see_and_the_first_writes), T(keys_of_a_reader_are_told_once_and_never_pile_up),
	  T(who_waits_longest_follows_and_who_watches_never_does), T(late_comer_gets_what_was_said),
	  T(history_is_the_latest_64_kib_from_a_line_on),
	  T(writer_may_be_slow_and_the_guest_waits_for_it),
	  T(writer_that_does_not_read_is_let_go_and_another_follows),
	  T(reader_that_does_not_read_harms_nobody), T(places_are_bounded_and_the_stuck_make_way),
	  T(keys_of_one_that_left_at_once_arrive_whole),
	  T(what_a_guest_does_not_take_holds_nobody_up), T(another_port_may_take_over_the_stream))
