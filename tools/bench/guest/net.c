/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP through a forwarded port. Phase 0: host to guest, phase 1: guest to host, in streams of
 * 64 KiB pieces; phase 2: round trips of one byte.
 *
 * usage: net serve PORT PIECES ROUND_TRIPS   in the guest: listens, drives all, marks the phases
 *        net peer PORT                       on the host: connects to the forwarded port, obeys
 *
 * The server sends orders of 16 bytes, then both do their part of it:
 *   SEND n   the peer sends n bytes
 *   SINK n   the peer takes n bytes and answers one
 *   ECHO n   n times, the peer answers a byte with a byte
 *   QUIT     the peer ends
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#include "mark.h"

enum { PIECE_BYTES = 64 << 10, CONNECT_TRIES = 100 };
enum order_kind { ORDER_SEND, ORDER_SINK, ORDER_ECHO, ORDER_QUIT };

struct order {
	uint64_t kind;
	uint64_t count;
};

static char piece[PIECE_BYTES];

static void take(int fd, uint64_t bytes)
{
	ssize_t length;

	for (; bytes; bytes -= length) {
		length = read(fd, piece, bytes < PIECE_BYTES ? bytes : PIECE_BYTES);
		if (length <= 0)
			fail("read");
	}
}

static void give(int fd, uint64_t bytes)
{
	ssize_t length;

	for (; bytes; bytes -= length) {
		length = write(fd, piece, bytes < PIECE_BYTES ? bytes : PIECE_BYTES);
		if (length <= 0)
			fail("write");
	}
}

/* ---- the peer ---- */

static int connect_to(int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int on = 1;
	int fd;

	for (int i = 0; i < CONNECT_TRIES; i++) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (!connect(fd, (struct sockaddr *)&to, sizeof(to))) {
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			return fd;
		}
		close(fd);
		usleep(100 * 1000);
	}
	fail("connect");
	return -1;
}

static int peer(int port)
{
	int fd = connect_to(port);
	struct order order;

	for (;;) {
		if (recv(fd, &order, sizeof(order), MSG_WAITALL) != sizeof(order))
			fail("no order");
		switch (order.kind) {
		case ORDER_SEND: give(fd, order.count); break;
		case ORDER_SINK:
			take(fd, order.count);
			give(fd, 1);
			break;
		case ORDER_ECHO:
			for (; order.count; order.count--) {
				take(fd, 1);
				give(fd, 1);
			}
			break;
		default: return 0;
		}
	}
}

/* ---- the server ---- */

static void send_order(int fd, enum order_kind kind, uint64_t count)
{
	struct order order = { .kind = kind, .count = count };

	if (write(fd, &order, sizeof(order)) != sizeof(order))
		fail("write");
}

static void host_to_guest(void *fd, unsigned long pieces)
{
	send_order(*(int *)fd, ORDER_SEND, pieces * PIECE_BYTES);
	take(*(int *)fd, pieces * PIECE_BYTES);
}

static void guest_to_host(void *fd, unsigned long pieces)
{
	send_order(*(int *)fd, ORDER_SINK, pieces * PIECE_BYTES);
	give(*(int *)fd, pieces * PIECE_BYTES);
	take(*(int *)fd, 1);
}

static void round_trips(void *fd, unsigned long count)
{
	send_order(*(int *)fd, ORDER_ECHO, count);
	for (; count; count--) {
		give(*(int *)fd, 1);
		take(*(int *)fd, 1);
	}
}

static int serve(int port, unsigned long pieces, unsigned long trips)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	const int on = 1;

	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 1))
		fail("listen");
	mark(MARK_READY);
	fd = accept(listener, NULL, NULL);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)))
		fail("accept");
	phase(0, host_to_guest, &fd, pieces);
	phase(1, guest_to_host, &fd, pieces);
	phase(2, round_trips, &fd, trips);
	mark(MARK_LAST);
	send_order(fd, ORDER_QUIT, 0);
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "peer"))
		return peer(atoi(argv[2]));
	if (argc == 5 && !strcmp(argv[1], "serve"))
		return serve(atoi(argv[2]), strtoul(argv[3], NULL, 0), strtoul(argv[4], NULL, 0));
	return 2;
}
