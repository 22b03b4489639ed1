/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands through the agent: the real charmvm-agent as a process of this host, the host's end on a loop of its own thread,
 * a socket where the guest's port would be, and hostile ends in the place of each.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/chardev/chardev.h"
#include "tests/unit/test.h"
#include "vmm/agent/agent.h"
#include "vmm/agent/agent_call.h"
#include "vmm/base/checked.h"
#include "vmm/core/loop.h"
#include "vmm/exit_status.h"

enum { TIMEOUT_S = 30 };

/* The console port: the agent's stream on one side, a socket on the other. */
struct rig {
	struct loop *loop;
	struct agent *agent;
	pthread_mutex_t lock;
	struct chardev_port port;
	struct loop_fd src;
	pthread_t thread;
	bool threaded;
	int peer; /* of a hostile guest, or -1 */
	pid_t pid;
	int client; /* the command's side */
	struct agent_link link;
};

static size_t port_input(struct chardev_port *p, const uint8_t *buf, size_t len)
{
	struct rig *r = container_of(p, struct rig, port);
	ssize_t n = send(r->src.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < (ssize_t)len)
		loop_fd_modify(r->loop, &r->src, EPOLLIN | EPOLLOUT);
	return n > 0 ? (size_t)n : 0;
}

static void on_port(void *opaque, uint32_t events)
{
	struct rig *r = opaque;
	uint8_t buf[4096];
	if (events & EPOLLOUT) {
		loop_fd_modify(r->loop, &r->src, EPOLLIN);
		chardev_input_ready(agent_chardev(r->agent));
	}
	if (!(events & EPOLLIN))
		return;
	ssize_t n = recv(r->src.fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n > 0)
		chardev_write(agent_chardev(r->agent), buf, (size_t)n);
	else if (n == 0)
		loop_fd_remove(r->loop, &r->src);
}

static void plug(struct rig *r, int fd)
{
	r->src = (struct loop_fd){
		.fd = fd, .events = EPOLLIN, .lock = &r->lock, .fn = on_port, .opaque = r
	};
	CHECK_EQ(loop_fd_add(r->loop, &r->src), 0);
	chardev_attach(agent_chardev(r->agent), &r->port, &r->lock);
}

static void unplug(struct rig *r)
{
	chardev_detach(agent_chardev(r->agent));
	loop_fd_remove(r->loop, &r->src);
	close(r->src.fd);
}

/* The program beside this one: build/ARCH/MODE/charmvm-agent. */
static pid_t start_agent(int fd)
{
	char path[512], text[16];
	ssize_t n = readlink("/proc/self/exe", path, 400);
	CHECK(n > 0);
	path[n] = '\0';
	char *tests = strstr(path, "/tests/unit/");
	CHECK(tests);
	strcpy(tests, "/charmvm-agent");
	snprintf(text, sizeof(text), "%d", fd);
	pid_t pid = fork();
	if (!pid) {
		execl(path, path, "--fd", text, NULL);
		_exit(127);
	}
	return pid;
}

static void new_agent(struct rig *r)
{
	int pair[2];
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fcntl(pair[0], F_SETFD, FD_CLOEXEC);
	r->pid = start_agent(pair[1]);
	close(pair[1]);
	plug(r, pair[0]);
}

static void *run_loop(void *opaque)
{
	loop_run(opaque);
	return NULL;
}

static void go(struct rig *r)
{
	r->threaded = !pthread_create(&r->thread, NULL, run_loop, r->loop);
	CHECK(r->threaded);
}

static void halt(struct rig *r)
{
	if (!r->threaded)
		return;
	loop_stop(r->loop);
	pthread_join(r->thread, NULL);
	r->threaded = false;
}

static int new_client(struct rig *r)
{
	int pair[2];
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_EQ(agent_add_client(r->agent, pair[1]), 0);
	return pair[0];
}

static void rig_init(struct rig *r)
{
	*r = (struct rig){ .peer = -1, .port = { .input = port_input } };
	pthread_mutex_init(&r->lock, NULL);
	CHECK_EQ(loop_create(&r->loop), 0);
	CHECK_EQ(agent_create(r->loop, &r->agent), 0);
	r->client = new_client(r);
	agent_link_init(&r->link, r->client, TIMEOUT_S);
}

static void rig_fini(struct rig *r)
{
	halt(r);
	unplug(r);
	agent_destroy(r->agent);
	loop_destroy(r->loop);
	close(r->client);
	if (r->pid)
		waitpid(r->pid, NULL, 0);
}

static void setup(struct rig *r)
{
	rig_init(r);
	new_agent(r);
	go(r);
}

static char output[1 << 16];

static int run_at(struct rig *r, const char *script, const char *input, int err)
{
	char *argv[] = { "sh", "-c", (char *)script, NULL };
	const char *env[] = { "CHARMVM_TEST=from the host", NULL };
	char name[] = "/tmp/charmvm-agent-out.XXXXXX";
	int in = -1, out = mkstemp(name);
	unlink(name);
	if (input) {
		char in_name[] = "/tmp/charmvm-agent-in.XXXXXX";
		in = mkstemp(in_name);
		unlink(in_name);
		CHECK_EQ(write(in, input, strlen(input)), strlen(input));
		lseek(in, 0, SEEK_SET);
	}
	const struct agent_call call = { .argv = argv,
					 .argc = 3,
					 .env = env,
					 .user = "root",
					 .cwd = "/",
					 .in = in,
					 .out = out,
					 .err = err == 1 ? out : err };
	int status = agent_call_run(&r->link, &call);
	ssize_t n = pread(out, output, sizeof(output) - 1, 0);
	output[MAX(n, 0)] = '\0';
	close(out);
	if (in >= 0)
		close(in);
	return status;
}

static int run(struct rig *r, const char *script)
{
	return run_at(r, script, NULL, 1);
}

TEST(command_has_status_output_environment_and_directory)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(run(&r, "echo $CHARMVM_TEST in $PWD; exit 7"), 7);
	CHECK_STR(output, "from the host in /\n");
	/* The same connection takes the next one. */
	CHECK_EQ(run(&r, "echo error >&2; kill -TERM $$"), 128 + SIGTERM);
	CHECK_STR(output, "error\n");
	rig_fini(&r);
}

TEST(input_arrives_and_ends)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(run_at(&r, "cat; echo end", "some input\n", 1), 0);
	CHECK_STR(output, "some input\nend\n");
	CHECK_EQ(run_at(&r, "true", "nobody reads this\n", 1), 0);
	rig_fini(&r);
}

TEST(megabytes_pass_both_ways_through_bounded_buffers)
{
	struct rig r;
	static char big[1 << 21];
	setup(&r);
	memset(big, 'x', sizeof(big) - 1);
	CHECK_EQ(run_at(&r, "sleep 0.2; wc -c", big, 1), 0);
	CHECK_EQ(atoi(output), sizeof(big) - 1);
	CHECK_EQ(run(&r, "head -c 3000000 /dev/zero | tr '\\0' y"), 0);
	CHECK_EQ(strspn(output, "y"), sizeof(output) - 1);
	/* And in frames of a byte each, which cost their headers. */
	CHECK_EQ(run(&r, "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo; done"), 0);
	CHECK_EQ(strlen(output), 3000);
	rig_fini(&r);
}

TEST(command_that_leaves_others_behind_is_not_waited_for)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(run(&r, "sleep 20 & echo gone"), 0);
	CHECK_STR(output, "gone\n");
	rig_fini(&r);
}

TEST(what_cannot_be_run_has_its_status)
{
	struct rig r;
	char *none[] = { "/no/such/program" }, *dir[] = { "/tmp" };
	struct agent_call call = {
		.argv = none, .argc = 1, .user = "root", .in = -1, .out = -1, .err = -1
	};
	setup(&r);
	CHECK_EQ(agent_call_run(&r.link, &call), EXIT_STATUS_NOT_FOUND);
	call.argv = dir;
	CHECK_EQ(agent_call_run(&r.link, &call), EXIT_STATUS_CANNOT_RUN);
	call.user = "nobody-of-that-name";
	CHECK_EQ(agent_call_run(&r.link, &call), EXIT_STATUS_NO_RUN);
	CHECK_EQ(run(&r, "true"), 0);
	rig_fini(&r);
}

TEST(time_is_up_and_the_command_gets_a_hangup)
{
	struct rig r;
	setup(&r);
	unlink("/tmp/charmvm-agent-hup");
	agent_link_init(&r.link, r.client, 1);
	CHECK_EQ(run(&r, "exec >/dev/null 2>&1; trap 'echo >/tmp/charmvm-agent-hup; exit' HUP; "
			 "while :; do sleep 0.1; done"),
		 EXIT_STATUS_TIMEOUT);
	shutdown(r.client, SHUT_RDWR);
	for (int i = 0; i < 100 && access("/tmp/charmvm-agent-hup", F_OK); i++)
		usleep(50000);
	CHECK_EQ(unlink("/tmp/charmvm-agent-hup"), 0);
	rig_fini(&r);
}

TEST(terminal_has_its_size)
{
	struct rig r;
	/* Input that is no terminal: then there is no raw mode here, and a size of 0. */
	char *argv[] = { "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && exit 5" };
	const struct agent_call call = { .argv = argv,
					 .argc = 3,
					 .flags = EXEC_TTY,
					 .user = "root",
					 .in = -1,
					 .out = -1,
					 .err = -1 };
	setup(&r);
	CHECK_EQ(agent_call_run(&r.link, &call), 5);
	rig_fini(&r);
}

TEST(new_agent_ends_the_old_session_and_begins_another)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(run(&r, "true"), 0);
	halt(&r);
	unplug(&r);
	waitpid(r.pid, NULL, 0);
	new_agent(&r);
	go(&r);
	/* The link still has the old session's number: its command must not reach the new one. */
	CHECK_EQ(agent_link_send(&r.link, FRAME_EXEC, (uint8_t[12]){ 0 }, 12), 0);
	r.link.up = false;
	CHECK_EQ(agent_link_wait(&r.link), 0);
	CHECK_EQ(run(&r, "exit 3"), 3);
	rig_fini(&r);
}

/* The device stays, as it does in a machine that boots again. */
TEST(guest_that_is_reset_is_not_up_until_it_answers_again)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(run(&r, "true"), 0);
	CHECK(agent_is_up(r.agent));
	halt(&r);
	agent_guest_reset(r.agent);
	CHECK(!agent_is_up(r.agent));
	go(&r);
	r.link.up = false;
	CHECK_EQ(agent_link_wait(&r.link), 0);
	CHECK_EQ(run(&r, "exit 6"), 6);
	rig_fini(&r);
}

TEST(device_made_anew_around_a_running_agent_keeps_it)
{
	struct rig r;
	setup(&r);
	CHECK_EQ(run(&r, "true"), 0);
	halt(&r);
	/* As a revert does: what was on the way is lost, the agent in the guest knows nothing of it. */
	chardev_detach(agent_chardev(r.agent));
	static const uint8_t half[FRAME_HEADER_BYTES] = { FRAME_MARK, FRAME_STDIN, 0xff, 0x3f };
	CHECK_EQ(send(r.src.fd, half, sizeof(half), 0), sizeof(half));
	chardev_attach(agent_chardev(r.agent), &r.port, &r.lock);
	go(&r);
	r.link.up = false;
	CHECK_EQ(agent_link_wait(&r.link), 0);
	CHECK_EQ(run(&r, "exit 4"), 4);
	rig_fini(&r);
}

/* ---- hostile guests ---- */

static void plug_peer(struct rig *r)
{
	int pair[2];
	rig_init(r);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	plug(r, pair[0]);
	r->peer = pair[1];
	go(r);
}

/* Reads up to a HELLO and answers it. -> the session. */
static uint32_t greet(struct rig *r)
{
	static struct frame_decoder d;
	static uint8_t buf[1];
	uint8_t answer[FRAME_MAX];
	struct frame f = { 0 };
	memset(&d, 0, sizeof(d));
	while (f.type != FRAME_HELLO) {
		const uint8_t *p = buf;
		size_t len = 1;
		CHECK_EQ(recv(r->peer, buf, 1, 0), 1);
		CHECK(frame_get(&d, &p, &len, &f) >= 0);
	}
	uint32_t session = frame_u32(&f, 4);
	f.type = FRAME_WELCOME;
	f.session = session;
	size_t len = frame_put(answer, &f);
	CHECK_EQ(send(r->peer, answer, len, 0), len);
	return session;
}

static void peer_says(struct rig *r, enum frame_type type, uint32_t session, uint32_t stream,
		      uint16_t len)
{
	static uint8_t payload[FRAME_PAYLOAD_MAX], buf[FRAME_MAX];
	const struct frame f = { type, session, stream, len, payload };
	size_t n = frame_put(buf, &f);
	CHECK_EQ(send(r->peer, buf, n, 0), n);
}

static void begin_command(struct rig *r)
{
	CHECK_EQ(agent_link_wait(&r->link), 0);
	CHECK_EQ(agent_link_send(&r->link, FRAME_EXEC, (uint8_t[12]){ 0 }, 12), 0);
	CHECK_EQ(agent_link_send(&r->link, FRAME_CREDIT, (uint8_t[4]){ 100 }, 4), 0);
	usleep(100000);
}

TEST(guest_that_sends_beyond_its_credit_loses_the_client)
{
	struct rig r;
	struct frame f;
	plug_peer(&r);
	uint32_t session = greet(&r);
	begin_command(&r);
	peer_says(&r, FRAME_STDOUT, session, 1, 50);
	CHECK_EQ(agent_link_next(&r.link, true, &f), 1);
	CHECK_EQ(f.type, FRAME_STDOUT);
	peer_says(&r, FRAME_STDOUT, session, 1, 50);
	CHECK_EQ(agent_link_next(&r.link, true, &f), -EPIPE);
	close(r.peer);
	rig_fini(&r);
}

TEST(frames_of_other_streams_and_sessions_reach_nobody)
{
	struct rig r;
	struct frame f;
	plug_peer(&r);
	uint32_t session = greet(&r);
	begin_command(&r);
	peer_says(&r, FRAME_STDOUT, session, 2, 10);
	peer_says(&r, FRAME_STDOUT, session + 1, 1, 10);
	peer_says(&r, FRAME_STDOUT, session, 0, 10);
	peer_says(&r, FRAME_EXIT, session, 1, 8);
	CHECK_EQ(agent_link_next(&r.link, true, &f), 1);
	CHECK_EQ(f.type, FRAME_EXIT);
	close(r.peer);
	rig_fini(&r);
}

TEST(guest_that_talks_rubbish_loses_its_session_and_may_begin_anew)
{
	struct rig r;
	struct frame f;
	plug_peer(&r);
	greet(&r);
	begin_command(&r);
	CHECK_EQ(send(r.peer, "rubbish, and more of it", 23, 0), 23);
	CHECK_EQ(agent_link_next(&r.link, true, &f), 1);
	CHECK_EQ(f.type, FRAME_ERROR);
	CHECK_EQ(frame_u32(&f, 0), AGENT_ERROR_GONE);
	peer_says(&r, FRAME_READY, 0, 0, 0);
	/* What the host had said to the old session comes first. */
	greet(&r);
	r.link.up = false;
	CHECK_EQ(agent_link_wait(&r.link), 0);
	close(r.peer);
	rig_fini(&r);
}

TEST(client_that_breaks_the_rules_is_hung_up_on)
{
	static const struct {
		enum frame_type type;
		uint32_t v;
	} bad[] = {
		{ FRAME_READY, 0 }, { FRAME_TIME, 0 }, { FRAME_STDOUT, 0 },
		{ FRAME_EXIT, 0 },  { FRAME_EXEC, 0 }, { FRAME_CREDIT, AGENT_WINDOW_BYTES + 1 }
	};
	struct rig r;
	struct frame f;
	plug_peer(&r);
	greet(&r);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t v[4];
		begin_command(&r);
		frame_set_u32(v, bad[i].v);
		CHECK_EQ(agent_link_send(&r.link, bad[i].type, v, 4), 0);
		CHECK_EQ(agent_link_next(&r.link, true, &f), -EPIPE);
		close(r.client);
		halt(&r);
		r.client = new_client(&r);
		go(&r);
		agent_link_init(&r.link, r.client, TIMEOUT_S);
	}
	close(r.peer);
	rig_fini(&r);
}

TEST_MAIN(T(command_has_status_output_environment_and_directory), T(input_arrives_and_ends),
	  T(megabytes_pass_both_ways_through_bounded_buffers),
	  T(command_that_leaves_others_behind_is_not_waited_for),
	  T(what_cannot_be_run_has_its_status), T(time_is_up_and_the_command_gets_a_hangup),
	  T(terminal_has_its_size), T(new_agent_ends_the_old_session_and_begins_another),
	  T(guest_that_is_reset_is_not_up_until_it_answers_again),
	  T(device_made_anew_around_a_running_agent_keeps_it),
	  T(guest_that_sends_beyond_its_credit_loses_the_client),
	  T(frames_of_other_streams_and_sessions_reach_nobody),
	  T(guest_that_talks_rubbish_loses_its_session_and_may_begin_anew),
	  T(client_that_breaks_the_rules_is_hung_up_on))
