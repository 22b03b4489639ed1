/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's own programs. */
#include "guest-kit/agent/programs.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest-kit/agent/tree.h"

enum { PORT_PAUSE_MS = 100 };

static bool connects(const struct sockaddr *addr, socklen_t len)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && !connect(fd, addr, len);
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool port_is_open(uint16_t port)
{
	const struct sockaddr_in v4 = { .sin_family = AF_INET,
					.sin_port = htons(port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
					 .sin6_port = htons(port),
					 .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	return connects((const struct sockaddr *)&v4, sizeof(v4)) ||
	       connects((const struct sockaddr *)&v6, sizeof(v6));
}

/* Ends when the port is open, or when nobody waits any more (standard input ends). */
static int wait_for_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);
	struct pollfd gone = { .fd = STDIN_FILENO };
	if (*end || !port || port > UINT16_MAX)
		return 2;
	while (!port_is_open((uint16_t)port))
		if (poll(&gone, 1, PORT_PAUSE_MS) > 0)
			return 1;
	return 0;
}

int program_run(int argc, char **argv)
{
	char error[TREE_ERROR_BYTES] = "";
	int err = 2;
	signal(SIGPIPE, SIG_IGN);
	if (argc != 2)
		return err;
	if (!strcmp(argv[0], "port"))
		return wait_for_port(argv[1]);
	if (!strcmp(argv[0], "receive"))
		err = tree_receive(STDIN_FILENO, argv[1], error) ? 1 : 0;
	else if (!strcmp(argv[0], "send"))
		err = tree_send(argv[1], STDOUT_FILENO, error) ? 1 : 0;
	if (*error)
		dprintf(STDERR_FILENO, "%s\n", error);
	return err;
}
