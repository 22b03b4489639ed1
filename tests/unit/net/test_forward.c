/* SPDX-License-Identifier: Apache-2.0 */
/* What --forward takes, what it says otherwise, and who has a port. */
#include "devices/net/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/net/holder.h"
#include "tests/unit/net/netns.h"
#include "tests/unit/test.h"
#include "vmm/base/checked.h"

/* ---- parsing ---- */

struct good {
	const char *text;
	bool udp;
	enum forward_where where;
	const char *addr;
	uint16_t host, guest;
};

TEST(forwards_that_are_understood)
{
	static const struct good good[] = {
		{ "8080:80", false, FORWARD_LOOPBACK, NULL, 8080, 80 },
		{ "tcp:8080:80", false, FORWARD_LOOPBACK, NULL, 8080, 80 },
		{ "udp:5353:53", true, FORWARD_LOOPBACK, NULL, 5353, 53 },
		{ "localhost:1:65535", false, FORWARD_LOOPBACK, NULL, 1, 65535 },
		{ "*:8080:80", false, FORWARD_ALL, NULL, 8080, 80 },
		{ "127.0.0.2:8080:80", false, FORWARD_ADDR, "127.0.0.2", 8080, 80 },
		{ "udp:0.0.0.0:8080:80", true, FORWARD_ADDR, "0.0.0.0", 8080, 80 },
		{ "[::1]:8080:80", false, FORWARD_ADDR, "::1", 8080, 80 },
		{ "tcp:[2001:db8::2]:8080:80", false, FORWARD_ADDR, "2001:db8::2", 8080, 80 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct forward_spec s;
		CHECK_EQ(forward_parse(good[i].text, &s), 0);
		CHECK_EQ(s.udp, good[i].udp);
		CHECK_EQ(s.where, good[i].where);
		CHECK_EQ(s.host_port, good[i].host);
		CHECK_EQ(s.guest_port, good[i].guest);
		if (good[i].addr) {
			struct forward f = { .addr = s.addr };
			char text[FORWARD_ADDR_STR];
			CHECK(strstr(forward_addr_str(&f, text), good[i].addr));
		}
	}
}

TEST(forwards_that_are_not_say_what_is_expected)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "", "two ports" },
		{ "80", "two ports" },
		{ "tcp:", "two ports" },
		{ "tcp:80", "two ports" },
		{ "80:", "1 to 65535" },
		{ ":80", "1 to 65535" },
		{ "0:80", "1 to 65535" },
		{ "65536:80", "1 to 65535" },
		{ "80:-1", "1 to 65535" },
		{ "80:99999999999999999999", "1 to 65535" },
		{ " 80:80", "1 to 65535" },
		{ "80:80x", "1 to 65535" },
		{ "example.org:80:80", "neither IPv4 nor" },
		{ "1.2.3:80:80", "neither IPv4 nor" },
		{ "sctp:80:80", "neither IPv4 nor" },
		{ "::1:80:80", "goes in brackets" },
		{ "[::1:80:80", "in brackets" },
		{ "[]:80:80", "in brackets" },
		{ "[127.0.0.1]:80:80", "in brackets" },
		{ "[::1]", "in brackets" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct forward_spec s;
		log_capture_begin();
		int err = forward_parse(bad[i].text, &s);
		const char *said = log_capture_end();
		if (err != -EINVAL || !strstr(said, bad[i].why))
			printf("  \"%s\": %d, \"%s\"\n", bad[i].text, err, said);
		CHECK_EQ(err, -EINVAL);
		CHECK(strstr(said, bad[i].why));
		CHECK(strstr(said, "expected [tcp|udp:][addr:]port:guestport"));
	}
}

TEST(endless_forward_is_refused)
{
	char text[4096];
	struct forward_spec s;
	memset(text, '1', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_capture_begin();
	CHECK_EQ(forward_parse(text, &s), -EINVAL);
	CHECK(strlen(log_capture_end()) < 300);
}

/* ---- binding ---- */

static int bind_text(struct forward_list *l, const char *text)
{
	struct forward_spec s;
	CHECK_EQ(forward_parse(text, &s), 0);
	return forward_bind(l, &s);
}

static int can_connect(const char *ip, uint16_t port)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	bool is_v4 = inet_pton(AF_INET, ip, &v4.sin_addr) == 1;
	inet_pton(AF_INET6, ip, &v6.sin6_addr);
	int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
	int err = is_v4 ? connect(fd, (struct sockaddr *)&v4, sizeof(v4))
			: connect(fd, (struct sockaddr *)&v6, sizeof(v6));
	close(fd);
	return err;
}

TEST(loopback_forward_is_on_both_families)
{
	struct forward_list l;
	netns_enter();
	forward_list_init(&l);
	CHECK_EQ(bind_text(&l, "18081:80"), 0);
	CHECK_EQ(forward_list_count(&l), 2);
	CHECK_EQ(can_connect("127.0.0.1", 18081), 0);
	CHECK_EQ(can_connect("::1", 18081), 0);
	CHECK(forward_list_has(&l, false, 18081));
	CHECK(!forward_list_has(&l, true, 18081));
	forward_list_fini(&l);
	CHECK_EQ(can_connect("127.0.0.1", 18081), -1);
}

TEST(exposed_forward_is_on_all_addresses_and_excludes_the_rest)
{
	struct forward_list l;
	netns_enter();
	forward_list_init(&l);
	CHECK_EQ(bind_text(&l, "*:18082:80"), 0);
	CHECK_EQ(can_connect("127.0.0.7", 18082), 0);
	CHECK_EQ(can_connect("::1", 18082), 0);
	log_capture_begin();
	int err = bind_text(&l, "18082:81");
	log_capture_end();
	CHECK_EQ(err, -EADDRINUSE);
	CHECK_EQ(forward_list_count(&l), 2);
	forward_list_fini(&l);
}

/* A child that holds a port until it is killed. */
static pid_t hold_port(bool udp, bool v6, uint16_t port)
{
	int ready[2];
	CHECK_EQ(pipe(ready), 0);
	pid_t pid = fork();
	if (!pid) {
		struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
					   .sin6_port = htons(port),
					   .sin6_addr = in6addr_loopback };
		struct sockaddr_in a4 = { .sin_family = AF_INET,
					  .sin_port = htons(port),
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int fd = socket(v6 ? AF_INET6 : AF_INET, udp ? SOCK_DGRAM : SOCK_STREAM, 0);
		int err = v6 ? bind(fd, (struct sockaddr *)&a6, sizeof(a6))
			     : bind(fd, (struct sockaddr *)&a4, sizeof(a4));
		if (!udp)
			err |= listen(fd, 1);
		char c = err ? 'n' : 'y';
		if (write(ready[1], &c, 1) == 1)
			pause();
		_exit(0);
	}
	char c = 0;
	CHECK_EQ(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	CHECK_EQ(c, 'y');
	return pid;
}

static void check_taken_by_child(bool udp, bool v6, const char *text)
{
	struct forward_list l;
	char pid_text[32];
	netns_enter();
	pid_t pid = hold_port(udp, v6, 18083);
	forward_list_init(&l);
	log_capture_begin();
	int err = bind_text(&l, text);
	const char *said = log_capture_end();
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	snprintf(pid_text, sizeof(pid_text), "test_forward (pid %d)", (int)pid);
	CHECK_EQ(err, -EADDRINUSE);
	CHECK(strstr(said, "port 18083 of this host is taken by"));
	CHECK(strstr(said, pid_text));
	/* Nothing stays bound, not even the family that was free. */
	CHECK_EQ(forward_list_count(&l), 0);
	CHECK_EQ(can_connect("127.0.0.1", 18083), -1);
}

TEST(taken_tcp_port_names_its_holder)
{
	check_taken_by_child(false, false, "18083:80");
}

TEST(port_taken_on_ipv6_only_names_its_holder)
{
	check_taken_by_child(false, true, "18083:80");
}

TEST(taken_udp_port_names_its_holder)
{
	check_taken_by_child(true, false, "udp:18083:80");
}

TEST(second_forward_of_a_port_is_taken_by_ourselves)
{
	struct forward_list l;
	netns_enter();
	forward_list_init(&l);
	CHECK_EQ(bind_text(&l, "18084:80"), 0);
	log_capture_begin();
	CHECK_EQ(bind_text(&l, "18084:81"), -EADDRINUSE);
	CHECK(strstr(log_capture_end(), "taken by this machine itself"));
	forward_list_fini(&l);
}

TEST(old_connections_do_not_keep_a_port)
{
	struct forward_list l;
	netns_enter();
	forward_list_init(&l);
	CHECK_EQ(bind_text(&l, "18085:80"), 0);
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(18085),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(connect(client, (struct sockaddr *)&to, sizeof(to)), 0);
	int server = accept(list_first(&l.head, struct forward, link)->fd, NULL, NULL);
	close(server); /* first, so that its side is the one in TIME_WAIT */
	close(client);
	forward_list_fini(&l);
	forward_list_init(&l);
	CHECK_EQ(bind_text(&l, "18085:80"), 0);
	forward_list_fini(&l);
}

TEST(address_of_another_host_is_told)
{
	struct forward_list l;
	netns_enter();
	forward_list_init(&l);
	log_capture_begin();
	CHECK_EQ(bind_text(&l, "192.0.2.1:18086:80"), -EADDRNOTAVAIL);
	CHECK(strstr(log_capture_end(), "none of this host's"));
}

TEST(privileged_port_says_from_where_on)
{
	struct forward_list l;
	if (!netns_enter())
		SKIP("no network namespace, and here ports may be free for all");
	bool was_root = geteuid() == 0;
	forward_list_init(&l);
	if (was_root && seteuid(65534) < 0)
		SKIP("root may bind any port");
	log_capture_begin();
	int err = bind_text(&l, "81:80");
	const char *said = log_capture_end();
	if (was_root)
		CHECK_EQ(seteuid(0), 0);
	CHECK_EQ(err, -EACCES);
	CHECK(strstr(said, "choose one from 1024 up"));
}

TEST_MAIN(T(forwards_that_are_understood), T(forwards_that_are_not_say_what_is_expected),
	  T(endless_forward_is_refused), T(privileged_port_says_from_where_on),
	  T(loopback_forward_is_on_both_families),
	  T(exposed_forward_is_on_all_addresses_and_excludes_the_rest),
	  T(taken_tcp_port_names_its_holder), T(port_taken_on_ipv6_only_names_its_holder),
	  T(taken_udp_port_names_its_holder), T(second_forward_of_a_port_is_taken_by_ourselves),
	  T(old_connections_do_not_keep_a_port), T(address_of_another_host_is_told))
