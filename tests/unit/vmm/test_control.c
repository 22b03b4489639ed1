/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket against peers of every kind, on a real loop and a real socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/base/checked.h"
#include "vmm/base/log.h"
#include "vmm/control/control.h"
#include "vmm/control/control_path.h"
#include "vmm/core/loop.h"

enum { TURNS = 50, LONG_DIR = 150 };

struct bench {
	char dir[512], path[600];
	struct loop *loop;
	struct control *control;
	struct control_call *held; /* by the verb "hold" */
	unsigned int gone;
	int taken;
};

/* ---- verbs of the test's own ---- */

static void verb_echo(struct control_call *call, const json_t *request)
{
	control_ok(call, json_pack("{s:O?}", "echo", json_object_get(request, "text")));
}

static void verb_hold(struct control_call *call, const json_t *request)
{
	(void)request;
	struct bench *b = control_opaque(call);
	b->held = call;
}

static void on_gone(void *opaque)
{
	struct bench *b = opaque;
	b->held = NULL;
	b->gone++;
}

static void verb_cancellable(struct control_call *call, const json_t *request)
{
	verb_hold(call, request);
	control_on_gone(call, on_gone, control_opaque(call));
}

static void verb_take(struct control_call *call, const json_t *request)
{
	(void)request;
	struct bench *b = control_opaque(call);
	b->taken = control_take(call, json_pack("{s:b}", "raw", 1));
}

static void verb_large(struct control_call *call, const json_t *request)
{
	size_t len = (size_t)control_arg_int(request, "bytes", 0);
	char *text = malloc(len + 1);
	memset(text, 'x', len);
	text[len] = '\0';
	control_ok(call, json_pack("{s:s}", "text", text));
	free(text);
}

static void verb_chatty(struct control_call *call, const json_t *request)
{
	(void)request;
	for (int i = 0; i < 100000; i++)
		control_progress(call, json_pack("{s:i}", "done", i));
	control_ok(call, NULL);
}

static void verb_fail(struct control_call *call, const json_t *request)
{
	control_fail(call, EXIT_STATUS_FILE, "%s: not there",
		     control_arg_bool(request, "binary", false) ? "\xff\xfe" : "x.qcow2");
}

static const struct control_verb verbs[] = {
	{ "echo", verb_echo }, { "hold", verb_hold },	{ "cancellable", verb_cancellable },
	{ "take", verb_take }, { "large", verb_large }, { "chatty", verb_chatty },
	{ "fail", verb_fail },
};

/* ---- the bench ---- */

static void start(struct bench *b, bool long_path)
{
	*b = (struct bench){ .taken = -1 };
	snprintf(b->dir, sizeof(b->dir), "/tmp/charmvm-control.XXXXXX");
	CHECK(mkdtemp(b->dir));
	if (long_path) {
		size_t at = strlen(b->dir);
		b->dir[at] = '/';
		memset(b->dir + at + 1, 'd', LONG_DIR);
		CHECK_EQ(mkdir(b->dir, 0700), 0);
	}
	snprintf(b->path, sizeof(b->path), "%s/m.sock", b->dir);
	CHECK_EQ(loop_create(&b->loop), 0);
	struct control_config cfg = { .path = b->path,
				      .name = "m",
				      .verbs = verbs,
				      .nverbs = ARRAY_SIZE(verbs),
				      .opaque = b };
	CHECK_EQ(control_create(b->loop, &cfg, &b->control), 0);
}

static void finish(struct bench *b)
{
	control_destroy(b->control);
	CHECK(access(b->path, F_OK) < 0);
	loop_destroy(b->loop);
	if (b->taken >= 0)
		close(b->taken);
	rmdir(b->dir);
	if (strlen(b->dir) > LONG_DIR) {
		*strrchr(b->dir, '/') = '\0';
		rmdir(b->dir);
	}
}

static void end_turn(void *opaque)
{
	*(bool *)opaque = true;
}

static void turn(struct bench *b)
{
	bool done = false;
	struct loop_timer t = { .fn = end_turn, .opaque = &done };
	loop_timer_arm(b->loop, &t, 1);
	CHECK_EQ(loop_run_until(b->loop, &done), 0);
}

static int join(struct bench *b)
{
	struct control_addr addr;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && !control_addr_of(&addr, b->path));
	CHECK_EQ(connect(fd, (struct sockaddr *)&addr.un, sizeof(addr.un)), 0);
	control_addr_done(&addr);
	return fd;
}

static void say(int fd, const char *text)
{
	CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What comes within some turns, up to the end of @size; "" and *closed when it was hung up. */
static size_t hear(struct bench *b, int fd, char *buf, size_t size, bool *closed)
{
	size_t len = 0;
	*closed = false;
	for (int i = 0; i < TURNS && len < size - 1 && !*closed; i++) {
		turn(b);
		ssize_t n = recv(fd, buf + len, size - 1 - len, MSG_DONTWAIT);
		if (n > 0)
			len += (size_t)n;
		*closed = !n || (n < 0 && errno != EAGAIN);
	}
	buf[len] = '\0';
	return len;
}

/* The lines of an answer behind the greeting. */
static void expect_answer(struct bench *b, int fd, const char *want)
{
	char buf[4096];
	bool closed;
	hear(b, fd, buf, sizeof(buf), &closed);
	char *line = strstr(buf, "\"charmvm\"") ? strchr(buf, '\n') + 1 : buf;
	CHECK_STR(line, want);
}

/* ---- the tests ---- */

TEST(greeting_names_version_protocol_and_machine)
{
	struct bench b;
	char buf[256];
	bool closed;
	start(&b, false);
	int fd = join(&b);
	hear(&b, fd, buf, sizeof(buf), &closed);
	CHECK_STR(buf, "{\"charmvm\":\"" CHARMVM_VERSION "\",\"protocol\":1,\"name\":\"m\"}\n");
	close(fd);
	finish(&b);
}

TEST(socket_is_for_its_owner_only)
{
	struct bench b;
	struct stat st;
	start(&b, false);
	CHECK_EQ(stat(b.path, &st), 0);
	CHECK_EQ(st.st_mode & 0777, 0600);
	finish(&b);
}

TEST(path_longer_than_an_address_works)
{
	struct bench b;
	start(&b, true);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"echo\",\"text\":\"hi\"}\n");
	expect_answer(&b, fd, "{\"id\":1,\"ok\":{\"echo\":\"hi\"}}\n");
	close(fd);
	finish(&b);
}

TEST(socket_of_a_dead_process_is_replaced)
{
	struct bench b;
	start(&b, false);
	struct control *second;
	struct control_config cfg = { .path = b.path, .name = "m" };
	CHECK_EQ(control_create(b.loop, &cfg, &second), 0);
	control_destroy(b.control);
	b.control = second;
	finish(&b);
}

TEST(file_in_the_place_of_the_socket_is_kept)
{
	struct bench b;
	struct control *second;
	start(&b, false);
	char path[700];
	snprintf(path, sizeof(path), "%s/file", b.dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	struct control_config cfg = { .path = path, .name = "m" };
	CHECK_EQ(control_create(b.loop, &cfg, &second), -EEXIST);
	CHECK_EQ(unlink(path), 0);
	finish(&b);
}

TEST(error_carries_status_and_message)
{
	struct bench b;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":\"a\",\"do\":\"fail\"}\n");
	expect_answer(
		&b, fd,
		"{\"id\":\"a\",\"error\":{\"status\":3,\"message\":\"x.qcow2: not there\"}}\n");
	say(fd, "{\"do\":\"fail\",\"binary\":true}\n");
	expect_answer(&b, fd,
		      "{\"id\":null,\"error\":{\"status\":3,\"message\":\"the machine has a "
		      "message that is not UTF-8\"}}\n");
	close(fd);
	finish(&b);
}

TEST(lines_in_one_piece_and_in_many_are_answered_in_order)
{
	struct bench b;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"echo\",\"text\":\"a\"}\n{\"id\":2,\"do\":\"echo\",\"te");
	expect_answer(&b, fd, "{\"id\":1,\"ok\":{\"echo\":\"a\"}}\n");
	say(fd, "xt\":\"b\"}\n");
	expect_answer(&b, fd, "{\"id\":2,\"ok\":{\"echo\":\"b\"}}\n");
	close(fd);
	finish(&b);
}

TEST(garbage_is_answered_and_the_next_line_works)
{
	static const char *const garbage[] = { "\n",
					       "nonsense\n",
					       "[1]\n",
					       "{\"id\":[],\"do\":\"echo\"}\n",
					       "{\"id\":1}\n",
					       "{\"id\":1,\"do\":7}\n",
					       "{\"id\":1,\"do\":\"no such verb\"}\n",
					       "{\"a\":1,\"a\":2}\n" };
	struct bench b;
	char buf[1024];
	bool closed;
	start(&b, false);
	int fd = join(&b);
	hear(&b, fd, buf, sizeof(buf), &closed);
	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		say(fd, garbage[i]);
		hear(&b, fd, buf, sizeof(buf), &closed);
		CHECK(strstr(buf, "\"error\":{\"status\":2") && !closed);
	}
	say(fd, "{\"id\":9,\"do\":\"echo\"}\n");
	expect_answer(&b, fd, "{\"id\":9,\"ok\":{\"echo\":null}}\n");
	close(fd);
	finish(&b);
}

TEST(endless_line_ends_the_connection)
{
	struct bench b;
	static char zeroes[1 << 16];
	start(&b, false);
	int fd = join(&b);
	ssize_t n = 0;
	size_t sent = 0;
	/* A GiB of nothing, but nobody waits for all of it. */
	for (int i = 0; i < 10 * TURNS && n >= 0; i++) {
		n = send(fd, zeroes, sizeof(zeroes), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			n = 0;
		sent += (size_t)MAX(n, 0);
		turn(&b);
	}
	CHECK(n < 0);
	CHECK(sent < (1 << 20));
	close(fd);
	finish(&b);
}

TEST(peer_that_never_reads_is_not_read_either)
{
	struct bench b;
	start(&b, false);
	int fd = join(&b);
	size_t sent = 0;
	for (int i = 0; i < 2000; i++) {
		ssize_t n = send(fd, "{\"do\":\"large\",\"bytes\":60000}\n", 30,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		sent += n > 0;
		turn(&b);
	}
	/* What fits into the socket's own buffers, and no more. */
	CHECK(sent < 2000);
	int other = join(&b);
	say(other, "{\"id\":1,\"do\":\"echo\",\"text\":\"still here\"}\n");
	expect_answer(&b, other, "{\"id\":1,\"ok\":{\"echo\":\"still here\"}}\n");
	close(other);
	close(fd);
	finish(&b);
}

TEST(large_answer_arrives_whole)
{
	struct bench b;
	static char buf[900000];
	bool closed;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"large\",\"bytes\":800000}\n");
	size_t len = hear(&b, fd, buf, sizeof(buf), &closed);
	CHECK(!closed && len > 800000 && buf[len - 1] == '\n');
	close(fd);
	finish(&b);
}

TEST(answer_beyond_the_limit_is_an_error)
{
	struct bench b;
	char buf[1024];
	bool closed;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"large\",\"bytes\":2000000}\n");
	hear(&b, fd, buf, sizeof(buf), &closed);
	CHECK(!closed && strstr(buf, "{\"id\":1,\"error\":{\"status\":1,"));
	close(fd);
	finish(&b);
}

TEST(progress_is_left_out_for_who_does_not_read)
{
	struct bench b;
	static char buf[1 << 20];
	bool closed;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"chatty\"}\n");
	size_t len = hear(&b, fd, buf, sizeof(buf), &closed);
	CHECK(!closed && len < 512 << 10);
	CHECK(strstr(buf, "{\"id\":1,\"progress\":{\"done\":0}}\n"));
	CHECK(strstr(buf, "{\"id\":1,\"ok\":{}}\n"));
	close(fd);
	finish(&b);
}

TEST(hundreds_of_connections_keep_nobody_out)
{
	struct bench b;
	int fds[300];
	start(&b, false);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = join(&b);
		turn(&b);
	}
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"echo\",\"text\":\"in\"}\n");
	expect_answer(&b, fd, "{\"id\":1,\"ok\":{\"echo\":\"in\"}}\n");
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	finish(&b);
}

TEST(client_with_a_call_under_way_keeps_its_place)
{
	struct bench b;
	int fds[100];
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"hold\"}\n");
	turn(&b), turn(&b), turn(&b);
	CHECK(b.held);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = join(&b);
		turn(&b);
	}
	control_ok(b.held, NULL);
	expect_answer(&b, fd, "{\"id\":1,\"ok\":{}}\n");
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	finish(&b);
}

TEST(next_request_waits_for_the_answer_to_the_last)
{
	struct bench b;
	char buf[1024];
	bool closed;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"hold\"}\n{\"id\":2,\"do\":\"echo\"}\n");
	hear(&b, fd, buf, sizeof(buf), &closed);
	CHECK(b.held && !strstr(buf, "\"ok\""));
	control_ok(b.held, NULL);
	expect_answer(&b, fd, "{\"id\":1,\"ok\":{}}\n{\"id\":2,\"ok\":{\"echo\":null}}\n");
	close(fd);
	finish(&b);
}

TEST(client_that_ends_its_input_still_gets_its_answer)
{
	struct bench b;
	char buf[1024];
	bool closed;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"hold\"}\n");
	shutdown(fd, SHUT_WR);
	hear(&b, fd, buf, sizeof(buf), &closed);
	CHECK(b.held && !closed);
	control_ok(b.held, NULL);
	hear(&b, fd, buf, sizeof(buf), &closed);
	CHECK(closed);
	CHECK_STR(buf, "{\"id\":1,\"ok\":{}}\n");
	close(fd);
	finish(&b);
}

TEST(half_a_line_is_nothing)
{
	struct bench b;
	start(&b, false);
	/* One who leaves in the middle, and one who says that there is no more, are both forgotten. */
	int fd = join(&b), ended = join(&b);
	say(fd, "{\"id\":1,\"do\":\"hold\"}");
	say(ended, "{\"id\":1,\"do\":\"hold\"}");
	turn(&b);
	close(fd);
	shutdown(ended, SHUT_WR);
	char buf[1024];
	bool closed;
	hear(&b, ended, buf, sizeof(buf), &closed);
	CHECK(closed && !b.held);
	int other = join(&b);
	say(other, "{\"id\":2,\"do\":\"echo\"}\n");
	expect_answer(&b, other, "{\"id\":2,\"ok\":{\"echo\":null}}\n");
	close(ended);
	close(other);
	finish(&b);
}

TEST(client_that_goes_away_cancels_its_call)
{
	struct bench b;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"cancellable\"}\n");
	turn(&b), turn(&b), turn(&b);
	CHECK(b.held);
	close(fd);
	turn(&b), turn(&b), turn(&b);
	CHECK_EQ(b.gone, 1);
	finish(&b);
}

TEST(call_that_cannot_be_cancelled_is_answered_into_the_void)
{
	struct bench b;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"hold\"}\n");
	turn(&b), turn(&b), turn(&b);
	close(fd);
	turn(&b), turn(&b), turn(&b);
	CHECK(b.held);
	control_progress(b.held, json_object());
	control_ok(b.held, json_object());
	finish(&b);
}

TEST(server_that_ends_cancels_what_is_under_way)
{
	struct bench b;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"cancellable\"}\n");
	turn(&b), turn(&b), turn(&b);
	finish(&b);
	CHECK_EQ(b.gone, 1);
	close(fd);
}

TEST(connection_is_handed_over_as_a_stream)
{
	struct bench b;
	char buf[64];
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"take\"}\n");
	expect_answer(&b, fd, "{\"id\":1,\"ok\":{\"raw\":true}}\n");
	CHECK(b.taken >= 0);
	say(fd, "raw bytes");
	turn(&b);
	CHECK_EQ(recv(b.taken, buf, sizeof(buf), MSG_DONTWAIT), 9);
	finish(&b);
	close(fd);
}

TEST(connection_with_bytes_before_the_answer_is_not_handed_over)
{
	struct bench b;
	char buf[1024];
	bool closed;
	start(&b, false);
	int fd = join(&b);
	say(fd, "{\"id\":1,\"do\":\"take\"}\nraw bytes too early");
	hear(&b, fd, buf, sizeof(buf), &closed);
	CHECK_EQ(b.taken, -EPIPE);
	CHECK(closed);
	b.taken = -1;
	close(fd);
	finish(&b);
}

TEST_MAIN(T(greeting_names_version_protocol_and_machine), T(socket_is_for_its_owner_only),
	  T(path_longer_than_an_address_works), T(socket_of_a_dead_process_is_replaced),
	  T(file_in_the_place_of_the_socket_is_kept), T(error_carries_status_and_message),
	  T(lines_in_one_piece_and_in_many_are_answered_in_order),
	  T(garbage_is_answered_and_the_next_line_works), T(endless_line_ends_the_connection),
	  T(peer_that_never_reads_is_not_read_either), T(large_answer_arrives_whole),
	  T(answer_beyond_the_limit_is_an_error), T(progress_is_left_out_for_who_does_not_read),
	  T(hundreds_of_connections_keep_nobody_out),
	  T(client_with_a_call_under_way_keeps_its_place),
	  T(next_request_waits_for_the_answer_to_the_last),
	  T(client_that_ends_its_input_still_gets_its_answer), T(half_a_line_is_nothing),
	  T(client_that_goes_away_cancels_its_call),
	  T(call_that_cannot_be_cancelled_is_answered_into_the_void),
	  T(server_that_ends_cancels_what_is_under_way), T(connection_is_handed_over_as_a_stream),
	  T(connection_with_bytes_before_the_answer_is_not_handed_over))
