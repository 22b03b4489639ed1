/* SPDX-License-Identifier: Apache-2.0 */
/* Forwards at work: connections and datagrams between sockets of this host and a guest. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/net/guest.h"
#include "tests/unit/net/netns.h"
#include "tests/unit/test.h"
#include "vmm/base/endian.h"

enum { MSS_LARGE = NET_MTU_MAX - 40, MSS_SMALL = 1460 };

static void start(struct guest *g, const char *forward)
{
	const char *forwards[] = { forward, NULL };
	guest_start(g, forwards, NULL);
	guest_hello(g);
}

/* Nothing comes for a while. */
static bool quiet(struct guest *g)
{
	unsigned int before = g->n_got;
	for (int i = 0; i < 10; i++)
		guest_pump(g);
	return g->n_got == before;
}

/* The guest has room again. */
static void wake(struct guest *g)
{
	pthread_mutex_lock(&g->lock);
	g->net->ops->wake(g->net);
	pthread_mutex_unlock(&g->lock);
}

static bool closed_by_peer(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);
	return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* ---- TCP ---- */

static void check_both_ways(const char *forward, const char *ip, uint16_t port)
{
	struct guest g;
	struct tcp_end end;
	char buf[64] = { 0 };
	uint8_t got[64] = { 0 };
	start(&g, forward);
	int client = host_connect(ip, port);
	CHECK(client >= 0);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	CHECK_EQ(end.peer, SLIRP_IP4_GATEWAY);
	CHECK_EQ(send(client, "to the guest", 12, 0), 12);
	WAIT(&g, (tcp_receive(&g, &end, got, sizeof(got)), end.received == 12));
	CHECK(!memcmp(got, "to the guest", 12));
	tcp_send(&g, &end, "to the host", 11, TCP_PSH);
	WAIT(&g, recv(client, buf, sizeof(buf), 0) == 11);
	CHECK_STR(buf, "to the host");
	CHECK(g.locked);
	close(client);
	guest_stop(&g);
}

TEST(connection_over_ipv4_carries_bytes_both_ways)
{
	check_both_ways("18200:22", "127.0.0.1", 18200);
}

TEST(connection_over_ipv6_carries_bytes_both_ways)
{
	check_both_ways("18200:22", "::1", 18200);
}

TEST(forward_on_ipv6_alone_reaches_the_ipv4_port)
{
	check_both_ways("[::1]:18200:22", "::1", 18200);
}

TEST(exposed_forward_serves_both_families)
{
	check_both_ways("*:18200:22", "127.0.0.3", 18200);
	check_both_ways("*:18200:22", "::1", 18200);
}

TEST(many_clients_of_both_families_get_connections_of_their_own)
{
	enum { CLIENTS = 12 };
	struct guest g;
	struct tcp_end end[CLIENTS];
	int client[CLIENTS];
	char c;
	start(&g, "18201:22");
	for (int i = 0; i < CLIENTS; i++) {
		client[i] = host_connect(i & 1 ? "::1" : "127.0.0.1", 18201);
		CHECK(tcp_accept(&g, 22, MSS_LARGE, &end[i]));
		for (int j = 0; j < i; j++)
			CHECK(end[i].peer_port != end[j].peer_port);
	}
	for (int i = 0; i < CLIENTS; i++) {
		c = (char)('a' + i);
		tcp_send(&g, &end[i], &c, 1, TCP_PSH);
	}
	for (int i = 0; i < CLIENTS; i++) {
		WAIT(&g, recv(client[i], &c, 1, 0) == 1);
		CHECK_EQ(c, 'a' + i);
		close(client[i]);
	}
	guest_stop(&g);
}

TEST(burst_of_clients_waits_in_the_backlog)
{
	enum { CLIENTS = 40 };
	struct guest g;
	int client[CLIENTS];
	start(&g, "18202:22");
	for (int i = 0; i < CLIENTS; i++)
		client[i] = host_connect(i & 1 ? "::1" : "127.0.0.1", 18202);
	WAIT(&g, g.n_got >= CLIENTS);
	for (int i = 0; i < CLIENTS; i++) {
		CHECK(client[i] >= 0);
		close(client[i]);
	}
	guest_stop(&g);
}

TEST(end_of_one_direction_leaves_the_other)
{
	struct guest g;
	struct tcp_end end;
	char buf[64];
	start(&g, "18203:22");
	int client = host_connect("::1", 18203);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	CHECK_EQ(send(client, "request", 7, 0), 7);
	shutdown(client, SHUT_WR);
	WAIT(&g, (tcp_receive(&g, &end, NULL, 0), end.flags & TCP_FIN));
	CHECK_EQ(end.received, 7);
	tcp_send(&g, &end, "answer", 6, TCP_PSH);
	WAIT(&g, recv(client, buf, sizeof(buf), 0) == 6);
	tcp_send(&g, &end, NULL, 0, TCP_FIN);
	WAIT(&g, recv(client, buf, sizeof(buf), 0) == 0);
	close(client);
	guest_stop(&g);
}

TEST(guest_that_refuses_is_heard_by_the_client)
{
	struct guest g;
	const struct frame *syn;
	start(&g, "18204:22");
	int client = host_connect("127.0.0.1", 18204);
	WAIT(&g, (syn = guest_find(&g, IPPROTO_TCP, 22, TCP_SYN)));
	struct tcp_segment rst = { .sport = 22,
				   .dst = syn->src,
				   .dport = syn->sport,
				   .flags = TCP_RST | TCP_ACK,
				   .ack = syn->seq + 1 };
	guest_send_tcp(&g, &rst);
	WAIT(&g, closed_by_peer(client));
	close(client);
	guest_stop(&g);
}

TEST(data_of_the_guest_is_acknowledged_though_nothing_else_happens)
{
	struct guest g;
	struct tcp_end end;
	const struct frame *f;
	start(&g, "18214:22");
	int client = host_connect("127.0.0.1", 18214);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	CHECK_EQ(send(client, "?", 1, 0), 1);
	WAIT(&g, (f = guest_find(&g, IPPROTO_TCP, 22, TCP_PSH)));
	/* With this acknowledgement aboard libslirp delays its own, by one of its timers. */
	end.ack += 1;
	guest_forget(&g);
	tcp_send(&g, &end, "!", 1, TCP_PSH);
	WAIT(&g, (f = guest_find(&g, IPPROTO_TCP, 22, TCP_ACK)) && f->ack == end.seq);
	close(client);
	guest_stop(&g);
}

/* ---- much of it ---- */

static void fill(uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + (i >> 8));
}

enum { BULK = 1 << 20 };

static void check_bulk_to_guest(uint16_t mss, unsigned int max_segments)
{
	static uint8_t data[BULK], got[BULK];
	struct guest g;
	struct tcp_end end;
	size_t sent = 0;
	fill(data, BULK);
	memset(got, 0, sizeof(got));
	start(&g, "18205:22");
	int client = host_connect("127.0.0.1", 18205);
	CHECK(tcp_accept(&g, 22, mss, &end));
	for (int i = 0; i < 3000 && end.received < BULK; i++) {
		ssize_t n = sent < BULK ? send(client, data + sent, BULK - sent, 0) : 0;
		sent += n > 0 ? (size_t)n : 0;
		guest_pump(&g);
		tcp_receive(&g, &end, got, BULK);
	}
	CHECK_EQ(end.received, BULK);
	CHECK(!memcmp(data, got, BULK));
	CHECK(end.segments <= max_segments);
	close(client);
	guest_stop(&g);
}

TEST(megabyte_to_the_guest_comes_in_large_segments)
{
	check_bulk_to_guest(MSS_LARGE, BULK / 32768 * 2);
}

TEST(guest_with_a_small_mtu_gets_small_segments)
{
	check_bulk_to_guest(MSS_SMALL, BULK);
}

static void check_bulk_to_host(size_t segment, bool offload)
{
	static uint8_t data[BULK], got[BULK];
	struct guest g;
	struct tcp_end end;
	size_t received = 0;
	fill(data, BULK);
	memset(got, 0, sizeof(got));
	start(&g, "18206:22");
	int client = host_connect("127.0.0.1", 18206);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	uint32_t start_seq = end.seq, acked = end.seq;
	uint16_t window = UINT16_MAX;
	for (int i = 0; i < 5000 && received < BULK; i++) {
		for (unsigned int j = 0; j < g.n_got; j++)
			if (g.got[j].flags & TCP_ACK) {
				acked = g.got[j].ack;
				window = g.got[j].window;
			}
		guest_forget(&g);
		size_t done = end.seq - start_seq, len = MIN(segment, BULK - done);
		if (len && end.seq - acked + len <= window) {
			struct tcp_segment t = {
				.sport = end.port,
				.dst = end.peer,
				.dport = end.peer_port,
				.flags = TCP_ACK,
				.seq = end.seq,
				.ack = end.ack,
				.payload = data + done,
				.len = len,
				.offload = offload,
			};
			guest_send_tcp(&g, &t);
			end.seq += (uint32_t)len;
		} else {
			guest_pump(&g);
		}
		ssize_t n = recv(client, got + received, BULK - received, 0);
		received += n > 0 ? (size_t)n : 0;
	}
	CHECK_EQ(received, BULK);
	CHECK(!memcmp(data, got, BULK));
	close(client);
	guest_stop(&g);
}

TEST(megabyte_to_the_host_in_large_segments)
{
	check_bulk_to_host(32767, false);
}

TEST(segments_with_open_checksums_arrive)
{
	check_bulk_to_host(32767, true);
}

TEST(largest_segment_that_can_be_cut_later_is_taken_whole)
{
	check_bulk_to_host(65535 - 40, true);
}

/* ---- a guest that takes nothing ---- */

TEST(full_guest_stops_the_reading_and_loses_nothing)
{
	enum { MUCH = 8 << 20 };
	static uint8_t data[65536];
	struct guest g;
	struct tcp_end end;
	size_t sent = 0;
	int stuck = 0;
	start(&g, "18207:22");
	int client = host_connect("127.0.0.1", 18207), small = 1 << 16;
	setsockopt(client, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	g.full = true;
	while (sent < MUCH && stuck < 20) {
		ssize_t n = send(client, data, sizeof(data), 0);
		stuck = n > 0 ? 0 : stuck + 1;
		sent += n > 0 ? (size_t)n : 0;
		guest_pump(&g);
	}
	CHECK(sent < MUCH);
	g.full = false;
	wake(&g);
	for (int i = 0; i < 3000 && end.received < sent; i++) {
		guest_pump(&g);
		tcp_receive(&g, &end, NULL, 0);
	}
	CHECK_EQ(end.received, sent);
	close(client);
	guest_stop(&g);
}

TEST(many_senders_to_a_full_guest_wait_without_loss)
{
	enum { SENDERS = 48, EACH = 32768 };
	static uint8_t data[EACH];
	struct guest g;
	struct tcp_end end[SENDERS];
	int client[SENDERS];
	size_t received = 0;
	start(&g, "18207:22");
	for (int i = 0; i < SENDERS; i++) {
		client[i] = host_connect("127.0.0.1", 18207);
		CHECK(tcp_accept(&g, 22, MSS_LARGE, &end[i]));
	}
	g.full = true;
	for (int i = 0; i < SENDERS; i++)
		CHECK_EQ(send(client[i], data, EACH, 0), EACH);
	for (int i = 0; i < 10; i++)
		guest_pump(&g);
	g.full = false;
	wake(&g);
	/* Sooner than anything that was lost would be sent again. */
	for (int i = 0; i < 200; i++) {
		for (unsigned int j = 0; j < g.n_got; j++)
			received += g.got[j].payload_len;
		guest_forget(&g);
		guest_pump(&g);
	}
	CHECK_EQ(received, SENDERS * EACH);
	for (int i = 0; i < SENDERS; i++)
		close(client[i]);
	guest_stop(&g);
}

TEST(answers_to_a_full_guest_are_bounded)
{
	struct guest g;
	struct tcp_segment syn = {
		.sport = 1, .dst = SLIRP_IP4_GATEWAY, .dport = 9, .flags = TCP_SYN
	};
	start(&g, "18208:22");
	g.full = true;
	for (int i = 0; i < 40000; i++) {
		syn.seq = (uint32_t)i;
		guest_send_tcp(&g, &syn);
	}
	g.full = false;
	size_t bytes = 0;
	do {
		guest_forget(&g);
		wake(&g);
		for (unsigned int i = 0; i < g.n_got; i++)
			bytes += g.got[i].len;
	} while (g.n_got);
	CHECK(bytes > 0);
	CHECK(bytes <= 1 << 20);
	guest_stop(&g);
}

#ifndef __SANITIZE_ADDRESS__ /* whose allocator does not tell */
TEST(guest_that_makes_the_network_hoard_loses_its_flows)
{
	struct guest g;
	struct tcp_end end;
	start(&g, "18216:22");
	int client = host_connect("127.0.0.1", 18216);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	struct tcp_segment t = { .sport = end.port,
				 .dst = end.peer,
				 .dport = end.peer_port,
				 .flags = TCP_ACK,
				 .ack = end.ack,
				 .payload = "x",
				 .len = 1 };
	/* Every other byte of the window, so that none can be passed on; the last one first, which is the
	 * cheapest for libslirp to sort in. */
	log_capture_begin();
	for (uint32_t i = 32000; i > 16000; i--) {
		t.seq = end.seq + i * 2;
		guest_send_tcp(&g, &t);
		if (g.n_got > 100)
			guest_forget(&g);
	}
	const char *said = log_capture_end();
	CHECK(strstr(said, "all flows are reset"));
	WAIT(&g, closed_by_peer(client));
	close(client);
	guest_stop(&g);
}
#endif

/* ---- UDP ---- */

static void check_datagrams(const char *forward, const char *ip)
{
	struct guest g;
	char buf[64] = { 0 };
	const struct frame *f;
	start(&g, forward);
	int client[2];
	for (int i = 0; i < 2; i++) {
		client[i] = host_udp(ip, 18209);
		guest_forget(&g);
		CHECK_EQ(send(client[i], "question", 8, 0), 8);
		WAIT(&g, (f = guest_find(&g, IPPROTO_UDP, 53, 0)));
		CHECK_EQ(f->src, SLIRP_IP4_GATEWAY);
		CHECK_EQ(f->payload_len, 8);
		CHECK(!memcmp(f->payload, "question", 8));
		buf[0] = (char)('A' + i);
		guest_send_udp(&g, 53, f->src, f->sport, buf, 6);
	}
	for (int i = 0; i < 2; i++) {
		WAIT(&g, recv(client[i], buf, sizeof(buf), 0) == 6);
		CHECK_EQ(buf[0], 'A' + i);
		close(client[i]);
	}
	guest_stop(&g);
}

TEST(datagrams_go_both_ways_though_loopback_is_denied)
{
	check_datagrams("udp:18209:53", "127.0.0.1");
}

TEST(datagrams_over_ipv6_go_both_ways)
{
	check_datagrams("udp:18209:53", "::1");
}

TEST(datagram_forward_on_ipv6_alone_reaches_the_ipv4_port)
{
	check_datagrams("udp:[::1]:18209:53", "::1");
}

TEST(datagrams_of_many_peers_over_ipv6_make_room_for_each_other)
{
	enum { PEERS = 70 };
	struct guest g;
	int client[PEERS];
	start(&g, "udp:18209:53");
	for (int i = 0; i < PEERS; i++) {
		client[i] = host_udp("::1", 18209);
		CHECK_EQ(send(client[i], "x", 1, 0), 1);
		if (i % 8 == 0)
			guest_pump(&g);
	}
	WAIT(&g, g.n_got == PEERS);
	for (int i = 0; i < PEERS; i++)
		close(client[i]);
	guest_stop(&g);
}

/* ---- resets ---- */

TEST(reset_ends_flows_and_keeps_the_ports)
{
	struct guest g;
	struct tcp_end end;
	start(&g, "18210:22");
	int v4 = host_connect("127.0.0.1", 18210);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	int v6 = host_connect("::1", 18210);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	g.net->ops->reset(g.net);
	WAIT(&g, closed_by_peer(v4));
	WAIT(&g, closed_by_peer(v6));
	close(v4);
	close(v6);
	/* Nobody can have taken the port in between: it was never free. The next guest gets its
	 * clients. */
	CHECK_EQ(host_listen("127.0.0.1", 18210), -1);
	v4 = host_connect("127.0.0.1", 18210);
	CHECK(quiet(&g));
	guest_forget(&g);
	guest_hello(&g);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	v6 = host_connect("::1", 18210);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	close(v4);
	close(v6);
	guest_stop(&g);
}

/* As backends_forward.c does it. */
static void change_forwards(struct guest *g, const char *add, uint16_t remove)
{
	struct forward_spec spec;
	CHECK_EQ(g->net->ops->forwards(g->net, false), 0);
	if (remove)
		CHECK(forward_list_remove(&g->forwards, false, remove) > 0);
	if (add) {
		CHECK_EQ(forward_parse(add, &spec), 0);
		CHECK_EQ(forward_try(&g->forwards, &spec), 0);
	}
	CHECK_EQ(g->net->ops->forwards(g->net, true), 0);
}

static void check_serves(struct guest *g, const char *ip, uint16_t port)
{
	struct tcp_end end;
	int client = host_connect(ip, port);
	CHECK(client >= 0);
	CHECK(tcp_accept(g, 22, MSS_LARGE, &end));
	close(client);
}

TEST(forward_is_added_while_another_one_is_used)
{
	struct guest g;
	struct tcp_end end, end6;
	uint8_t got[64] = { 0 };
	start(&g, "18211:22");
	int v4 = host_connect("127.0.0.1", 18211), v6 = -1;
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	v6 = host_connect("::1", 18211);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end6));
	change_forwards(&g, "18212:22", 0);
	check_serves(&g, "127.0.0.1", 18212);
	check_serves(&g, "::1", 18212);
	check_serves(&g, "127.0.0.1", 18211);
	check_serves(&g, "::1", 18211);
	/* The connections from before have heard nothing of it. */
	CHECK_EQ(send(v4, "still four", 10, 0), 10);
	WAIT(&g, (tcp_receive(&g, &end, got, sizeof(got)), end.received == 10));
	CHECK_EQ(send(v6, "still six", 9, 0), 9);
	WAIT(&g, (tcp_receive(&g, &end6, got, sizeof(got)), end6.received == 9));
	close(v4);
	close(v6);
	guest_stop(&g);
}

static bool refused(const char *ip, uint16_t port)
{
	int fd = host_connect(ip, port), err = 0;
	socklen_t len = sizeof(err);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	close(fd);
	return err == ECONNREFUSED;
}

TEST(forward_that_is_removed_frees_its_port_and_keeps_its_connections)
{
	struct guest g;
	struct tcp_end end;
	uint8_t got[64] = { 0 };
	start(&g, "18213:22");
	change_forwards(&g, "18214:22", 0);
	int client = host_connect("127.0.0.1", 18213);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	change_forwards(&g, NULL, 18213);
	CHECK(refused("127.0.0.1", 18213));
	CHECK(refused("::1", 18213));
	check_serves(&g, "::1", 18214);
	change_forwards(&g, "18213:22", 0);
	check_serves(&g, "127.0.0.1", 18213);
	CHECK_EQ(send(client, "still here", 10, 0), 10);
	WAIT(&g, (tcp_receive(&g, &end, got, sizeof(got)), end.received == 10));
	close(client);
	guest_stop(&g);
}

TEST(way_of_its_own_for_ipv6_survives_a_change)
{
	struct guest g;
	start(&g, "[::1]:18215:22");
	change_forwards(&g, "127.0.0.1:18216:22", 0);
	check_serves(&g, "::1", 18215);
	change_forwards(&g, NULL, 18216);
	check_serves(&g, "::1", 18215);
	guest_stop(&g);
}

TEST(thousand_changes_leak_no_descriptor)
{
	struct guest g;
	start(&g, "18217:22");
	change_forwards(&g, "18218:22", 0);
	int before = dup(0);
	close(before);
	for (int i = 0; i < 1000; i++)
		change_forwards(&g, i % 2 ? "18218:22" : NULL, i % 2 ? 0 : 18218);
	int after = dup(0);
	close(after);
	CHECK(after <= before);
	check_serves(&g, "127.0.0.1", 18218);
	guest_stop(&g);
}

TEST(segment_of_a_flow_from_before_the_reset_is_answered_by_rst)
{
	struct guest g;
	struct tcp_end end;
	start(&g, "18211:22");
	int client = host_connect("127.0.0.1", 18211);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	g.net->ops->reset(g.net);
	guest_forget(&g);
	guest_hello(&g);
	tcp_send(&g, &end, "late", 4, TCP_PSH);
	WAIT(&g, guest_find(&g, IPPROTO_TCP, 22, TCP_RST));
	close(client);
	guest_stop(&g);
}

TEST(peers_from_before_the_reset_are_not_answered)
{
	struct guest g;
	const struct frame *f;
	char c;
	start(&g, "udp:18215:53");
	int client = host_udp("127.0.0.1", 18215);
	CHECK_EQ(send(client, "?", 1, 0), 1);
	WAIT(&g, (f = guest_find(&g, IPPROTO_UDP, 53, 0)));
	uint16_t peer = f->sport;
	g.net->ops->reset(g.net);
	guest_hello(&g);
	guest_send_udp(&g, 53, SLIRP_IP4_GATEWAY, peer, "!", 1);
	CHECK(quiet(&g));
	CHECK_EQ(recv(client, &c, 1, 0), -1);
	close(client);
	guest_stop(&g);
}

TEST(client_before_the_guest_is_there_waits_for_it)
{
	static const char *const forwards[] = { "18212:22", NULL };
	struct guest g;
	struct tcp_end end;
	guest_start(&g, forwards, NULL);
	int v4 = host_connect("127.0.0.1", 18212), v6 = host_connect("::1", 18212);
	CHECK(quiet(&g));
	CHECK_EQ(g.n_got, 0);
	guest_hello(&g);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	close(v4);
	close(v6);
	guest_stop(&g);
}

TEST(client_waits_until_the_guest_shows_its_address)
{
	static const char *const forwards[] = { "18217:22", NULL };
	static const uint8_t not_yet[4] = { 0 };
	struct guest g;
	struct tcp_end end;
	uint8_t arp_probe[42];
	guest_start(&g, forwards, NULL);
	int client = host_connect("127.0.0.1", 18217);
	/* As a guest does that has been offered the address and looks whether it is free (RFC 5227). */
	guest_hello_frame(&g, arp_probe);
	memcpy(arp_probe + 28, not_yet, sizeof(not_yet));
	guest_send(&g, arp_probe, sizeof(arp_probe), NULL);
	CHECK(quiet(&g));
	guest_hello(&g);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	close(client);
	guest_stop(&g);
}

TEST(ports_are_free_when_the_machine_is_gone)
{
	struct guest g;
	struct tcp_end end;
	start(&g, "18213:22");
	int client = host_connect("::1", 18213);
	CHECK(tcp_accept(&g, 22, MSS_LARGE, &end));
	guest_stop(&g);
	CHECK(closed_by_peer(client));
	close(client);
	client = host_connect("127.0.0.1", 18213);
	int err = 0;
	socklen_t len = sizeof(err);
	getsockopt(client, SOL_SOCKET, SO_ERROR, &err, &len);
	CHECK_EQ(err, ECONNREFUSED);
	close(client);
}

#ifdef __SANITIZE_ADDRESS__
#define HOARD_TESTS
#else
#define HOARD_TESTS T(guest_that_makes_the_network_hoard_loses_its_flows),
#endif

TEST_MAIN(HOARD_TESTS T(connection_over_ipv4_carries_bytes_both_ways),
	  T(connection_over_ipv6_carries_bytes_both_ways),
	  T(forward_on_ipv6_alone_reaches_the_ipv4_port), T(exposed_forward_serves_both_families),
	  T(many_clients_of_both_families_get_connections_of_their_own),
	  T(burst_of_clients_waits_in_the_backlog), T(end_of_one_direction_leaves_the_other),
	  T(guest_that_refuses_is_heard_by_the_client),
	  T(megabyte_to_the_guest_comes_in_large_segments),
	  T(guest_with_a_small_mtu_gets_small_segments), T(megabyte_to_the_host_in_large_segments),
	  T(segments_with_open_checksums_arrive),
	  T(largest_segment_that_can_be_cut_later_is_taken_whole),
	  T(full_guest_stops_the_reading_and_loses_nothing), T(answers_to_a_full_guest_are_bounded),
	  T(datagrams_go_both_ways_though_loopback_is_denied), T(datagrams_over_ipv6_go_both_ways),
	  T(datagram_forward_on_ipv6_alone_reaches_the_ipv4_port),
	  T(datagrams_of_many_peers_over_ipv6_make_room_for_each_other),
	  T(many_senders_to_a_full_guest_wait_without_loss),
	  T(data_of_the_guest_is_acknowledged_though_nothing_else_happens),
	  T(peers_from_before_the_reset_are_not_answered), T(reset_ends_flows_and_keeps_the_ports),
	  T(forward_is_added_while_another_one_is_used),
	  T(forward_that_is_removed_frees_its_port_and_keeps_its_connections),
	  T(way_of_its_own_for_ipv6_survives_a_change), T(thousand_changes_leak_no_descriptor),
	  T(segment_of_a_flow_from_before_the_reset_is_answered_by_rst),
	  T(client_before_the_guest_is_there_waits_for_it),
	  T(client_waits_until_the_guest_shows_its_address),
	  T(ports_are_free_when_the_machine_is_gone))
